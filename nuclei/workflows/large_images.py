"""Images too large for memory: their nuclei are found, written and measured tile by tile."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nuclei.data.labels import smallest_area
from nuclei.images.intensity import rgb8_converter
from nuclei.images.reading import Image, open_image
from nuclei.images.tiff import LARGE
from nuclei.images.tiles import HALO, TILE, Tile, edge_labels, spread_windows
from nuclei.output.formats import resolution
from nuclei.output.label_tiff import new_label_tiff
from nuclei.output.measurements import measure
from nuclei.segmentation.prediction import Maps, Prediction
from nuclei.segmentation.scale import circle_diameter
from nuclei.segmentation.stitching import label_large
from nuclei.segmentation.watershed import confidence, most_confident

PREVIEW = 2000  # pixels, the longer side
LARGEST_STEP = 4  # how many times larger the sides of tiles may become; memory grows with the square


class LargePrediction(NamedTuple):
    """The nuclei of a large image, whose labels are in a file."""

    table: pd.DataFrame  # see `nuclei.output.measurements.measure`
    scales: Sequence[float]  # at which the network ran
    diameter: float  # of the median nucleus in pixels; 0 without nuclei


def segment_large(
    image: Image,
    segmenter,
    labels_path: str | Path,
    *,
    pixel_size: tuple[float, float] | None = None,
    scale: float | str = "auto",
    augment: bool = False,
    tile: int = TILE,
    halo: int = HALO,
) -> LargePrediction:
    """Find the nuclei of an image tile by tile, so that memory grows with the tile and not with the image.

    Parameters
    ----------
    image : nuclei.images.reading.Image
    segmenter : nuclei.segmentation.segmenter.Segmenter
    labels_path : str or Path
        The file for (H, W) uint32 labels, 0 = background, as TIFF. It appears when all of it is written.
    pixel_size : (y, x), optional; micrometres
    scale : float or "auto"
        The factor by which tiles are rescaled. For "auto", the nuclei in nine windows decide on the scales
        for the whole image. Whatever the scale, they also decide which nuclei are too small or not confident
        enough, where the model's limits are relative; where the windows hold no nuclei, each tile decides for
        itself.
    augment : bool; see `nuclei.segmentation.segmenter.Segmenter.predict`
    tile, halo : int, pixels; see `nuclei.images.tiles.windows`
        For a scale below 1 both are made larger, so that the network sees the usual number of pixels.

    Raises ValueError where the file cannot be read, or the model cannot be applied to parts of an image;
    OSError where the labels cannot be written. Warns of a median nucleus outside the sizes in training.
    """
    if side := segmenter.settings.get("resize"):
        raise ValueError(
            f"{image.name}: the model resizes whole images to {side} pixels, and this one is too large for "
            f"that; choose another model, or cut the image into parts of up to {LARGE / 1e6:.0f} megapixels"
        )
    tiles = _Tiles(image, segmenter, augment, pixel_size)
    with new_label_tiff(labels_path, image.shape, **resolution(pixel_size)) as labels:
        tiles.scales = tiles.find_scales() if scale == "auto" else [float(scale)]
        tiles.fix_limits()
        step = min(max(1, math.ceil(1 / min(tiles.scales))), LARGEST_STEP)
        label_large(image, tiles.segment, labels, step * tile, step * halo, tiles.measure)
    table = pd.concat([t for t in tiles.tables if len(t)] or tiles.tables[:1], ignore_index=True)
    diameter = circle_diameter(table["area_px"])
    segmenter.check_size(diameter, tiles.scales)
    return LargePrediction(table, tiles.scales, diameter)


class _Tiles:
    """Segments the tiles of an image, all with the same scales and limits, and measures their nuclei.

    scales, thresholds : how tiles are segmented; `thresholds` replace the model's own
    tables : list of DataFrame, the measurements of each tile's nuclei
    """

    def __init__(self, image: Image, segmenter, augment: bool, pixel_size: tuple[float, float] | None):
        self.image, self.segmenter, self.augment, self.pixel_size = image, segmenter, augment, pixel_size
        self.scales: Sequence[float] = [1]
        self.thresholds: dict[str, float] = {}
        self.tables: list[pd.DataFrame] = []
        self._to_rgb8 = rgb8_converter(image, segmenter.settings.get("normalize", False))
        self._last: Prediction

    def find_scales(self) -> list[float]:
        """Return the scales that suit the nuclei in windows spread over the image."""
        spread = spread_windows(self.image.shape, TILE)
        return self.segmenter.find_scales([self._to_rgb8(self.image.shown(self.image[w])) for w in spread])

    def fix_limits(self) -> None:
        """Turn limits that are relative to an image's nuclei into absolute ones, the same for all tiles."""
        thresholds = self.segmenter.settings["thresholds"]
        min_area, min_confidence = (thresholds.get(name, 0) for name in ("min_area", "min_confidence"))
        if not (0 < min_area < 1 or min_confidence):
            return
        found = []
        for window in spread_windows(self.image.shape, TILE):
            maps = self._maps(self.image[window])
            labels = self.segmenter.label(maps, min_area=0, min_confidence=0).labels
            found.append((np.bincount(labels.ravel())[1:], confidence(labels, maps.maps[..., 0])))
        areas, confidences = np.concatenate(found, axis=1)
        top = most_confident(confidences)
        areas = areas[confidences >= min_confidence * top]
        if areas.size:
            self.thresholds = {"min_area": max(1, smallest_area(areas, min_area)), "top_confidence": top}

    def segment(self, part: np.ndarray) -> np.ndarray:
        """Label a part of the image: (h, w, C) -> (h, w) int32. `measure` uses the last prediction."""
        self._last = self.segmenter.label(self._maps(part), **self.thresholds)
        return self._last.labels

    def measure(self, tile: Tile, part: np.ndarray, added: np.ndarray) -> None:
        """Measure the nuclei that a tile has added, whose labels follow those of all tiles before."""
        before = sum(map(len, self.tables))
        labels = np.where(added > 0, added - np.uint32(before), 0).astype(np.int32)
        table = measure(labels, part, self._confidence(labels), self.pixel_size)
        table["label"] += before
        for k, (axis, span) in enumerate(zip("yx", tile.outer, strict=True)):
            table[f"centroid_{axis}_px"] += span.start
            if self.pixel_size:
                table[f"centroid_{axis}_um"] = table[f"centroid_{axis}_px"] * self.pixel_size[k]
        border = edge_labels(added, tile.outer, self.image.shape, border=True)
        table["touches_border"] = np.isin(table["label"], border)
        self.tables.append(table)

    def _confidence(self, added: np.ndarray) -> np.ndarray:
        """Return the confidence of labels 1..N, which were added from the last prediction: (N,) float."""
        if not self.segmenter.settings.get("calibration"):
            return confidence(added, self._last.maps[..., 0])
        number = np.zeros(added.max() + 1, int)
        number[added] = self._last.labels
        return self._last.confidence[number[1:] - 1]

    def _maps(self, part: np.ndarray) -> Maps:
        seen = self._to_rgb8(self.image.shown(part))
        return Maps(seen, self.segmenter.multiscale_maps(seen, self.scales, self.augment), self.scales)


def preview(image: Image, labels_path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return every k-th pixel of a large image and of its labels, at most `PREVIEW` a side.

    (h, w) or (h, w, 3) array of what the model was applied to, and (h, w) uint32, 0 = background
    """
    height, width = image.shape
    step = math.ceil(max(height, width) / PREVIEW)
    rows = [(slice(y, y + 1), slice(0, width)) for y in range(0, height, step)]
    with open_image(labels_path) as labels:
        shown, numbers = ([each.pixels(row)[:, ::step] for row in rows] for each in (image, labels))
        return np.concatenate(shown), np.concatenate(numbers)
