"""Images too large for memory: their nuclei are found and measured tile by tile."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from nuclei.images.intensity import rgb8_converter
from nuclei.images.reading import Image
from nuclei.images.tiff import LARGE
from nuclei.images.tiles import CHUNK, HALO, TILE, edge_labels, spread_windows
from nuclei.output.measurements import measure
from nuclei.segmentation.scale import circle_diameter
from nuclei.segmentation.segmenter import Maps, Segmenter
from nuclei.segmentation.stitching import Renumbered, Tiling

WINDOW = 768  # pixels, the side of each of the nine windows in which nuclei are measured first
LARGEST_STEP = 4  # how many times larger the sides of tiles may become; memory grows with the square

Measured = tuple[int, pd.DataFrame, int]
"""The number of a tile, the table of its nuclei, and how many of these reach the edge of the tile."""


class LargePrediction(NamedTuple):
    """The nuclei of a large image."""

    labels: Renumbered  # on disk
    table: pd.DataFrame  # see `nuclei.output.measurements.measure`
    scales: Sequence[float]  # at which the network ran
    diameter: float  # of the median nucleus in pixels; 0 without nuclei
    strangeness: float | None  # see `nuclei.segmentation.strangeness`, of nine windows


def segment_large(
    image: Image,
    segmenter: Segmenter,
    store: str | Path,
    run: Callable[["Tiles", list[int]], Iterable[Measured]],
    scale: float | str = "auto",
    augment: bool = False,
) -> LargePrediction:
    """Find the nuclei of an image tile by tile, so that memory grows with the tile and not with the image.

    store : the folder of a Zarr array for the labels, replaced where it is there: working space, to be
        deleted when the returned labels have been read
    run : applies `segment_tile` to the tiles of one phase, in any order or at once
    scale : the factor by which tiles are rescaled. For "auto", the nuclei in nine windows decide on the
        scales for the whole image. Limits that are relative to an image's nuclei are relative to a tile's.
        Below 1, tiles and halos are made larger, so that the network sees the usual number of pixels
    augment : see `nuclei.segmentation.segmenter.Segmenter.predict`

    Raises ValueError where the file cannot be read, or the model cannot be applied to parts of an image;
    OSError where the labels cannot be written. Warns of nuclei that may have been cut, and of a median
    nucleus outside the sizes in training.
    """
    import zarr  # slow to import, and seldom needed

    if side := segmenter.settings.get("resize"):
        raise ValueError(
            f"{image.name}: the model resizes whole images to {side} pixels, and this one is too large for "
            f"that; choose another model, or cut the image into parts of up to {LARGE / 1e6:.0f} megapixels"
        )
    labels: Any = zarr.create_array(
        str(store), shape=image.shape, chunks=(CHUNK,) * 2, dtype="uint64", overwrite=True
    )
    convert = rgb8_converter(image, segmenter.settings.get("normalize", False))
    spread = [convert(image.shown(image[window])) for window in spread_windows(image.shape, WINDOW)]
    scales = segmenter.find_scales(spread) if scale == "auto" else [float(scale)]
    strangeness = segmenter.strangeness(spread, scales)
    step = min(max(1, math.ceil(1 / min(scales))), LARGEST_STEP)
    tiling = Tiling(image.shape, step * TILE, step * HALO, CHUNK)
    tiles = Tiles(str(store), tiling, convert, scales, augment, image.pixel_size)
    parts: list[Measured] = []
    total = math.prod(image.shape)
    with tqdm(total=total, desc="labelling", unit="px", unit_scale=True, leave=False, disable=None) as bar:
        for numbers in tiling.phases():
            for part in run(tiles, numbers):
                parts.append(part)
                bar.update(math.prod(span.stop - span.start for span in tiling.tile(part[0]).core))
    tables = [table for _, table, _ in sorted(parts, key=lambda part: part[0])]
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    known, table["label"] = table["label"].to_numpy(), np.arange(1, len(table) + 1)
    if cut := sum(cut for *_, cut in parts):
        warnings.warn(
            f"{cut} nuclei reach beyond the halo of {step * HALO} pixels around a tile and may have been "
            "cut; use a scale below 1, which widens it",
            stacklevel=2,
        )
    diameter = circle_diameter(table["area_px"])
    segmenter.check_size(diameter, scales)
    renumbered = Renumbered(labels.__getitem__, image.shape, known.astype(labels.dtype))
    return LargePrediction(renumbered, table, scales, diameter, strangeness)


class Tiles(NamedTuple):
    """How the tiles of an image are segmented, all alike, wherever they are."""

    store: str  # the folder of the Zarr array for the labels
    tiling: Tiling
    convert: Callable[[np.ndarray], np.ndarray]  # see `rgb8_converter`
    scales: Sequence[float]  # see `Segmenter.multiscale_maps`
    augment: bool
    pixel_size: tuple[float, float] | None  # (y, x) in micrometres


def segment_tile(k: int, tiles: Tiles, image: Image, segmenter: Segmenter) -> Measured:
    """Segment the tile number `k` of an image, add its nuclei to the labels on disk, and measure them.

    The nuclei have preliminary numbers; see `Tiling.add`.
    """
    import zarr

    outer = tiles.tiling.tile(k).outer
    part = image[outer]
    seen = tiles.convert(image.shown(part))
    maps = segmenter.multiscale_maps(seen, tiles.scales, tiles.augment)
    predicted = segmenter.label(Maps(seen, maps, tiles.scales))
    labels = tiles.tiling.add(k, predicted.labels, zarr.open_array(tiles.store, mode="r+"))
    number = np.zeros(labels.max() + 1, int)
    number[labels] = predicted.labels
    confidence, (rows, columns) = predicted.confidence[number[1:] - 1], outer
    table = measure(labels, part, confidence, tiles.pixel_size, (rows.start, columns.start))
    border, cut = (edge_labels(labels, outer, image.shape, border) for border in (True, False))
    table["touches_border"] = np.isin(table["label"], border)
    table["label"] += tiles.tiling.first(k) - 1
    return k, table, len(cut)
