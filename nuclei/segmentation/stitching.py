"""Labels of an image too large for memory, tile by tile without seams."""

import warnings
from collections.abc import Callable

import numpy as np
from tqdm.auto import tqdm

from nuclei.images.tiles import Tile, Window, edge_labels, windows


def label_large(
    image,
    segment: Callable[[np.ndarray], np.ndarray],
    labels,
    tile: int = 1024,
    halo: int = 128,
    on_tile: Callable[[Tile, np.ndarray, np.ndarray], None] | None = None,
) -> int:
    """Label an image tile by tile, so that memory is bounded by the tile's size and tiles leave no seams.

    Parameters
    ----------
    image : (H, W, ...) array_like
        Only ``image.shape`` and ``image[rows, columns]`` are used, so it may be on disk: see
        `nuclei.images.reading.Image`.
    segment : function
        Part of the image, (h, w, ...) -> its labels, (h, w) integer, 0 = background.
    labels : (H, W) uint32 array_like, all 0
        Filled in place through ``labels[rows, columns]``, numbers from 1 without gaps; may be on disk.
    tile, halo : int, pixels, see `windows`
        The halo should be wider than a nucleus, by the surroundings that the network needs.
    on_tile : function, optional
        Called after each tile with the Tile, its part of the image, and (h, w) uint32 labels of the nuclei
        that it has added, final and whole: each nucleus is seen once.

    Returns
    -------
    int, the number of nuclei

    Warns
    -----
    UserWarning
        If nuclei reach from a core to the edge of their tile, and so may have been cut.

    Notes
    -----
    Of the tiles that find a nucleus, the one whose core holds the centroid writes it whole. Labels written
    earlier stay: a later nucleus gets the remaining pixels, or is dropped when more than half is covered. A
    nucleus with its centroid in an earlier core, but not covered, is added, so that none is lost.
    """
    height, width = image.shape[:2]
    count = cut = 0
    bar = {"unit": "px", "unit_scale": True, "leave": False, "disable": None}
    with tqdm(desc="labelling", total=height * width, **bar) as progress:
        for window in windows((height, width), tile, halo):
            part = image[window.outer]
            taken = labels[window.outer]
            added = _added(segment(part), taken, window.inner, count)
            labels[window.outer] = taken + added
            count = max(count, int(added.max()))
            cut += len(edge_labels(added, window.outer, (height, width), border=False))
            if on_tile:
                on_tile(window, part, added)
            rows, columns = window.core
            progress.update((rows.stop - rows.start) * (columns.stop - columns.start))
    if cut:
        warnings.warn(
            f"{cut} nuclei reach beyond the halo of {halo} pixels around a tile and may have been cut; "
            "use a larger halo, or a scale below 1, which widens it",
            stacklevel=2,
        )
    return count


def _added(found: np.ndarray, taken: np.ndarray, core: Window, count: int) -> np.ndarray:
    """Return the nuclei of a tile that are added to those in `taken`: (h, w) uint32 labels from count + 1."""
    pixels = np.nonzero(found)
    size = int(found.max()) + 1
    area = np.bincount(found[pixels], minlength=size)
    row, column = (np.bincount(found[pixels], x, size) / np.maximum(area, 1) for x in pixels)  # centroids
    below, beside = row >= core[0].stop, (row >= core[0].start) & (column >= core[1].stop)
    in_core = np.bincount(found[core].ravel(), minlength=size) > 0
    covered = np.bincount(found[taken > 0], minlength=size)
    added = in_core & ~(below | beside) & (2 * covered <= area)  # the tiles below and beside come later
    added[0] = False
    numbers = (added * (count + np.cumsum(added))).astype(np.uint32)
    return np.where(taken == 0, numbers[found], np.uint32(0))
