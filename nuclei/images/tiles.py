"""Images tile by tile: overlapping windows, of each of which the core is kept.

A prediction at a pixel depends on the pixels around it, so a tile has a halo around its core. Tiles begin at
multiples of the network's stride: otherwise its prediction would be slightly different.
"""

from collections.abc import Callable
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

STRIDE = 32  # pixels; five halvings of the image make one step of the network's coarsest grid
TILE = 1536  # pixels, the side of the largest image that the network is given whole: about half a GB
HALO = 128  # pixels; predictions for a whole image and for its tiles differ by less than 0.001
CHUNK = 512  # pixels, the side of the chunks of labels on disk

Window = tuple[slice, slice]  # rows and columns


class Tile(NamedTuple):
    """A part of an image, and the part of it that counts; both as rows and columns of the image."""

    outer: Window
    core: Window

    @property
    def inner(self) -> Window:
        """The core, as rows and columns of the tile."""
        rows, columns = (slice(c.start - o.start, c.stop - o.start) for o, c in zip(*self, strict=True))
        return rows, columns


def windows(shape: tuple[int, int], tile: int = TILE, halo: int = HALO) -> list[Tile]:
    """Cover an image of `shape` (H, W) with overlapping tiles, row by row.

    They have at most `tile` pixels a side, `halo` of them beyond the core except at the image's border. Each
    pixel is in exactly one core. All tiles are equally large, but for the last of a row or column. Both sizes
    are multiples of `STRIDE`, and a tile is larger than two halos.

    >>> for (_, outer), (_, core) in windows((9, 300), tile=128, halo=32):
    ...     print(outer.start, core.start, core.stop, outer.stop)
    0 0 96 128
    64 96 160 192
    128 160 224 256
    192 224 300 300
    """
    rows, columns = (spans(length, tile, halo) for length in shape)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def spans(length: int, tile: int, halo: int) -> list[tuple[slice, slice]]:
    """Cover a line of `length` pixels: (outer, core) of each tile; see `windows`."""
    rest = max(1, length - 2 * halo)
    count = -(-rest // (tile - 2 * halo))
    step = -(-rest // count // STRIDE) * STRIDE
    outers = [slice(start, min(start + step + 2 * halo, length)) for start in range(0, rest, step)]
    seams = [0, *((a.stop + b.start) // 2 for a, b in pairwise(outers)), length]  # amid the overlaps
    return list(zip(outers, (slice(*ends) for ends in pairwise(seams)), strict=True))


def blocks(shape: tuple[int, int], side: int) -> list[list[Window]]:
    """Cut an image of `shape` (H, W) into windows of up to `side` pixels, row by row: a list for each row."""
    rows, columns = ([slice(k, min(k + side, n)) for k in range(0, n, side)] for n in shape)
    return [[(row, column) for column in columns] for row in rows]


def reduced(read: Callable[[Window], np.ndarray], shape: tuple[int, int], side: int) -> np.ndarray:
    """Return every k-th pixel of an image of `shape` that `read` reads in windows: at most `side` a side."""
    step = -(-max(shape) // side)
    rows = blocks(shape, step * max(1, TILE // step))
    return np.concatenate([np.concatenate([read(w)[::step, ::step] for w in row], axis=1) for row in rows])


def tiled_maps(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int = TILE,
    halo: int = HALO,
) -> np.ndarray:
    """Predict an (H, W, 3) uint8 image tile by tile, in memory bounded by the tile's size: (H, W, C) float32.

    `predict` takes (h, w, 3) uint8 and returns (h, w, C) float32. For the whole image the result would be the
    same, but for the influence of pixels beyond the halo; see `windows`.
    """
    maps = np.zeros(0)
    for window in windows(image.shape[:2], tile, halo):
        part = predict(image[window.outer])
        if not maps.size:
            maps = np.empty((*image.shape[:2], part.shape[-1]), part.dtype)
        maps[window.core] = part[window.inner]
    return maps


def spread_windows(shape: tuple[int, int], side: int) -> list[Window]:
    """Return up to nine windows, of `side` pixels where an image of `shape` is that large, spread over it."""
    spans = []
    for length in shape:
        starts = sorted({max(0, length - side) * k // 6 for k in (1, 3, 5)})
        spans.append([slice(start, min(start + side, length)) for start in starts])
    return list(product(*spans))


def edge_labels(labels: np.ndarray, outer: Window, shape: tuple[int, int], border: bool) -> np.ndarray:
    """Return the labels, without 0, along the edges of a tile that lie on the image's `border`, or inside it.

    `labels` are (h, w) integers, of the rows and columns `outer` of an image of `shape` (H, W).
    """
    ends = [end for span, n in zip(outer, shape, strict=True) for end in (span.start == 0, span.stop == n)]
    edges = zip((labels[0], labels[-1], labels[:, 0], labels[:, -1]), ends, strict=True)
    chosen = [edge for edge, outside in edges if outside == border]
    return np.setdiff1d(np.concatenate([labels[0, :0], *chosen]), 0)
