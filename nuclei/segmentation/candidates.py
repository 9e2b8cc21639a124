"""Candidates for nuclei from the component trees of the maps, and which of them are kept.

No threshold suits all nuclei of an image. So candidates are the nodes of the component tree (max-tree) of the
foreground: the connected components at each of several levels. Marker-controlled watersheds at several levels
of the second map cut them up further. `nuclei.training.iou_network` predicts from measurements of a candidate
its IoU with a true nucleus, and greedy non-maximum suppression keeps the best that do not overlap, each with
the median outline of those nested with it.

References: component tree: Salembier et al., "Antiextensive Connected Operators for Image and Sequence
Processing", IEEE TIP 1998. Marker-controlled watershed: Meyer and Beucher, "Morphological Segmentation",
JVCIR 1990. Ranked candidates of such a tree: Arteta et al., "Learning to Detect Cells Using Non-overlapping
Extremal Regions", MICCAI 2012. Predicted IoUs: Huang et al., "Mask Scoring R-CNN", CVPR 2019.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi
from skimage.color import rgb2gray
from skimage.measure import label
from skimage.segmentation import watershed
from skimage.util import img_as_float32

from nuclei.data.labels import SPECK
from nuclei.segmentation.watershed import keep_labels

FOREGROUND_LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MARKER_LEVELS = (0.5, 0.7, 0.9)
SMOOTHING = 1.0  # pixels, of a Gaussian over the second map: a ripple in it would cut a nucleus in two

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
"""Measurements of a candidate, the input of the IoU network.

Of the foreground, the smoothed second map (``inner``) and the grey values (0-1): mean and standard deviation
inside the candidate, and the means along its edge (``edge``) and one step outside (``outside``), not counting
edges on the image's border; 0 where all of the edge lies there. ``log_area``, in pixels; ``log_roundness``,
of the squared length of the edge divided by the area; ``log_ellipse``, of the area divided by that of the
ellipse with the same second moments; ``axis_ratio``, minor by major axis of that ellipse; ``border``, the
fraction of the edge on the image's border; and the levels that the candidate comes from, 0 as marker level
where it is not cut. None reaches further than one pixel outside, so that an image and its tiles agree.
"""


class Candidates(NamedTuple):
    """N candidates of nuclei, which may overlap."""

    shape: tuple[int, int]  # (H, W) of the image
    pixels: np.ndarray  # (P,) int32, positions in the flattened image
    starts: np.ndarray  # (N,) int64; a candidate's pixels are pixels[start:stop]
    stops: np.ndarray  # (N,) int64
    features: np.ndarray  # (N, len(FEATURES)) float32


def propose(maps: np.ndarray, image: np.ndarray) -> Candidates:
    """Propose candidates: the component tree of the foreground, cut by watersheds at every marker level.

    `maps`, (H, W, 2) in 0-1, are the foreground and the second map of `interior_target`, `image`, (H, W, 3)
    uint8, has the grey values that the network saw. Candidates have at least 10 pixels each; the same outline
    may come from several levels.
    """
    maps = np.asarray(maps, dtype=np.float32)
    # (h, w) = (H + 2, W + 2) from here on: with a margin of one pixel, every pixel has four neighbours
    smooth = ndi.gaussian_filter(maps[..., 1], SMOOTHING)
    planes = [np.pad(plane, 1) for plane in (maps[..., 0], smooth, rgb2gray(img_as_float32(image)))]
    foreground, inner, _ = planes
    heights = sum((foreground > level).astype(np.int8) for level in FOREGROUND_LEVELS)
    margin = np.pad(np.zeros(maps.shape[:2], bool), 1, constant_values=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cuts = _regions(heights > 0, inner)
        found = list(pool.map(lambda cut: _measured(cut[0], cut[1], heights, planes, margin), cuts))
    pixels, starts, stops, features = zip(*found, strict=True)
    shifts = np.cumsum([0, *map(len, pixels[:-1])])
    moved = ([a + shift for a, shift in zip(each, shifts, strict=True)] for each in (starts, stops))
    return Candidates(maps.shape[:2], *map(np.concatenate, (pixels, *moved, features)))


def _measured(marker_level, regions, heights, planes, margin):
    """Return the fields of Candidates after `shape`; see `_parts` and `_describe` for the arguments."""
    parts = _parts(regions, heights)
    levels = np.array(FOREGROUND_LEVELS)[np.count_nonzero(parts.paths[1:], axis=1) - 1]
    measured = _describe(parts, regions, heights, planes, margin)
    features = np.column_stack([measured, levels, np.full(levels.size, marker_level)]).astype(np.float32)
    # in the order of their paths every part is followed by the parts in it, and so are their pixels
    rank = np.argsort(np.lexsort(parts.paths.T[::-1]))
    place = rank[parts.smallest[parts.inside]]
    rows, columns = np.divmod(parts.inside[np.argsort(place, kind="stable")], margin.shape[1])
    pixels = ((rows - 1) * (margin.shape[1] - 2) + columns - 1).astype(np.int32)
    ends = np.cumsum(np.bincount(place, minlength=rank.size))
    starts = ends[rank[1:] - 1]
    large = parts.areas >= SPECK
    return pixels, starts[large], (starts + parts.areas)[large], features[large]


def _regions(mask, inner):
    """Yield each marker level with its new regions, (h, w) integers, 0 = none.

    First come the connected components of the mask, at level 0; then, for each marker level, those that hold
    several markers, cut by a watershed of the second map `inner`, without what the level before had too.
    """
    components, count = ndi.label(mask)
    yield 0.0, components
    regions = markers = components
    owner = np.arange(count + 1)  # the component of each marker
    for level in MARKER_LEVELS:
        regions_before, markers_before, owner_before = regions, markers, owner
        seeds = mask & (inner > level)
        markers, marker_count = ndi.label(seeds)
        owner, parent = np.zeros((2, marker_count + 1), np.int64)
        owner[markers], parent[markers] = components, markers_before
        children = np.bincount(parent[1:], minlength=owner_before.size)
        changed = np.zeros(count + 1, bool)
        changed[owner_before[1:][children[1:] != 1]] = True
        several = np.bincount(owner[1:], minlength=count + 1) > 1
        crowded = (changed & several)[components]
        core = ndi.binary_erosion(seeds) & crowded  # all neighbours are of the same marker: nothing to flood
        regions = watershed(-inner, np.where(core, 0, markers), mask=crowded & ~core)
        regions[core] = markers[core]
        regions[crowded] += regions_before.max()  # numbers stay unique
        new = _unlike(regions, regions_before)
        if new.any():
            yield level, new
        regions = np.where(changed[components], regions, regions_before)


def _unlike(regions, before):
    """Set to 0 the regions that are equal to one of `before`; both (h, w) integers, 0 = none."""
    inside = regions > 0
    own, earlier = regions[inside], before[inside]
    areas, areas_before = np.bincount(own), np.bincount(before.ravel())
    twin = np.zeros(areas.size, np.int64)  # one of the regions before that it overlaps
    twin[own] = earlier
    shared = np.bincount(own, earlier == twin[own], minlength=areas.size)
    equal = (twin > 0) & (shared == areas) & (areas_before[twin] == areas)
    return np.where(equal[regions], 0, regions) if areas.size else regions


class _Parts(NamedTuple):
    """The component tree of the foreground in an image's regions: its nodes are parts 1..N."""

    inside: np.ndarray  # (P,) positions in the flattened image where there are regions
    smallest: np.ndarray  # (h * w,) the smallest part that holds a pixel, 0 for none
    paths: np.ndarray  # (N + 1, levels), of each part its ancestors and itself by level, then 0; row 0 is 0
    areas: np.ndarray  # (N,) in pixels

    def sums(self, where, values=None):
        """Return the sum over each part of values at positions in it, (N,); by default the positions count.

        Every pixel is visited once, not once a level: a sum over the ring of a part, its pixels that are in
        no smaller part, is added to the part and to all its ancestors.
        """
        count = len(self.paths)
        rings = np.bincount(self.smallest[where], values, minlength=count)
        return np.bincount(self.paths.ravel(), rings.repeat(self.paths.shape[1]), minlength=count)[1:]


def _parts(regions, heights):
    """Return the _Parts of regions, (h, w) integers with 0 for none.

    `heights`, (h, w) integers, is how many of the levels a pixel is above: at least one in regions.
    """
    smallest, paths = np.zeros(regions.size, np.int32), np.zeros((1, len(FOREGROUND_LEVELS)), np.int32)
    inside = upper = np.flatnonzero(regions)
    areas = []
    for k in range(len(FOREGROUND_LEVELS)):
        upper = upper[heights.ravel()[upper] > k]
        part = np.zeros_like(regions)
        part.ravel()[upper] = regions.ravel()[upper]
        numbers = label(part, connectivity=1).ravel()[upper]
        areas.append(np.bincount(numbers, minlength=1)[1:])  # minlength: there may be none
        holders = np.zeros(areas[k].size, np.int64)
        holders[numbers - 1] = smallest[upper]
        smallest[upper] = numbers + len(paths) - 1
        own = paths[holders]
        own[:, k] = np.arange(len(paths), len(paths) + len(own))
        paths = np.concatenate([paths, own])
    return _Parts(inside, smallest, paths, np.concatenate(areas))


def _describe(parts, regions, heights, planes, margin):
    """Return all FEATURES but the levels of parts 1..N: (N, F) float64.

    `planes` and `margin` are (h, w) arrays, the latter True in the margin; see `_parts` for the others.
    """
    inside, areas, sums = parts.inside, parts.areas, parts.sums
    heights, regions, margin, width = heights.ravel(), regions.ravel(), margin.ravel(), margin.shape[1]
    # p is at the edge of all parts that hold it but not its neighbour q. So it is added to the ring of p; and
    # in one region, where q's smallest part holds p too, it is subtracted again from the ring of q
    p, q, borders = [], [], np.zeros(len(areas))
    for step in (-width, -1, 1, width):
        beyond = margin[inside + step]
        borders += sums(inside[beyond])
        lower = np.where(regions[inside + step] == regions[inside], heights[inside + step], 0)
        edge = inside[(lower < heights[inside]) & ~beyond]
        p.append(edge)
        q.append(edge + step)
    p, q = np.concatenate(p), np.concatenate(q)
    both = regions[p] == regions[q]

    def edge_sums(values):
        return sums(p, values) - sums(q[both], values[both])

    lengths = edge_sums(np.ones(p.size))
    features = []
    for plane in planes:
        plane = plane.ravel().astype(np.float64)
        values = plane[inside]
        mean = sums(inside, values) / areas
        std = np.sqrt(np.maximum(sums(inside, values**2) / areas - mean**2, 0))
        features += [mean, std, *(edge_sums(plane[where]) / np.maximum(lengths, 1) for where in (p, q))]
    major, minor = _variances(parts, width)
    ellipse = 4 * np.pi * np.sqrt(major * minor)
    around = lengths + borders
    shape = [np.log(areas), np.log(around**2 / areas), np.log(areas / ellipse), np.sqrt(minor / major)]
    return np.column_stack([*features, *shape, borders / around])


def _variances(parts, width):
    """Return the variances of pixel positions along the major and the minor axis of each part, (N,) each."""
    y, x = (each.astype(np.float64) for each in np.divmod(parts.inside, width))
    moments = (parts.sums(parts.inside, each) / parts.areas for each in (y, x, y**2, x**2, y * x))
    y_mean, x_mean, yy, xx, yx = moments
    # pixels are squares, and a square of side 1 has the variance 1/12
    yy, xx, yx = yy - y_mean**2 + 1 / 12, xx - x_mean**2 + 1 / 12, yx - y_mean * x_mean
    root = np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    return (yy + xx) / 2 + root, np.maximum((yy + xx) / 2 - root, 1 / 12)


def suppress_overlaps(found: Candidates, ious: np.ndarray, min_iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Keep the candidates with the highest expected IoUs, above `min_iou`, that share no pixel.

    Greedy non-maximum suppression (Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006). A
    candidate that is kept gets the median outline of those nested with it, unless that has pixels of a better
    one: no pixel is in two nuclei. Returns (H, W) int32 labels, 0 = background, from 1 row by row of the
    uppermost pixels of nuclei, and the IoUs, (M,) floats 0-1, that are expected of the candidates kept.
    """
    free, kept, outlines = np.ones(found.shape[0] * found.shape[1], bool), [], []
    by_start = np.argsort(found.starts, kind="stable")
    for k in np.argsort(-ious, kind="stable")[: np.count_nonzero(ious > min_iou)]:
        own = found.pixels[found.starts[k] : found.stops[k]]
        if free[own].all():
            m = _median(found, ious, k, by_start)
            median = found.pixels[found.starts[m] : found.stops[m]]
            outline = median if free[median].all() else own
            free[outline] = False
            kept.append(k)
            outlines.append(outline)
    order = np.argsort([outline.min() for outline in outlines])
    labels = np.zeros(free.size, np.int32)
    for number, k in enumerate(order, start=1):
        labels[outlines[k]] = number
    return labels.reshape(found.shape), ious[np.array(kept, dtype=np.int64)[order]]


def _median(found, ious, k, by_start):
    """Return the number of the median, by area, of candidate `k` and those nested with it.

    Neighbouring levels have nearly the same expected IoU, so that the best of them is often best by chance.
    Nested are candidates that lie inside it or around it, with half to twice its area; each weighs the eighth
    power of its IoU, which was chosen on validation images. `by_start` sorts all candidates by `starts`.
    """
    start, stop = found.starts[k], found.stops[k]
    area = stop - start
    near = by_start[slice(*np.searchsorted(found.starts, (start - area, stop), sorter=by_start))]
    starts, stops = found.starts[near], found.stops[near]
    areas = stops - starts
    holds = (starts <= start) & (stops >= stop) & (areas <= 2 * area)
    is_held = (starts >= start) & (stops <= stop) & (2 * areas >= area)
    nested = near[holds | is_held]
    nested = nested[np.argsort(found.starts[nested] - found.stops[nested], kind="stable")]  # largest first
    weights = np.cumsum(ious[nested].astype(np.float64) ** 8)
    return nested[np.searchsorted(weights, weights[-1] / 2)]


def filter_by_iou(kept: tuple[np.ndarray, np.ndarray], min_iou: float) -> np.ndarray:
    """Return the labels of `suppress_overlaps` for a higher `min_iou`, from what it `kept` by a lower one."""
    labels, ious = kept
    return keep_labels(labels, ious > min_iou)
