"""Labels as files that other programs read.

The number of a nucleus is the same in each. Outlines follow the edges of pixels: x to the right, y down, the
top left corner of the image at (0, 0), so that an outline's area is the nucleus's number of pixels.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
import tifffile
from PIL import Image
from roifile import roiwrite

from nuclei.common import replacing
from nuclei.images.intensity import as_rgb8
from nuclei.output.outlines import Outline, _roi


def write_labels(path: str | Path, labels: np.ndarray, pixel_size: float | None = None) -> None:
    """Write labels as a TIFF that ImageJ, QuPath and napari open.

    labels : (H, W) integer array, 0 = background; 16 bits are written, or 32 for numbers above 65,535
    pixel_size : float, optional; micrometres
    """
    if labels.max() <= 65_535:
        labels, options = labels.astype(np.uint16), {"imagej": True}
        if pixel_size:
            options |= {"resolution": (1 / pixel_size,) * 2, "metadata": {"unit": "micron"}}
    else:  # ImageJ's own kind of TIFF has no 32-bit integers; it reads the common kind too
        labels, options = labels.astype(np.uint32), resolution(pixel_size)
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, labels, compression="zlib", **options)


def resolution(pixel_size: float | None) -> dict:
    """Return how `tifffile.imwrite` is told a pixel's side in micrometres, or that it is not known."""
    return {"resolution": (1e4 / pixel_size,) * 2, "resolutionunit": "CENTIMETER"} if pixel_size else {}


def write_overlay(path: str | Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Write the image, brightened, with the outlines of its nuclei as PNG; small ones are magnified.

    image : any image that `nuclei.images.intensity.as_rgb8` takes
    labels : (H, W) integer array, 0 = background
    """
    from nuclei.figures.pictures import PREDICTION, brightened, outlined  # matplotlib is slow to import

    picture = outlined(brightened(as_rgb8(image)), {PREDICTION: labels})
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def write_geojson(path: str | Path, outlines: dict[int, Outline], table: pd.DataFrame | None = None) -> None:
    """Write the outlines of nuclei as GeoJSON, each a detection for QuPath, named by its number.

    outlines : dict of int to Polygon or MultiPolygon, see `polygons`
    table : DataFrame, optional; what `output.measurements.measure` found, to go along with each nucleus
    """
    rows = [{"label": n} for n in outlines] if table is None else table.astype(float).to_dict("records")
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(outline),
            "properties": {"objectType": "detection", "name": str(number), "measurements": row},
        }
        for (number, outline), row in zip(outlines.items(), rows, strict=True)
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_rois(path: str | Path, outlines: dict[int, Outline]) -> None:
    """Write the outlines of nuclei as a zip of regions of interest for ImageJ, named by their numbers.

    outlines : dict of int to Polygon or MultiPolygon, see `polygons`
    """
    rois = [_roi(outline, str(number)) for number, outline in outlines.items()]
    with replacing(path) as temporary:
        roiwrite(temporary, rois, mode="w")
