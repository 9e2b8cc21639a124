"""Which images belong together: neighbouring tiles of one field of view, or parts of one image or patient."""

from collections import defaultdict
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from nuclei.data.samples import Sample

# The embedded sample is cropped from the first of these images; the others are tiles of the same field of
# view. They are validation images in every split, so that no model is shown on its own training images.
HELD_OUT = frozenset(
    {
        "4dbbb275960ab9e4ec2c66c8d3000f7c70c8dce5112df591b95db84e25efa6e9",
        "07fb37aafa6626608af90c1e18f6a743f29b6b233d2e427dcd1102df6a916cf5",
        "0ea221716cf13710214dcd331a61cea48308c3940df1d28cfc7fd817c83714e1",
        "7f2b154541166210f468d89bb0a7184f10e51168a181dbb8b686c14654ffa317",
    }
)

STEP = 2.7  # largest step across a seam, relative to steps inside the tiles (squared differences)
MARGIN = 2  # least distance of the second best edge and of unrelated ones, relative to the best (squared)
WINDOW = 5  # pixels; edges are smoothed along their length against noise


class Join(NamedTuple):
    """Sample `second` continues sample `first` on a side of it."""

    first: int
    second: int
    side: str  # "right" or "below"


def held_out(sample: Sample) -> str:
    """Return the image of `HELD_OUT` that a sample is, or is cut from; "" if it is none."""
    name = sample.name.split("-")[0]
    return name if name in HELD_OUT else ""


def joins(samples: list[Sample]) -> list[Join]:
    """Find the pairs of images, of one size and data set, that are neighbouring tiles of one field of view.

    The last column (row) of one must continue in the first column (row) of the other: both prefer each other
    to all other images, by a clear margin; the step across the seam is about as small as steps inside the
    tiles; and the edges are closer than unrelated ones with as much structure would be. Square roots of grey
    levels even out photon noise (Anscombe, Biometrika 35, 1948). The constants were chosen by inspecting the
    joins near them in the 664 images of the 2018 Data Science Bowl.
    """
    alike = defaultdict(list)
    for index, sample in enumerate(samples):
        if min(sample.labels.shape) >= 2:  # see `inside` below
            alike[sample.source, sample.image.shape].append(index)
    return [join for members in alike.values() for join in _joins_of_equal_size(samples, members)]


def _joins_of_equal_size(samples: list[Sample], members: list[int]) -> list[Join]:
    joined = []
    images = [samples[index].image for index in members]
    for side, axis in (("right", 1), ("below", 0)):
        before, last, first, after = (
            np.stack([_smoothed(image.take(k, axis)) for image in images]) for k in (-2, -1, 0, 1)
        )
        seam = cdist(last, first, "sqeuclidean") / last.shape[1]
        itself = seam.diagonal().copy()  # no partner but a rival: shared shading continues in itself
        np.fill_diagonal(seam, np.inf)
        steps = (np.mean((a - b) ** 2, axis=1) for a, b in ((last, before), (after, first)))
        inside = np.add.outer(*steps) / 2
        unrelated = np.add.outer(last.var(axis=1), first.var(axis=1))
        for i, j in enumerate(seam.argmin(axis=1)):
            rivals = np.concatenate([np.delete(seam[i], j), np.delete(seam[:, j], i), itself[[i, j]]])
            nearest_rival = min(unrelated[i, j], rivals.min())
            if seam[i, j] < STEP * inside[i, j] and MARGIN * seam[i, j] < nearest_rival:
                joined.append(Join(members[i], members[j], side))
    return joined


def _smoothed(edge: np.ndarray) -> np.ndarray:
    """Return an edge, (L, 3) uint8, as running means of its square roots: (3 (L - WINDOW + 1),) float64."""
    roots = np.sqrt(edge.astype(float))
    windows = np.lib.stride_tricks.sliding_window_view(roots, min(WINDOW, len(roots)), axis=0)
    return windows.mean(axis=-1).ravel()


def field_numbers(samples: list[Sample]) -> np.ndarray:
    """Return for each sample the number of its field of view: (N,) int, equal where samples belong together.

    Of one field are tiles that join (see `joins`), samples with the same `Sample.group` in one data set,
    images with the same pixels (as in two data sets), and tiles of one image of `HELD_OUT`.
    """
    pairs = [(join.first, join.second) for join in joins(samples)]
    first: dict[Hashable, int] = {}
    for k, s in enumerate(samples):
        keys = ((s.source, s.group) if s.group else None, held_out(s), s.digest)
        pairs += [(k, first.setdefault(key, k)) for key in keys if key]
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(samples),) * 2)
    return connected_components(graph, directed=False)[1]


def mosaic(samples: list[Sample], members: list[int], joined: list[Join]) -> np.ndarray:
    """Put the tiles of one field, the samples with these indices, back together by what `joins` returned.

    Returns (H, W, 4) uint8, transparent where no tile lies.
    """
    height, width = samples[members[0]].image.shape[:2]
    places = {members[0]: (0, 0)}
    for _ in members:
        for join in joined:
            step = (0, width) if join.side == "right" else (height, 0)
            if join.first in places:
                places.setdefault(join.second, tuple(np.add(places[join.first], step)))
            elif join.second in places:
                places.setdefault(join.first, tuple(np.subtract(places[join.second], step)))
    corner = np.min(list(places.values()), axis=0)
    size = np.max(list(places.values()), axis=0) - corner + (height, width)
    canvas = np.zeros((*size, 4), np.uint8)
    for index, place in places.items():
        top, left = place - corner
        window = np.s_[top : top + height, left : left + width]
        canvas[window] = np.dstack([samples[index].image, np.full((height, width), 255, np.uint8)])
    return canvas
