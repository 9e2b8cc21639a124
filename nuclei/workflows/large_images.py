"""Images too large for memory: their nuclei are found, written and measured tile by tile."""

import math
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nuclei.data.labels import smallest_area
from nuclei.images.intensity import rgb8_converter
from nuclei.images.reading import Image, open_image
from nuclei.images.tiff import LARGE
from nuclei.images.tiles import HALO, TILE, Tile, Window, edge_labels
from nuclei.output.formats import resolution
from nuclei.output.label_tiff import new_label_tiff
from nuclei.output.measurements import measure
from nuclei.segmentation.prediction import Maps
from nuclei.segmentation.scale import SIZING, circle_diameter
from nuclei.segmentation.stitching import label_large
from nuclei.segmentation.watershed import confidence, labels_from_maps, most_confident

PREVIEW = 2000  # pixels, the longer side

LARGEST_STEP = 4  # how many times larger the sides of tiles may become; memory grows with the square


class Found(NamedTuple):
    """The nuclei of a slide.

    shape : (H, W), pixels
    table : DataFrame, what `nuclei.output.measurements.measure` says of each nucleus of the whole image
    pixel_size : (y, x) in micrometres, or None
    """

    shape: tuple[int, int]
    table: pd.DataFrame
    pixel_size: tuple[float, float] | None


def segment_slide(
    image: Image,
    segmenter,
    labels_path: str | Path,
    *,
    pixel_size: tuple[float, float] | None = None,
    scale: float | str = "auto",
    augment: bool = False,
    tile: int = TILE,
    halo: int = HALO,
) -> Found:
    """Find the nuclei of a TIFF file tile by tile, so that memory grows with the tile and not the image.

    Parameters
    ----------
    image : nuclei.images.reading.Image
    segmenter : nuclei.segmentation.segmenter.Segmenter
        Of its methods, `multiscale_maps`, `label`, `scales_for` and `check_size` are used.
    labels_path : str or Path
        Where the (H, W) uint32 label TIFF goes, 0 = background. It is there when all of it is written.
    pixel_size : (y, x), optional
        Micrometres.
    scale : float or "auto"
        How many times to magnify. For "auto", the nuclei in nine windows decide for the whole image at which
        scales to look. Whatever the scale, they also decide which nuclei are too small or not sure enough,
        where the model's limits are shares; where the windows hold no nuclei, each tile decides for itself.
    augment : bool
        See `nuclei.segmentation.segmenter.Segmenter.predict`.
    tile, halo : int, pixels, see `nuclei.images.tiles.windows`
        For a scale below 1 both are made larger, so that the model sees as much as ever.

    Returns
    -------
    Found

    Raises
    ------
    ValueError
        The file cannot be read, or the model cannot look at a part of an image.
    OSError
        The labels cannot be written.

    Warns
    -----
    UserWarning
        The median nucleus is smaller or larger than those that the model was trained on.
    """
    if side := segmenter.settings.get("resize"):
        raise ValueError(
            f"{image.name}: the model resizes whole images to {side} pixels, and this one is too large for "
            f"that. Choose another model, or cut the image into parts of up to {LARGE / 1e6:.0f} megapixels."
        )
    shape = image.shape
    to_rgb8 = rgb8_converter(image, segmenter.settings.get("normalize", False))
    scales, foreground, tables = [1 if scale == "auto" else scale], None, []
    sizing, changed = True, {}

    def find(part: np.ndarray) -> np.ndarray:
        nonlocal foreground
        seen = to_rgb8(image.shown(part))
        maps = segmenter.multiscale_maps(seen, scales, augment)
        foreground = maps[..., 0]
        if sizing:
            return labels_from_maps(maps, **SIZING)
        return segmenter.label(Maps(seen, maps, scales), **changed).labels

    def survey() -> np.ndarray:
        """Areas in pixels and confidences of the nuclei in windows spread over the image: (2, N)."""
        found = []
        for window in _spread(shape):
            labels = find(image[window])
            found.append((np.bincount(labels.ravel())[1:], confidence(labels, foreground)))
        return np.concatenate(found, axis=1)

    def measure_tile(window: Tile, part: np.ndarray, added: np.ndarray) -> None:
        before = sum(map(len, tables))
        tables.append(_measure(window, added, part, foreground, pixel_size, shape, before))

    with new_label_tiff(labels_path, shape, **resolution(pixel_size)) as labels:
        if scale == "auto":
            areas, _ = survey()
            scales = segmenter.scales_for(circle_diameter(areas))
        sizing, thresholds = False, segmenter.settings["thresholds"]
        min_area, min_confidence = (thresholds.get(name, 0) for name in ("min_area", "min_confidence"))
        if 0 < min_area < 1 or min_confidence:  # shares, of the same values in all tiles
            changed = {"min_area": 0, "min_confidence": 0}
            areas, sure = survey()
            top = most_confident(sure)
            areas = areas[sure >= min_confidence * top]
            smallest = max(1, smallest_area(areas, min_area))
            changed = {"min_area": smallest, "top_confidence": top} if areas.size else {}
        step = min(max(1, math.ceil(1 / min(scales))), LARGEST_STEP)
        label_large(image, find, labels, step * tile, step * halo, measure_tile)
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    if len(table):
        segmenter.check_size(circle_diameter(table["area_px"]), scales)
    return Found(shape, table, pixel_size)


def preview(image: Image, labels_path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return every k-th pixel of a large image and of its labels, `PREVIEW` a side or less.

    (h, w) or (h, w, 3) array of what a model sees, in the file's values, and (h, w) uint32, 0 = background
    """
    with open_image(labels_path) as labels:
        return _thinned(image), _thinned(labels)


def _thinned(image: Image) -> np.ndarray:
    height, width = image.shape
    step = math.ceil(max(height, width) / PREVIEW)
    rows = (slice(y, y + 1) for y in range(0, height, step))
    return np.concatenate([image.pixels((row, slice(0, width)))[:, ::step] for row in rows])


def _spread(shape: tuple[int, int]) -> list[Window]:
    """Return up to nine windows of an image, as large as a tile where it is that large, spread over it."""
    spans = []
    for length in shape:
        side = min(TILE, length)
        starts = sorted({(length - side) * k // 6 for k in (1, 3, 5)})
        spans.append([slice(start, start + side) for start in starts])
    return list(product(*spans))


def _measure(
    tile: Tile,
    added: np.ndarray,
    channels: np.ndarray,
    foreground: np.ndarray,
    pixel_size: tuple[float, float] | None,
    shape: tuple[int, int],
    before: int,
) -> pd.DataFrame:
    """Measure the nuclei that a tile has added to those `before`, as parts of an image of `shape` (H, W)."""
    labels = np.where(added > 0, added - np.uint32(before), 0).astype(np.int32)
    table = measure(labels, channels, confidence(labels, foreground), pixel_size)
    table["label"] += before
    for k, (axis, span) in enumerate(zip("yx", tile.outer, strict=True)):
        table[f"centroid_{axis}_px"] += span.start
        if pixel_size:
            table[f"centroid_{axis}_um"] = table[f"centroid_{axis}_px"] * pixel_size[k]
    border = edge_labels(added, tile.outer, shape, border=True)
    table["touches_border"] = np.isin(table["label"], border)
    return table
