"""The formats of results. To add one, write a function that takes a `Result`, and name it in `FORMATS`.

The number of a nucleus is the same in every format. Outlines follow the edges of pixels: x to the right, y
down, the top left corner of the image at (0, 0), so that an outline's area is the nucleus's number of pixels.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import shapely
import tifffile
from roifile import roiwrite

from nuclei.data.run_lengths import encode_nuclei
from nuclei.figures.drawing import overlay
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import Image
from nuclei.images.tiles import CHUNK, blocks, reduced
from nuclei.output.outlines import Outline, polygons, roi
from nuclei.output.review import Images, write_sheet, write_table
from nuclei.output.tables import rounded

PREVIEW = 2000  # pixels, the longer side of the overlay of a large image


@dataclass
class Result:
    """The nuclei of one image, as every writer gets them."""

    name: str  # in tables
    file: str  # where the image was found
    image: Image
    labels: Any  # (H, W) integers, 0 = background: an array, or of a large image a `Renumbered`
    table: pd.DataFrame  # see `nuclei.output.measurements.measure`
    scales: Iterable[float] = (1,)  # at which the model was applied
    diameter: float | None = None  # of the median nucleus in pixels
    strangeness: float | None = None  # how unlike the training images it is, usually below 1
    warning: str = ""  # why the nuclei should be checked

    @cached_property
    def outlines(self) -> dict[int, Outline]:
        """The outline of every nucleus, computed when a format first needs it; see `polygons`."""
        return polygons(self.labels)


def write_labels(path: str | Path, labels, pixel_size: tuple[float, float] | None = None) -> None:
    """Write labels as a TIFF that ImageJ, QuPath and napari open; napari does not read its pixel size.

    labels : (H, W) array_like of integers, 0 = background; only its ``shape``, ``max()`` and windows
        ``labels[rows, columns]`` are used; 16 bits are written, or 32 for numbers above 65,535
    pixel_size : (float, float), optional; height and width of a pixel in micrometres
    """
    dtype = _label_type(labels)
    # ImageJ's own kind of TIFF has no 32-bit integers, nor 4 GB; it reads the common kind too
    options: dict = {"imagej": dtype == np.uint16 and math.prod(labels.shape) < 2**30}
    if pixel_size:
        height, width = pixel_size
        unit = 1 if options["imagej"] else 1e4  # micrometres
        options["resolution"] = (unit / width, unit / height)
        options |= {"metadata": {"unit": "micron"}} if options["imagej"] else {"resolutionunit": "CENTIMETER"}
    rows = ([labels[window].astype(dtype) for window in row] for row in blocks(labels.shape, CHUNK))
    strips = (zlib.compress(np.concatenate(row, axis=1)) for row in rows)
    shape = {"shape": labels.shape, "dtype": dtype, "rowsperstrip": CHUNK}
    tifffile.imwrite(path, strips, compression="zlib", **shape, **options)


def write_label_zarr(path: str | Path, labels, pixel_size: tuple[float, float] | None = None) -> None:
    """Write labels as an OME-Zarr 0.4, which napari opens as labels and Fiji as an image.

    labels, pixel_size : see `write_labels`

    Each level of the pyramid has every second pixel of the one before. The group may be moved into that of an
    image, as ``labels/nuclei``. See https://ngff.openmicroscopy.org/0.4, "labels".
    """
    import zarr  # slow to import, and seldom needed
    from numcodecs import Zlib

    group: Any = zarr.open_group(str(path), mode="w", zarr_format=2)
    shapes = [labels.shape]
    while max(shapes[-1]) > CHUNK:
        shapes.append(tuple(-(-side // 2) for side in shapes[-1]))
    level, datasets = labels, []
    for k, shape in enumerate(shapes):
        options = {"dtype": _label_type(labels), "chunk_key_encoding": {"name": "v2", "separator": "/"}}
        options["compressors"] = Zlib(1)  # that all readers know
        array = group.create_array(str(k), shape=shape, chunks=(CHUNK, CHUNK), **options)
        for rows, columns in chain(*blocks(shape, CHUNK)):
            step = 1 if k == 0 else 2
            wider = tuple(slice(step * s.start, step * s.stop) for s in (rows, columns))
            array[rows, columns] = level[wider][::step, ::step]
        scale = [2**k * side for side in pixel_size or (1, 1)]
        datasets.append({"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        level = array
    unit = {"unit": "micrometer"} if pixel_size else {}
    axes = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    about = {"version": "0.4", "name": "nuclei", "axes": axes, "datasets": datasets}
    group.attrs.put({"multiscales": [about], "image-label": {"version": "0.4"}})


def _label_type(labels) -> type:
    return np.uint16 if labels.max() <= 65_535 else np.uint32


def write_overlay(path: str | Path, result: Result) -> None:
    """Write the image, brightened, with the outlines of its nuclei as PNG; small images are enlarged.

    Of a large image every k-th pixel is shown, at most `PREVIEW` a side.
    """
    image, labels = result.image, result.labels
    if image.is_large:
        parts = image.pixels, labels.__getitem__
        pixels, labels = (reduced(read, labels.shape, PREVIEW) for read in parts)
    else:
        pixels = image.pixels()
    PIL.Image.fromarray(overlay(as_rgb8(pixels), labels)).save(path, format="PNG")


def write_geojson(path: str | Path, result: Result) -> None:
    """Write the outlines as GeoJSON, each a detection for QuPath named by its number, with measurements."""
    table = pd.DataFrame(rounded(result.table), columns=result.table.columns)
    features = []
    for (number, outline), row in zip(result.outlines.items(), table.to_dict("records"), strict=True):
        known = {name: value for name, value in row.items() if np.isfinite(value)}  # JSON has no NaN
        properties = {"objectType": "detection", "name": str(number), "measurements": known}
        geometry = shapely.geometry.mapping(outline)
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    Path(path).write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_rois(path: str | Path, result: Result) -> None:
    """Write the outlines as a zip of regions of interest for ImageJ, named by their numbers."""
    roiwrite(path, [roi(outline, str(number)) for number, outline in result.outlines.items()], mode="w")


def nuclei_rows(result: Result) -> pd.DataFrame:
    """Return the rows of an image in ``measurements.csv``: the image's name, then `measure`'s columns."""
    return result.table.assign(image=result.name)[["image", *result.table]]


def summary_row(result: Result) -> pd.DataFrame:
    """Return the row of an image in ``summary.csv``; None is what is not known.

    ``covered`` is the fraction of the image that nuclei cover; sides of a pixel are in micrometres.
    """
    table, shape = result.table, result.labels.shape
    height, width = result.image.pixel_size or (None, None)
    area = float(table["area_px"].median()) if len(table) else None
    row = {
        "image": result.name,
        "file": result.file,
        "width_px": shape[1],
        "height_px": shape[0],
        "pixel_width_um": width,
        "pixel_height_um": height,
        "nuclei": len(table),
        "touching_border": int(table["touches_border"].sum()),
        "median_area_px": area,
        "median_area_um2": area * height * width if area and height and width else None,
        "covered": float(table["area_px"].sum() / math.prod(shape)),
        "mean_confidence": float(table["confidence"].mean()) if len(table) else None,
        "scale": " ".join(f"{scale:.3g}" for scale in result.scales),
        "median_diameter_px": result.diameter,
        "strangeness": result.strangeness,
        "note": result.image.note,
        "warning": result.warning,
    }
    return pd.DataFrame([row])


def run_length_rows(result: Result) -> pd.DataFrame:
    """Return the rows of an image in ``rle.csv``; without nuclei one row without run lengths."""
    runs = encode_nuclei(result.labels) or [""]
    return pd.DataFrame({"ImageId": result.name, "EncodedPixels": runs})


@dataclass(frozen=True)
class Format:
    """One kind of output: a file for each image, or files of all images."""

    about: str  # one line, for help and tables
    ending: str = ""  # what follows an image's name in its file
    write: Callable[[Path, Result], None] | None = None  # that file
    tables: dict[str, Callable[[Result], pd.DataFrame]] = field(default_factory=dict)
    """File names, each with what returns the rows of an image."""
    of_run: dict[str, Callable[[Path, Path, Images], None]] = field(default_factory=dict)
    """File names, each with what writes it to a path when all images are done, from the folder of results."""
    large: bool = False  # whether it can be written for images that are too large for memory

    @property
    def files(self) -> list[str]:
        """The names of its files, with NAME for an image's."""
        return [f"NAME{self.ending}"] if self.ending else [*self.tables, *self.of_run]


FORMATS = {
    "labels": Format(
        "label image: each nucleus has a number, 0 is background",
        "_labels.tif",
        lambda path, result: write_labels(path, result.labels, result.image.pixel_size),
        large=True,
    ),
    "measurements": Format(
        "tables: one row per nucleus, one row per image",
        tables={"measurements.csv": nuclei_rows, "summary.csv": summary_row},
        large=True,
    ),
    "overlay": Format("the image with outlines, to check by eye", "_overlay.png", write_overlay, large=True),
    "review": Format(
        "what to check first: the least certain nuclei",
        of_run={"review.csv": write_table, "review.png": write_sheet},
        large=True,
    ),
    "zarr": Format(
        "label image as OME-Zarr, which napari opens as labels",
        "_labels.zarr",
        lambda path, result: write_label_zarr(path, result.labels, result.image.pixel_size),
        large=True,
    ),
    "geojson": Format("outlines and measurements for QuPath", ".geojson", write_geojson),
    "roi": Format("outlines for the ROI Manager of ImageJ and Fiji", "_rois.zip", write_rois),
    "rle": Format("submission file for Kaggle", tables={"rle.csv": run_length_rows}),
}

DEFAULT = ("labels", "measurements", "overlay")


def chosen_formats(save: str | Iterable[str]) -> list[str]:
    """Return the formats to write, in the order of `FORMATS`.

    save : str or several; names of `FORMATS`, or ``all``; in one text they are separated by commas

    Raises ValueError where a name is unknown, or there is none.
    """
    given = save.split(",") if isinstance(save, str) else save if isinstance(save, Iterable) else [save]
    names = {str(name).strip() for name in given}
    if (unknown := names - {*FORMATS, "all"}) or not names:
        found = ", ".join(sorted(name or "an empty name" for name in unknown)) or "no name"
        known = ", ".join(FORMATS)
        raise ValueError(f"`save` has {found}, expected any of {known} separated by commas, or all")
    if "review" in names:  # is made from them
        names |= {"labels", "measurements"}
    return [name for name in FORMATS if name in names or "all" in names]
