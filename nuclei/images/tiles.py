"""Images tile by tile: overlapping windows, of each of which the core is kept.

A prediction at a pixel depends on the pixels around it. A tile therefore has a halo around its core, and the
cores are put together. Tiles begin at multiples of the network's stride: shifted by less, the network would
predict something slightly different.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

STRIDE = 32  # pixels; five halvings of the image make one step of the network's coarsest grid

TILE, HALO = 1024, 128
"""Pixels. With this halo, predictions for a whole image and for its tiles differ by less than 0.001."""

Window = tuple[slice, slice]  # rows and columns


class Tile(NamedTuple):
    """A part of an image, and the part of it that counts; both as rows and columns of the image."""

    outer: Window
    core: Window

    @property
    def inner(self) -> Window:
        """The core, as rows and columns of the tile."""
        rows, columns = (
            slice(core.start - outer.start, core.stop - outer.start)
            for outer, core in zip(self.outer, self.core, strict=True)
        )
        return rows, columns


def windows(shape: tuple[int, int], tile: int = TILE, halo: int = HALO) -> list[Tile]:
    """Cover an image with overlapping tiles.

    Parameters
    ----------
    shape : (H, W) of the image, pixels
    tile : int
        Largest side of a tile in pixels, a multiple of 32.
    halo : int
        Pixels of a tile beyond its core, a multiple of 32; the image's own border has none.

    Returns
    -------
    list of Tile
        Row by row. Each pixel of the image is in exactly one core. Tiles begin at multiples of 32 and lie in
        the image. Where the last tile of a row would hang over, it begins earlier instead, and the halos
        between it and its neighbour are wider.

    Raises
    ------
    ValueError
        If a size is no multiple of 32, or the halos leave no core.

    Examples
    --------
    >>> for (_, outer), (_, core) in windows((9, 300), tile=128, halo=32):
    ...     print(outer.start, core.start, core.stop, outer.stop)
    0 0 96 128
    64 96 160 192
    128 160 224 256
    192 224 300 300
    """
    if tile % STRIDE or halo % STRIDE or not 0 <= 2 * halo < tile:
        raise ValueError(
            f"tile is {tile} and halo {halo} pixels, expected multiples of {STRIDE}, "
            "and a tile of more than two halos"
        )
    rows, columns = (_spans(length, tile, halo) for length in shape)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def _spans(length: int, tile: int, halo: int) -> list[tuple[slice, slice]]:
    """Cover a line: (outer, core) of each tile. Cores meet in the middle of the overlap."""
    last = max(0, -(-(length - tile) // STRIDE) * STRIDE)
    starts = [*range(0, last, tile - 2 * halo), last]
    outers = [slice(start, min(start + tile, length)) for start in starts]
    seams = [0, *((a.stop + b.start) // 2 for a, b in pairwise(outers)), length]
    return list(zip(outers, (slice(*ends) for ends in pairwise(seams)), strict=True))


def tiled_maps(
    predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tile: int = TILE, halo: int = HALO
) -> np.ndarray:
    """Predict an image tile by tile, so that the network's memory is bounded by the tile's size.

    Parameters
    ----------
    predict : function
        (h, w, 3) uint8 -> (h, w, C) float32, for any h and w up to `tile`.
    image : (H, W, 3) uint8
    tile, halo : int, pixels, see `windows`

    Returns
    -------
    (H, W, C) float32
        What `predict` gives for the whole image, except for the influence of pixels beyond the halo. An image
        that fits into one tile is predicted whole.
    """
    maps = np.zeros(0)
    for window in windows(image.shape[:2], tile, halo):
        part = predict(image[window.outer])
        if not maps.size:
            maps = np.empty((*image.shape[:2], part.shape[-1]), part.dtype)
        maps[window.core] = part[window.inner]
    return maps


def edge_labels(labels: np.ndarray, outer: Window, shape: tuple[int, int], border: bool) -> np.ndarray:
    """Return the labels of a tile, without 0, along those of its edges that are the image's, or are not.

    labels : (h, w) integer array
    outer : rows and columns of an image of `shape` (H, W)
    border : bool, True for edges that lie on the image's border, False for those inside it
    """
    edges = [np.zeros(0, labels.dtype)]
    for axis, (span, length) in enumerate(zip(outer, shape, strict=True)):
        for end, outside in ((0, span.start == 0), (-1, span.stop == length)):
            edges += [labels.take(end, axis)] * (outside == border)
    return np.setdiff1d(np.concatenate(edges), 0)
