"""The size of nuclei, and the scales at which the network works best on them."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

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
    largest: float = np.inf,
) -> float:
    """Find the diameter of the median nucleus in an image, in its pixels; 0 without nuclei.

    nuclei_at : returns, for a scale, the areas of the nuclei found, (N,) in pixels of the rescaled image, and
        the mean foreground of each, (N,) 0-1
    pixels, shortest : number of pixels of the image, or of its windows together; its shortest side in pixels
    largest : diameter of the largest nuclei in training, in pixels of the rescaled image

    In very large nuclei the network finds nothing at native scale, or only fragments. So a scale counts if
    half of it shows the same: the median diameters, in pixels of the image, differ by less than a factor of
    1.5, and the areas that nuclei cover by less than 2. The finest such scale decides; without one, the
    finest at which they cover at least half as much as at any other. Covered area is weighted by the mean
    foreground of each nucleus, and nuclei above `largest` do not count in it.

    To save time, scales of a quarter and less are tried first, and a half only if one of these shows nuclei
    more than 1.5 times as large as native scale does, which cover more than a tenth as much. The constants
    were chosen on validation images, also changed, enlarged and reduced.
    """

    @cache
    def seen(scale: float) -> tuple[float, float]:
        """Return the median diameter in pixels, and the fraction of the image that nuclei cover, 0-1."""
        areas, confidences = nuclei_at(scale)
        counts = (areas >= SPECK) & (np.sqrt(4 / np.pi * areas) <= largest)
        return circle_diameter(areas) / scale, (areas * confidences)[counts].sum() / (pixels * scale**2)

    def shows_larger(scale: float) -> bool:
        (native_diameter, native_covered), (diameter, covered) = seen(1), seen(scale)
        return diameter > 1.5 * native_diameter and covered > native_covered / 10

    def shows_the_same(coarse: float, fine: float) -> bool:
        diameters, covered = zip(seen(coarse), seen(fine), strict=True)
        return max(diameters) < 1.5 * min(diameters) and max(covered) < 2 * min(covered)

    scales = [1, *(scale for scale in (1 / 2, 1 / 4, 1 / 8, 1 / 16) if shortest * scale >= 48)]
    if not any(map(shows_larger, scales[2:] or scales[1:])):
        return seen(1)[0]
    for fine, coarse in pairwise(scales):
        if shows_the_same(coarse, fine):
            return seen(fine)[0]
    most = max(covered for _, covered in map(seen, scales))
    return next(diameter for diameter, covered in map(seen, scales) if covered >= most / 2)


SCALES: list[tuple[float, list[float]]] = [
    (1 / 3, [5 / 2]),
    (1 / 2, [3 / 2]),
    (1, [1, 4 / 3]),
    (2, [3 / 4, 1]),
    (5 / 2, [3 / 8, 3 / 4]),
    (5, [1 / 4, 1 / 2]),
    (8, [3 / 16, 3 / 8]),
    (10, [1 / 8, 1 / 4]),
    (16, [5 / 64, 5 / 32]),
    (np.inf, [1 / 16, 1 / 8]),
]
"""Median diameters, relative to the working diameter, and the scales for what is below each. They were chosen
by the scores of validation images, also enlarged and reduced; those below 16 also by the sample's field."""


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
