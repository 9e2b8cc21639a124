"""Outlines of nuclei along the edges of their pixels."""

from typing import TypeAlias

import numpy as np
import shapely
from roifile import ROI_TYPE, ImagejRoi

from nuclei.data.run_lengths import find_runs

Outline: TypeAlias = shapely.Polygon | shapely.MultiPolygon

MOVE, LINE, CLOSE = 0, 1, 4  # how ImageJ writes a path


def polygons(labels: np.ndarray) -> dict[int, Outline]:
    """Return the outline of every nucleus, along the edges of its pixels.

    Parameters
    ----------
    labels : (H, W) integer array, 0 = background

    Returns
    -------
    dict of int to Polygon or MultiPolygon
        By ascending label, in pixels. Holes are left out of the area; pixels that meet at a corner only are
        parts of a MultiPolygon. Outer rings run one way round and holes the other.
    """
    height = labels.shape[0] + 1  # one row of background below, so that no run continues in the next column
    numbers, starts, lengths = find_runs(np.pad(labels, ((0, 1), (0, 0))))
    if not len(numbers):
        return {}
    x, y = np.divmod(starts, height)
    strips = np.split(shapely.box(x, y, x + 1, y + lengths), np.flatnonzero(np.diff(numbers)) + 1)
    outlines = shapely.simplify([shapely.union_all(strip) for strip in strips], 0)
    return dict(zip(np.unique(numbers).tolist(), shapely.orient_polygons(outlines), strict=True))


def roi(outline: Outline, name: str) -> ImagejRoi:
    """Return an outline of `polygons` as a region of interest of ImageJ."""
    rings = [shapely.get_coordinates(ring)[:-1].astype(int) for ring in _rings(outline)]
    region = ImagejRoi.frompoints(np.concatenate(rings), name=name)
    region.right, region.bottom = (
        region.right - 1,
        region.bottom - 1,
    )  # these points are corners of pixels, not pixels
    region.roitype = ROI_TYPE.TRACED
    if len(rings) > 1:
        path = [v for ring in rings for v in (MOVE, *ring[0], *_lines(ring[1:]), CLOSE)]
        region.roitype, region.shape_roi_size = ROI_TYPE.RECT, len(path)
        region.multi_coordinates = np.array(path, np.float32)
        region.integer_coordinates, region.n_coordinates = None, 0
    return region


def _lines(points: np.ndarray) -> list[int]:
    return np.insert(points, 0, LINE, axis=1).ravel().tolist()


def _rings(outline: Outline) -> list[shapely.LinearRing]:
    parts = shapely.get_parts(outline)
    return [ring for part in parts for ring in (part.exterior, *part.interiors)]
