"""Outlines that were drawn or corrected in Fiji or QuPath, as labels."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from roifile import ROI_TYPE, ImagejRoi
from skimage.draw import polygon

from nuclei.common import some
from nuclei.data.labels import paint

ROIS, GEOJSON = "_rois.zip", ".geojson"
"""Endings of the files with the outlines of an image: regions of interest of ImageJ, and QuPath's GeoJSON."""

AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)

Rings = list[np.ndarray]  # each (P, 2) float, x and y of its corners; the second lies in the first, and so on


class Outline(NamedTuple):
    """What one region of interest or feature holds."""

    name: str  # for errors
    rings: Rings  # none if it has no area
    plane: tuple[int, int, int]  # slice, z and t, each from 0; -1 for all of them


def is_outlines(path: PurePosixPath) -> bool:
    """Return whether a file holds outlines, by its name."""
    return path.name.lower().endswith((ROIS, GEOJSON)) and not path.name.startswith(".")


def image_stem(path: PurePosixPath) -> str:
    """Return the name that a file of outlines shares with its image; of other files the stem."""
    return path.name[: -len(ROIS)] if path.name.lower().endswith(ROIS) else path.stem


def labels_from_outlines(
    content: bytes, name: str, shape: tuple[int, int], page: int | None = None
) -> np.ndarray:
    """Return the nuclei whose outlines a file holds, in its order: (H, W) int32, 0 = background, 1..N.

    `content` is that of a zip of ImageJ's regions of interest, or of a GeoJSON file of QuPath, by the file's
    `name`: polygons in pixels, the top left corner of the image of `shape` at (0, 0). A pixel belongs to a
    nucleus if its centre lies inside the outline. What has no area is ignored with a warning. Where outlines
    lie on several planes of a stack, those of the `page`, from 0, are read.

    Raises ValueError where the file is damaged, holds nothing else, or an outline covers no pixel of the
    image, or several other outlines, or the planes do not say which outlines are those of the page.
    """
    read = _read_rois if name.lower().endswith(ROIS) else _read_geojson
    outlines = list(read(content, name))
    ignored = [outline.name for outline in outlines if not outline.rings]
    nuclei: list[np.ndarray] = []
    for outline in _of_page([outline for outline in outlines if outline.rings], page, name):
        nuclei.append(_pixels(outline.rings, shape))
        if not nuclei[-1].size:
            found = f"{outline.name} covers no pixel of the image of {shape[0]} x {shape[1]} pixels"
            raise ValueError(f"{name}: {found}. Are the outlines those of this image, in pixels?")
    if ignored:
        listed = f"{some(ignored)} without an area"
        if not nuclei:
            raise ValueError(f"{name}: only {listed}, expected outlines that enclose nuclei")
        warnings.warn(f"{name}: ignored {listed}", stacklevel=2)
    labels = paint(nuclei, shape[0] * shape[1])
    areas = np.bincount(labels)
    for number, places in enumerate(nuclei, start=1):
        inside, counts = np.unique(labels[places], return_counts=True)
        if np.count_nonzero(inside[counts == areas[inside]]) > 3:  # itself and three others
            found = f"the outline {number} encloses several others, expected those of nuclei alone"
            raise ValueError(f"{name}: {found}. Remove it.")
    return labels.reshape(shape)


def _of_page(outlines: list[Outline], page: int | None, name: str) -> list[Outline]:
    """Return the outlines on a page; all where they lie on one plane, or on every plane."""
    planes = {outline.plane for outline in outlines} - {(-1, -1, -1)}
    numbers = [set(axis) - {-1} for axis in zip(*planes, strict=True)]
    varying = [axis for axis, found in enumerate(numbers) if len(found) > 1]
    if not varying:
        return outlines
    others = set().union(*(found for found in numbers if len(found) == 1))
    if len(varying) == 1 and page in numbers[varying[0]] and others <= {0}:  # else pages count otherwise
        return [outline for outline in outlines if outline.plane[varying[0]] in (-1, page)]
    found = f"outlines on {len(planes)} planes of a stack"
    expected = "expected those of one plane" if page is None else f"it is not clear which are on page {page}"
    raise ValueError(f"{name}: {found}, {expected}. Export the outlines of one plane alone.")


def _read_rois(content: bytes, name: str) -> Iterator[Outline]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [each for each in archive.namelist() if each.lower().endswith(".roi")]
            names = [each for each in names if not PurePosixPath(each).name.startswith("._")]  # of macOS
            if archive.namelist() and not names:
                raise ValueError("no .roi in it")
            rois = [ImagejRoi.frombytes(archive.read(each)) for each in names]
    except Exception as error:  # a damaged or encrypted file raises nearly anything
        expected = "expected a zip of regions of interest, as ImageJ's ROI Manager saves it"
        raise ValueError(f"{name}: cannot be read ({error}), {expected}. Save it again there.") from error
    for number, roi in enumerate(rois, start=1):
        is_area = roi.roitype in AREAS
        rings = [np.asarray(ring, float) for ring in roi.coordinates(multi=True)] if is_area else []
        in_hyperstack = roi.c_position or roi.z_position or roi.t_position
        position = 0 if in_hyperstack else roi.position
        plane = (position - 1, roi.z_position - 1, roi.t_position - 1)  # ImageJ counts from 1, 0 is all
        yield Outline(f"{roi.roitype.name.lower()} {number} ({roi.name})", rings, plane)


def _read_geojson(content: bytes, name: str) -> list[Outline]:
    try:
        document = json.loads(content)
        features = document.get("features", [document]) if isinstance(document, dict) else document
        outlines = []
        for number, feature in enumerate(features, start=1):
            # a cell of QuPath has the outline of its nucleus besides its own
            shape: Any = feature.get("nucleusGeometry") or feature["geometry"] or {"type": "nothing"}
            kind, coordinates = shape["type"], shape.get("coordinates")
            parts = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(kind, [])
            rings = [np.asarray(ring, float)[:, :2] for part in parts for ring in part if len(ring)]
            plane = shape.get("plane") or {}  # QuPath leaves out that of z 0 and t 0
            place = (-1, int(plane.get("z", 0)), int(plane.get("t", 0)))
            outlines.append(Outline(f"{kind} {number}", rings, place))
        return outlines
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        problem = f"no GeoJSON of outlines ({type(error).__name__}: {error})"
        raise ValueError(f"{name}: {problem}, expected a FeatureCollection, as QuPath exports it") from error


def _pixels(rings: Rings, shape: tuple[int, int]) -> np.ndarray:
    """Return the places, row by row, of pixels whose centres lie in an odd number of rings: not in holes."""
    corners = [ring[:, ::-1].T - 0.5 for ring in rings]
    inside = [np.ravel_multi_index(polygon(y, x, shape), shape) for y, x in corners]
    places, count = np.unique(np.concatenate(inside), return_counts=True)
    return places[count % 2 == 1]
