"""The size of nuclei, and the scales at which the network works best on them."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import block_reduce

from nuclei.data.labels import SPECK
from nuclei.images.tiles import HALO, STRIDE, Window

# arguments of `labels_from_maps` that measure the size of nuclei, independent of tuned thresholds
SIZING: dict = {"foreground_threshold": 0.5, "marker_threshold": 0.5, "min_area": 0.1, "smoothing": 1.0}

FAINT = 0.1  # a foreground, 0-1, at which no nucleus is found, unless another scale shows it clearly


def median_diameter(labels: np.ndarray) -> float:
    """(H, W) integer labels, 0 = background -> `circle_diameter` of the nuclei."""
    return circle_diameter(np.bincount(labels.ravel())[1:])


def circle_diameter(areas: np.ndarray) -> float:
    """(N,) areas in pixels -> diameter of the circle of the median one of at least 10 pixels, 0 for none."""
    areas = areas[areas >= SPECK]
    return float(np.sqrt(4 / np.pi * np.median(areas))) if areas.size else 0.0


def find_diameter(
    nuclei_at: Callable[[float], tuple[np.ndarray, np.ndarray]],
    pixels: int,
    shortest: int,
    diameters: Sequence[float] = (0, np.inf),
) -> float:
    """Find the diameter of the median nucleus in an image, however large, in its pixels; 0 without nuclei.

    At native scale the network finds nothing in very large nuclei, or only fragments. So the image, of so
    many `pixels` and a `shortest` side, is halved up to three times, as long as nuclei of a size known from
    training (`diameters`: smallest, largest) then cover clearly more of it, each weighted by its mean
    foreground. A quarter is tried first, as it costs little. Where these and larger nuclei cover seven times
    as much there, what native scale shows are fragments, and coarser ones are tried though a half shows less.
    `nuclei_at` returns, for a scale, the areas of the nuclei found, (N,) in pixels of the rescaled image, and
    the mean foreground of each.
    """

    @cache
    def seen(scale: float) -> tuple[float, float, float]:
        """Return the median diameter in pixels, and the fractions of the image that nuclei cover, 0-1.

        The first is that of nuclei of a known size, the second that of these and larger ones.
        """
        areas, confidences = nuclei_at(scale)
        sizes = np.sqrt(4 / np.pi * areas)
        covers = np.where((areas >= SPECK) & (sizes >= diameters[0]), areas * confidences, 0)
        known = covers[sizes <= diameters[1]].sum() / (pixels * scale**2)
        return circle_diameter(areas) / scale, known, covers.sum() / (pixels * scale**2)

    def shows_more(coarse: float, fine: float) -> bool:
        before, covered = seen(fine)[1], seen(coarse)[1]
        return 0.6 * covered > before or (before < 0.0005 and covered >= before)

    scales = [scale for scale in (1 / 2, 1 / 4, 1 / 8) if shortest * scale >= 62]
    best, fragments = 1.0, False
    if 1 / 4 in scales:
        fragments = 7 * seen(best)[1] < seen(1 / 4)[2]
        scales = scales if fragments or shows_more(1 / 4, best) else []
    for scale in scales:
        if shows_more(scale, best):
            best = scale
        elif not fragments:
            break
    return seen(best)[0]


SCALES: list[tuple[float, list[float]]] = [
    (1 / 3, [5 / 2]),
    (1 / 2, [3 / 2]),
    (1, [1, 4 / 3]),
    (2, [3 / 4, 1]),
    (5 / 2, [3 / 8, 3 / 4]),
    (5, [1 / 4, 1 / 2]),
    (8, [3 / 16, 3 / 8]),
    (16, [1 / 8, 1 / 4]),
    (np.inf, [1 / 16, 1 / 8]),
]
"""Median diameters, relative to the working diameter, and the scales for what is below each. They were chosen
by the scores of validation images, also enlarged and reduced."""


def scales_for(diameter: float, working_diameter: float | None) -> list[float]:
    """Return the scales at which to run the network on an image; its maps are averaged over them.

    They bring nuclei of this median `diameter` near the `working_diameter`, by `SCALES`. Native scale, 1,
    without nuclei, or for a `working_diameter` of 0 or None.
    """
    if not (working_diameter and diameter):
        return [1]
    return next(scales for limit, scales in SCALES if diameter / working_diameter < limit)


def boxes_near(shown: np.ndarray, scale: float) -> list[tuple[Window, np.ndarray]]:
    """Return the parts of an image that need another pass: those near what an earlier pass has `shown`.

    `shown`, (H, W) bool, is where there may be nuclei; `scale` that of the pass to come, in whose pixels
    parts begin near multiples of the network's stride, and reach a halo further. Each part has its rows
    and columns, and which of its pixels it is for, (h, w) bool; no pixel is in two. Where parts hold more
    pixels than the image, it is the only part.
    """
    side = max(1, round(STRIDE / scale))
    blocks = ndi.maximum_filter(block_reduce(shown, side, np.max), 2 * HALO // STRIDE + 1)
    numbers, _ = ndi.label(blocks)
    pixels = numbers.repeat(side, axis=0).repeat(side, axis=1)[: shown.shape[0], : shown.shape[1]]
    boxes = ndi.find_objects(pixels)
    parts = [(box, pixels[box] == k) for k, box in enumerate(boxes, start=1)]
    if sum(near.size for _, near in parts) >= shown.size:
        return [(np.s_[: shown.shape[0], : shown.shape[1]], np.ones(shown.shape, bool))]
    return parts
