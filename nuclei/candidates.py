"""Nuclei chosen among candidates: many thresholds propose, an IoU network rates, the best that fit stay.

No threshold suits all nuclei of an image: a dim one shrinks where the next is drawn too large, and a marker
level that parts two nuclei cuts a third one in half. So each level of both maps proposes its own outlines,
and a small network, `nuclei.model.iou_network`, learns from measurements of a candidate how well it will
match a true nucleus.

Candidates were ranked so by Arteta et al., "Learning to Detect Cells Using Non-overlapping Extremal Regions",
MICCAI 2012; a network that predicts IoUs is in Huang et al., "Mask Scoring R-CNN", CVPR 2019.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi
from skimage.color import rgb2gray
from skimage.measure import label
from skimage.segmentation import watershed
from tqdm.auto import tqdm

from nuclei import metrics
from nuclei.pipeline import resize_image, resize_labels

FOREGROUND_LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MARKER_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
SMOOTHING = 1.0  # pixels; a ripple in the second map would cut a nucleus in two

PIECE = 256  # pixels, the side of what the IoU network learns from beside whole images
MAGNIFICATIONS = (1 / 3, 3)  # of such pieces, least and largest

PLANES = ("foreground", "inner", "grey")
FEATURES = (
    *(f"{plane}_{what}" for plane in PLANES for what in ("mean", "std", "edge", "outside")),
    "log_area",
    "log_roundness",
    "log_ellipse",
    "axis_ratio",
    "border",
    "foreground_level",
    "marker_level",
)
"""What the IoU network is told of a candidate.

Of the two maps and of the grey values, 0-1: mean and standard deviation inside, and the means along the edge
and one step outside of it. The logarithms of the area in pixels, of the squared length of the edge divided by
the area, and of the area divided by that of the ellipse with the same moments; that ellipse's minor axis
divided by its major one; the share of the edge that lies on the image's border. The levels that proposed the
candidate; 0 for the markers' where a connected component is whole. Nothing that lies further away counts, so
that an image and its tiles agree.
"""


class Candidates(NamedTuple):
    """N candidates of nuclei, which may overlap.

    shape : (H, W) of the image
    pixels : (P,) int32, positions in the flattened image, candidate after candidate
    starts : (N + 1,) int64, where in `pixels` each begins, and where the last ends
    features : (N, len(FEATURES)) float32
    """

    shape: tuple[int, int]
    pixels: np.ndarray
    starts: np.ndarray
    features: np.ndarray


def propose(maps, image):
    """Propose candidates: the connected parts of every level of the foreground, cut at every marker level.

    Parameters
    ----------
    maps : (H, W, 2) array, in 0..1
        The foreground, and the second map of `nuclei.instances.interior_target`.
    image : (H, W, 3) uint8
        With the grey values that the network saw.

    Returns
    -------
    Candidates
        None smaller than 10 pixels.

    Raises
    ------
    ValueError
        If `maps` has another shape, or `image` another size.
    """
    maps = np.asarray(maps, dtype=np.float32)
    if maps.ndim != 3 or maps.shape[-1] != 2 or image.shape[:2] != maps.shape[:2]:
        raise ValueError(
            f"maps have shape {maps.shape} and the image {image.shape}, expected (H, W, 2) and (H, W, 3)"
        )
    # with a margin of one pixel, every pixel has four neighbours
    smooth = ndi.gaussian_filter(maps[..., 1], SMOOTHING)
    planes = [np.pad(plane, 1) for plane in (maps[..., 0], smooth, rgb2gray(image).astype(np.float32))]
    foreground, inner, _ = planes
    margin = np.pad(np.zeros(maps.shape[:2], bool), 1, constant_values=True)
    pixels, areas, features = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)], []
    for marker_level, regions in _regions(foreground > min(FOREGROUND_LEVELS), inner):
        inside = np.flatnonzero(regions)
        for level in FOREGROUND_LEVELS:
            inside = inside[foreground.ravel()[inside] > level]  # levels rise, so the next one lies within
            part = np.zeros_like(regions)
            part.ravel()[inside] = regions.ravel()[inside]
            labels = label(part, connectivity=1).ravel()
            numbers = labels[inside]
            counts = np.bincount(numbers, minlength=1)  # minlength: there may be none
            large = counts >= metrics.SPECK
            large[0] = False
            order = np.argsort(numbers, kind="stable")
            rows, columns = np.divmod(inside[order[large[numbers[order]]]], margin.shape[1])
            pixels.append(((rows - 1) * maps.shape[1] + columns - 1).astype(np.int32))
            areas.append(counts[large])
            local = _describe(labels, inside, planes, margin)[large[1:]]
            features.append(np.column_stack([local, np.full((len(local), 2), (level, marker_level))]))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(areas))])
    return Candidates(
        maps.shape[:2], np.concatenate(pixels), starts, np.concatenate(features, dtype=np.float32)
    )


def _regions(mask, inner):
    """Yield a marker level and (H, W) integers: regions of the mask, 0 = none, that no level had before.

    First come the connected components whole, at level 0; then, for each marker level, those that hold
    several markers, cut up by a watershed. Regions that the level before has given already are left out.
    """
    components, count = ndi.label(mask)
    yield 0.0, components
    before = components
    for level in MARKER_LEVELS:
        markers, marker_count = ndi.label(mask & (inner > level))
        owner = np.zeros(marker_count + 1, np.int64)
        owner[markers] = components
        several = np.bincount(owner[1:], minlength=count + 1) > 1
        crowded = several[components]
        regions = watershed(-inner, np.where(crowded, markers, 0), mask=crowded)
        yield level, _unlike(regions, before)
        before = regions


def _unlike(regions, before):
    """Set to 0 the regions that are equal to one of `before`; both (H, W) integers, 0 = none."""
    inside = regions > 0
    own, earlier = regions[inside], before[inside]
    areas, areas_before = np.bincount(own), np.bincount(before.ravel())
    twin = np.zeros(areas.size, np.int64)  # one of the regions before that it overlaps
    twin[own] = earlier
    shared = np.bincount(own, earlier == twin[own], minlength=areas.size)
    equal = (twin > 0) & (shared == areas) & (areas_before[twin] == areas)
    return np.where(equal[regions], 0, regions) if areas.size else regions


def _describe(labels, inside, planes, margin):
    """Return all FEATURES but the levels of the regions 1..N: (N, F) float64.

    `labels` are flat, and `inside` says where they are above 0; `planes` and `margin` are (h, w) arrays, the
    latter True in the margin.
    """
    numbers = labels[inside]
    size = numbers.max(initial=0) + 1
    areas = np.bincount(numbers, minlength=size)[1:]

    def total(values, where=slice(None)):
        return np.bincount(numbers[where], values, minlength=size)[1:]

    # an edge is where two neighbouring pixels, above or beside each other, differ
    width = margin.shape[1]
    edges, borders = [], np.zeros(size - 1)
    for step in (-width, -1, 1, width):
        beyond = margin.ravel()[inside + step]
        borders += np.bincount(numbers[beyond], minlength=size)[1:]
        edges.append((step, np.flatnonzero((labels[inside + step] != numbers) & ~beyond)))
    lengths = sum(np.bincount(numbers[edge], minlength=size)[1:] for _, edge in edges)
    features = []
    for plane in planes:
        plane = plane.ravel()
        values = plane[inside].astype(np.float64)
        mean = total(values) / areas
        std = np.sqrt(np.maximum(total(values**2) / areas - mean**2, 0))
        at_edge = sum(total(values[edge], edge) for _, edge in edges)
        outside = sum(total(plane[inside[edge] + step], edge) for step, edge in edges)
        features += [mean, std, at_edge / np.maximum(lengths, 1), outside / np.maximum(lengths, 1)]
    # moments of pixels as squares: a square of side 1 has the variance 1/12
    y, x = (each.astype(np.float64) for each in np.divmod(inside, width))
    y_mean, x_mean = total(y) / areas, total(x) / areas
    yy = total(y**2) / areas - y_mean**2 + 1 / 12
    xx = total(x**2) / areas - x_mean**2 + 1 / 12
    yx = total(y * x) / areas - y_mean * x_mean
    root = np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    major, minor = (yy + xx) / 2 + root, np.maximum((yy + xx) / 2 - root, 1 / 12)
    ellipse = 4 * np.pi * np.sqrt(major * minor)
    around = lengths + borders
    shape = [np.log(areas), np.log(around**2 / areas), np.log(areas / ellipse), np.sqrt(minor / major)]
    return np.column_stack([*features, *shape, borders / around])


def true_ious(found, labels):
    """Return each candidate's IoU with the true nucleus that it overlaps most.

    Parameters
    ----------
    found : Candidates
    labels : (H, W) integer array
        The truth, 0 is background.

    Returns
    -------
    (N,) float64, in 0..1

    Raises
    ------
    TypeError, ValueError
        See `nuclei.metrics.check_labels`.
    """
    labels = metrics.check_labels(labels, "true labels", shape=found.shape).ravel()
    numbers = int(labels.max()) + 1  # a Python integer: the type of the labels may end at 255
    areas = np.diff(found.starts)
    candidate, truth = np.repeat(np.arange(areas.size), areas), labels[found.pixels]
    inside = truth > 0
    pairs, shared = np.unique(candidate[inside] * numbers + truth[inside], return_counts=True)
    candidate, truth = np.divmod(pairs, numbers)
    ious = np.zeros(areas.size)
    np.maximum.at(ious, candidate, shared / (areas[candidate] + np.bincount(labels)[truth] - shared))
    return ious


def lessons(segmenter, samples, change=None, seed=0):
    """Return what an IoU network learns from.

    Parameters
    ----------
    segmenter : nuclei.segmenter.Segmenter
        Of its methods, `maps` and `prepare` are used.
    samples : list of Sample
    change : function (image, labels, rng) -> (image, labels), optional
        One of `nuclei.pipeline.AUGMENTS`.
    seed : int

    Returns
    -------
    features : list of (N, len(FEATURES)) float32
        Two of each sample: of all of it, and of a random piece of it, magnified by 1/3 to 3 and changed, as
        other microscopes give other sizes, and other edges.
    ious : list of (N,) float64, 0-1
    """
    features, ious = [], []
    for k, s in enumerate(tqdm(samples, desc="candidates", unit="image")):
        rng = np.random.default_rng((seed, k))
        piece = _magnified(s.image, s.labels, rng)
        for image, labels in ((s.image, s.labels), change(*piece, rng) if change else piece):
            with warnings.catch_warnings():  # of sizes that the model does not know: they are meant here
                warnings.simplefilter("ignore")
                maps = segmenter.maps(image)
            found = propose(maps, segmenter.prepare(image))
            features.append(found.features)
            ious.append(true_ious(found, labels))
    return features, ious


def _magnified(image, labels, rng):
    """Cut a random square of both and magnify it to 256 pixels a side, or fewer in a small image."""
    factor = np.exp(rng.uniform(*np.log(MAGNIFICATIONS)))
    side = min(round(PIECE / factor), *labels.shape)
    top, left = (rng.integers(length - side + 1) for length in labels.shape)
    window, shape = np.s_[top : top + side, left : left + side], 2 * (max(round(side * factor), 1),)
    return resize_image(image[window], shape), resize_labels(labels[window], shape)


def choose(found, ious, min_iou):
    """Take the candidates with the highest IoU first, and leave out those that overlap one taken before.

    Parameters
    ----------
    found : Candidates
    ious : (N,) floats
        What is expected of each.
    min_iou : float
        Only those above it are taken.

    Returns
    -------
    labels : (H, W) int32
        0 is background; nuclei have consecutive numbers from 1, row by row of their uppermost pixels.
    ious : (M,) floats
        Of the nuclei.
    """
    free, taken = np.ones(found.shape[0] * found.shape[1], bool), []
    order = np.argsort(-ious, kind="stable")
    for k in order[: np.count_nonzero(ious > min_iou)]:
        own = found.pixels[found.starts[k] : found.starts[k + 1]]
        if free[own].all():
            free[own] = False
            taken.append(k)
    taken = np.array(sorted(taken, key=lambda k: found.pixels[found.starts[k]]), dtype=np.int64)
    labels = np.zeros(free.size, np.int32)
    for number, k in enumerate(taken, start=1):
        labels[found.pixels[found.starts[k] : found.starts[k + 1]]] = number
    return labels.reshape(found.shape), ious[taken]


def surer(chosen, min_iou):
    """Return the labels that `choose` would have given with a higher `min_iou`: (H, W) int32.

    `chosen` is what it has given, labels and IoUs.
    """
    labels, ious = chosen
    kept = np.append(False, ious > min_iou)
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]
