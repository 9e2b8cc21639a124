"""Outlines of nuclei along the edges of their pixels."""

from typing import TypeAlias

import numpy as np
import shapely
from roifile import ROI_TYPE, ImagejRoi

from nuclei.data.run_lengths import find_runs

Outline: TypeAlias = shapely.Polygon | shapely.MultiPolygon


def polygons(labels: np.ndarray) -> dict[int, Outline]:
    """Return the outline of every nucleus in (H, W) labels along the edges of its pixels, by ascending label.

    Holes are left out of the area; pixels that meet at a corner only are parts of a MultiPolygon. Outer rings
    run one way round and holes the other.
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
    parts = shapely.get_parts(outline)
    rings = [
        shapely.get_coordinates(ring)[:-1].astype(int)
        for part in parts
        for ring in (part.exterior, *part.interiors)
    ]
    region = ImagejRoi.frompoints(np.concatenate(rings), name=name)
    region.right, region.bottom = region.right - 1, region.bottom - 1  # the points are corners, not pixels
    region.roitype = ROI_TYPE.TRACED
    if len(rings) > 1:
        move, line, close = 0, 1, 4  # how ImageJ writes a path
        path = [[move, *ring[0], *np.insert(ring[1:], 0, line, axis=1).ravel(), close] for ring in rings]
        region.multi_coordinates = np.concatenate(path).astype(np.float32)
        region.roitype, region.shape_roi_size = ROI_TYPE.RECT, len(region.multi_coordinates)
        region.integer_coordinates, region.n_coordinates = None, 0
    return region
