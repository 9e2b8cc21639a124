"""Outlines of nuclei, close-ups, and which images to show: what all pictures are drawn with."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor
from scipy.ndimage import binary_dilation, gaussian_filter, uniform_filter
from scipy.spatial import KDTree
from skimage.measure import find_contours, regionprops
from skimage.segmentation import find_boundaries

from nuclei.data.image_types import IMAGE_TYPES
from nuclei.data.samples import Sample
from nuclei.figures.colours import BOTH, DARK, PREDICTION, TRUTH
from nuclei.segmentation.scale import median_diameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # slow to import, and an overlay does without

ACROSS = 9  # so many median nuclei lie side by side in a close-up, so that the outlines do not hide them


def brightened(image: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) uint8 image stretched for the eye: its 99.5th percentile becomes white."""
    white = max(np.percentile(image, 99.5), 32)  # the floor keeps the noise of an empty image dark
    return np.clip(image * (255 / white), 0, 255).astype(np.uint8)


def overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw the outlines of predicted nuclei, (H, W) int, into a brightened copy of an (H, W, 3) uint8 image.

    Returns (H * scale, W * scale, 3) uint8, enlarged by whole numbers until the median nucleus is 32 pixels
    wide and the longer side about 600, but never beyond 1,600 pixels. Outlines lie inside of the nuclei. In
    bright images a white line around them sets them off from the stain.
    """
    height, width = labels.shape
    side = max(height, width)
    wanted = max(math.ceil(32 / (median_diameter(labels) or 32)), round(600 / side))
    scale = max(1, min(wanted, 1600 // side))
    bright = brightened(image)
    size = (width * scale, height * scale)
    canvas = np.array(Image.fromarray(bright).resize(size, Image.Resampling.BICUBIC))
    enlarged = labels.repeat(scale, axis=0).repeat(scale, axis=1)
    line = find_boundaries(enlarged, mode="inner")
    if scale > 1:
        line |= binary_dilation(line) & (enlarged > 0)
    if np.median(bright) > 127:
        canvas[binary_dilation(line) & ~line] = 255
    canvas[line] = ImageColor.getrgb(PREDICTION)
    return canvas


def draw_outlines(
    axis: "Axes", truth: np.ndarray | None = None, predicted: np.ndarray | None = None, below: str = DARK
) -> None:
    """Draw outlines over an image: of `truth`, of what is `predicted`, white where they lie within a pixel.

    Both are (H, W) labels or bool, 0 = background. A line of colour `below` lies below.
    """
    from matplotlib.collections import LineCollection

    true, found = _segments(truth), _segments(predicted)
    missed, agreed = ~_near(true, found), _near(found, true)
    shown = {TRUTH: true[missed], PREDICTION: found[~agreed], BOTH: found[agreed]}
    for common, width in ((below, 2.2), (None, 1.1)):
        for colour, segments in shown.items():
            style: dict[str, Any] = {"color": common or colour, "linewidth": width, "capstyle": "round"}
            axis.add_collection(LineCollection(list(segments), **style))


def contours(labels: np.ndarray) -> list[np.ndarray]:
    """Return the smoothed outlines of nuclei, each (P, 2) float, x and y in pixels; labels may be bool."""
    lines = []
    for region in regionprops(np.asarray(labels, np.int32)):
        mask = np.pad(region.image, 3).astype(float)
        smooth = gaussian_filter(mask, 0.8)  # so that no stairs are seen
        found = find_contours(smooth if smooth.max() > 0.6 else mask, 0.5)
        lines += [(line + np.subtract(region.bbox[:2], 3))[:, ::-1] for line in found]
    return lines


def _segments(labels: np.ndarray | None) -> np.ndarray:
    """Return outlines cut into segments between two points: (S, 2, 2) float."""
    lines = [] if labels is None else contours(labels)
    return np.concatenate([np.zeros((0, 2, 2)), *(np.stack([a[:-1], a[1:]], axis=1) for a in lines)])


def _near(segments: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which segments have their middle within a pixel of another's: (S,) bool."""
    return KDTree(others.mean(axis=1)).query(segments.mean(axis=1))[0] <= 1


def busiest_square(labels_list: Sequence[np.ndarray], largest: int) -> tuple[slice, slice]:
    """Return the square of at most `largest` pixels with the longest outlines, of all labels, (H, W) each."""
    height, width = labels_list[0].shape
    side = min(height, width, largest)
    lengths = uniform_filter(sum(find_boundaries(each) * 1.0 for each in labels_list), side, mode="constant")
    half = side // 2
    inside = lengths[half:, half:][: height - side + 1, : width - side + 1]  # by corner, where it fits
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return np.s_[top : top + side, left : left + side]


def close_up(labels_list: Sequence[np.ndarray], largest: int) -> tuple[slice, slice]:
    """Return the busiest square in which `ACROSS` median nuclei of the first labels lie side by side."""
    diameter = median_diameter(labels_list[0]) or 32
    return busiest_square(labels_list, min(largest, max(64, round(ACROSS * diameter))))


def most_crowded(samples: list[Sample], size: int | None = None) -> dict[str, Sample]:
    """Return of each image type the sample with most nuclei, or its busiest square of `size` pixels."""
    crowded: dict[str, Sample] = {}
    for s in sorted(samples, key=lambda s: -len(np.unique(s.labels))):
        crowded.setdefault(s.type, s)
    if size:
        for kind, s in crowded.items():
            window = busiest_square([s.labels], size)
            crowded[kind] = replace(s, image=s.image[window], labels=s.labels[window])
    return {kind: crowded[kind] for kind in IMAGE_TYPES if kind in crowded}
