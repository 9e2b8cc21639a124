"""Labels of an image too large for memory: tiles in nearly any order, also at once, and without seams.

Of the tiles that find a nucleus, the one whose core holds the centroid adds it whole. Tiles are segmented in
phases: those of one phase share no chunk of the labels on disk, so that they may run at once, in any order,
on any machine, and the labels are the same. Labels of earlier phases stay: a later nucleus gets the remaining
pixels, or is dropped when more than half is covered. A nucleus with its centroid in the core of an earlier
tile, but not covered, is added, so that none is lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from nuclei.images.tiles import Tile, Window, spans

NUMBERS = 24  # bits for the nuclei of a tile; the number of the tile is above them


class Tiling:
    """The tiles of an image, numbered row by row from 0: see `windows`."""

    def __init__(self, shape: tuple[int, int], tile: int, halo: int, chunk: int):
        """Cover an image of `shape` (H, W); `chunk` is the side of the chunks of its labels, in pixels."""
        self.spans = [spans(length, tile, halo) for length in shape]  # of rows and of columns
        rows, columns = (_colours([outer for outer, _ in line], chunk) for line in self.spans)
        self.phase = rows[:, None] * (columns.max() + 1) + columns  # of each tile: (rows, columns) integers

    def tile(self, k: int) -> Tile:
        row, column = divmod(k, len(self.spans[1]))
        return Tile(*zip(self.spans[0][row], self.spans[1][column], strict=True))

    def phases(self) -> list[list[int]]:
        """Return the numbers of the tiles of each phase."""
        return [np.flatnonzero(self.phase == phase).tolist() for phase in range(self.phase.max() + 1)]

    def add(self, k: int, found: np.ndarray, labels) -> np.ndarray:
        """Add the nuclei of the tile number `k` to the labels of the whole image.

        found : (h, w) integers, 0 = background: what was found in ``image[tile(k).outer]``
        labels : (H, W) uint64 array_like, all 0 before the first tile, changed in place

        Returns (h, w) int32: the nuclei added, whole, 0 = background, 1..N. In the labels of the image
        nucleus n has the number ``first(k) + n - 1``: unique, rising from tile to tile, with gaps.
        """
        tile = self.tile(k)
        taken = labels[tile.outer]
        taken[taken >> NUMBERS == k + 1] = 0  # of an attempt that was stopped
        pixels = np.nonzero(found)
        size = int(found.max()) + 1
        area = np.bincount(found[pixels], minlength=size)
        owner = []  # row and column of the tile in whose core a nucleus has its centroid
        for line, x, span in zip(self.spans, pixels, tile.outer, strict=True):
            centroid = np.bincount(found[pixels], x, size) / np.maximum(area, 1) + span.start
            owner.append(np.searchsorted([core.start for _, core in line], centroid, "right") - 1)
        in_core = np.bincount(found[tile.inner].ravel(), minlength=size) > 0
        covered = np.bincount(found[taken > 0], minlength=size)
        added = in_core & (self.phase[tuple(owner)] <= self.phase.flat[k]) & (2 * covered <= area)
        added[0] = False
        new = np.where(taken == 0, (added * np.cumsum(added)).astype(np.int32)[found], np.int32(0))
        labels[tile.outer] = np.where(new > 0, new + np.uint64(self.first(k) - 1), taken)
        return new

    def first(self, k: int) -> int:
        """Return the number of the first nucleus of the tile number `k`."""
        return ((k + 1) << NUMBERS) + 1


def _colours(spans: Sequence[slice], chunk: int) -> np.ndarray:
    """Number spans from 0 so that those of one number have no chunk in common: (N,) integers."""
    colours: list[int] = []
    for k, span in enumerate(spans):
        near = {
            c for c, s in zip(colours, spans[:k], strict=True) if (s.stop - 1) // chunk >= span.start // chunk
        }
        colours.append(next(number for number in count() if number not in near))
    return np.array(colours)


@dataclass(frozen=True)
class Renumbered:
    """Labels with gaps in their numbers, read as ``[rows, columns]`` with numbers from 1 to N: (h, w) uint32.

    read : function (rows, columns) -> (h, w) integers, 0 = background
    shape : (H, W)
    numbers : (N,) integers, those in the labels, ascending
    """

    read: Callable[[Window], np.ndarray]
    shape: tuple[int, int]
    numbers: np.ndarray

    def max(self) -> int:
        return len(self.numbers)

    def __getitem__(self, window: Window) -> np.ndarray:
        part = self.read(window)
        inside = part > 0
        numbers = np.zeros(part.shape, np.uint32)
        numbers[inside] = np.searchsorted(self.numbers, part[inside]) + 1
        return numbers
