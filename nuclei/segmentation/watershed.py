"""Labels to training target, network output to labels.

A target has one or two channels: the foreground, and a map of each nucleus's inner part, which is low
between nuclei that touch. The way back finds a marker a nucleus where the second map is high, and floods the
foreground from the markers; `nuclei.candidates` goes it with many thresholds, and chooses.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage as ndi
from skimage.color import rgb2gray
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from nuclei import metrics

GRID = {
    "foreground_threshold": [0.4, 0.5, 0.6],
    "marker_threshold": [0.5, 0.6, 0.7, 0.8],
    "min_confidence": [0.0, 0.8, 0.9],  # mean foreground in a nucleus, of that in the surest ones
    "min_area": [0, 0.1, 0.2],  # of the median nucleus
}
"""Arguments of `labels_from_maps`, each with the values among which validation images choose: see `tune`."""


def foreground_target(labels):
    """(H, W) integer labels, 0 = background -> (H, W, 1) float32, 1 in nuclei, 0 in background."""
    labels = metrics.check_labels(labels)
    return (labels > 0).astype(np.float32)[..., np.newaxis]


def distance_target(labels):
    """Foreground, and distance to each nucleus's own edge.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background, every other number one nucleus; gaps in the numbers do no harm.

    Returns
    -------
    (H, W, 2) float32, in 0..1
        Channel 0 is 1 in nuclei, 0 in background. Channel 1 is the Euclidean distance from a pixel to the
        nearest one that is not of its nucleus, divided by the largest in that nucleus; 0 in background.

    Raises
    ------
    TypeError, ValueError
        See `nuclei.metrics.check_labels`.

    Notes
    -----
    The border of the array is no edge: what lies outside is unknown. A nucleus cut by it keeps rising towards
    the border, and its visible part has a maximum of 1 there. One that fills the array is 1 everywhere.

    Examples
    --------
    >>> distance_target(np.array([[0, 1, 1, 1, 2, 2, 2, 0]]))[0, :, 1].tolist()
    [0.0, 0.5, 1.0, 0.5, 0.5, 1.0, 0.5, 0.0]
    """
    distance, largest = _distance_to_edge(labels)
    return np.stack([labels > 0, distance / largest], axis=-1, dtype=np.float32)


def _distance_to_edge(labels):
    """Return the distance to the nucleus's own edge, in pixels, and its largest value in the nucleus.

    Both are (H, W) float64; in background they are 0 and 1.
    """
    labels = metrics.check_labels(labels)
    distance, largest = np.zeros(labels.shape), np.ones(labels.shape)
    height, width = labels.shape
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        # One pixel wider than the nucleus: the nearest foreign pixel always touches it.
        rows, columns = box
        box = (
            slice(max(rows.start - 1, 0), min(rows.stop + 1, height)),
            slice(max(columns.start - 1, 0), min(columns.stop + 1, width)),
        )
        own = labels[box] == number
        away = ndi.distance_transform_edt(own) if not own.all() else np.ones(own.shape)
        distance[box][own], largest[box][own] = away[own], away.max()
    return distance, largest


def interior_target(labels):
    """Foreground, and the inner part of each nucleus: (H, W) integer labels -> (H, W, 2) float32, 0 or 1.

    Channel 1 is 1 where the distance to the nucleus's own edge, see `distance_target`, is above 2 pixels, or
    at least 0.7 of the nucleus's largest, so that small ones have an inside too.
    """
    distance, largest = _distance_to_edge(labels)
    interior = (distance > 2) | (distance >= 0.7 * largest)
    return np.stack([labels > 0, interior], axis=-1, dtype=np.float32)


TARGETS = {"foreground": foreground_target, "distance": distance_target, "interior": interior_target}

SIZING = {
    "foreground_threshold": 0.5,
    "marker_threshold": 0.5,
    "min_area": 0.1,
    "min_confidence": 0.0,
    "smoothing": 1.0,
}
"""Arguments of `labels_from_maps` to tell how large nuclei are, whatever thresholds are tuned to later."""


def labels_from_maps(
    maps,
    foreground_threshold,
    marker_threshold,
    min_area=0,
    *,
    min_confidence=0.0,
    surest=None,
    smoothing=0.0,
    keep_unmarked=True,
):
    """Separate nuclei by a watershed from one marker each.

    Parameters
    ----------
    maps : (H, W, 2) or (H, W, 1) array, in 0..1
        What a network makes of an image: the foreground, and the second map of `interior_target` or
        `distance_target`. Where there is only the foreground, a distance is computed from it: the Euclidean
        one to the background, divided by the largest in each connected component.
    foreground_threshold : float
        Foreground strictly above it belongs to a nucleus.
    marker_threshold : float
        The connected components of the foreground in which the second map is strictly above it are markers.
    min_area : int or float
        Pixels, or below 1 a share of the median nucleus's area, which suits any magnification: see
        `nuclei.metrics.smallest_area`. Smaller nuclei are dropped when all are drawn.
    min_confidence : float
        Nuclei whose `confidence` is lower than this share of `surest` are dropped before that.
    surest : float, optional
        The confidence of nuclei beyond doubt, where the maps are a part of an image; by default
        `surest_confidence` of what is found in them.
    smoothing : float
        Standard deviation, in pixels, of a Gaussian over the second map before anything else; 0 for none.
    keep_unmarked : bool
        Whether a connected component of the foreground without any marker is one nucleus (small ones often
        stay under the marker's threshold) or none.

    Returns
    -------
    (H, W) int32
        0 is background; nuclei have consecutive numbers from 1.

    Raises
    ------
    ValueError
        If `maps` has another shape.
    """
    maps = np.asarray(maps, dtype=np.float32)
    if maps.ndim != 3 or maps.shape[-1] not in (1, 2):
        raise ValueError(f"maps have shape {maps.shape}, expected (H, W, 1) or (H, W, 2)")
    foreground = maps[..., 0] > foreground_threshold
    components, count = ndi.label(foreground)
    inner = maps[..., 1] if maps.shape[-1] == 2 else _component_distance(components, count)
    if smoothing:
        inner = ndi.gaussian_filter(inner, smoothing)

    markers, marked_count = ndi.label(foreground & (inner > marker_threshold))
    if keep_unmarked:
        unmarked = np.bincount(components[markers > 0], minlength=count + 1) == 0
        unmarked[0] = False
        rest = unmarked[components]
        markers[rest] = (marked_count + np.cumsum(unmarked))[components[rest]]
    labels = watershed(-inner, markers, mask=foreground)
    if min_confidence:
        sure = confidence(labels, maps[..., 0])
        limit = min_confidence * (surest_confidence(sure) if surest is None else surest)
        labels = _kept(labels, np.append(False, sure >= limit))
    areas = np.bincount(labels.ravel())
    return _kept(labels, areas >= max(metrics.smallest_area(areas[1:], min_area), 1))


def _component_distance(components, count):
    """Euclidean distance to the background, divided by the largest of each connected component."""
    if components.all():  # no background to be distant from
        return np.ones(components.shape)
    distance = ndi.distance_transform_edt(components)
    largest = ndi.maximum(distance, components, np.arange(count + 1))
    return distance / np.maximum(largest, 1)[components]


def _kept(labels, kept):
    """Leave only the labels that are `kept`, (N + 1,) bool, and close the gaps between numbers."""
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]


def confidence(labels, foreground):
    """Mean of the foreground in each nucleus: (H, W) labels 0..N, (H, W) in 0..1 -> (N,) float64 in 0..1."""
    areas = np.bincount(labels.ravel())[1:]
    return np.bincount(labels.ravel(), foreground.ravel())[1:] / np.maximum(areas, 1)


def surest_confidence(confidences):
    """(N,) of `confidence` -> the one that a tenth of the nuclei exceed, but at least 0.75.

    It tells how sure a network is of nuclei beyond doubt: less so in images of a kind that it hardly knows,
    where a limit that is the same for all images would drop most of them. Under 0.75 there may be none at
    all, only what looks a little like them.
    """
    return max(float(np.percentile(confidences, 90)), 0.75) if confidences.size else 0.75


def median_diameter(labels):
    """(H, W) integer labels, 0 = background -> diameter in pixels of the circle of the median nucleus's area.

    Specks of fewer than 10 pixels are left out. 0 without nuclei.
    """
    return circle_diameter(np.bincount(labels.ravel())[1:])


def circle_diameter(areas):
    """(N,) areas in pixels -> diameter of the circle of the median one; 0 where there are but specks."""
    areas = areas[areas >= metrics.SPECK]
    return float(np.sqrt(4 / np.pi * np.median(areas))) if areas.size else 0.0


def classical_labels(image, sigma, marker_threshold, min_area=0):
    """Label nuclei without learning: Otsu's threshold and a watershed on the distance transform.

    Parameters
    ----------
    image : (H, W, 3) uint8
    sigma : float
        Standard deviation, in pixels, of a Gaussian blur before the threshold.
    marker_threshold, min_area
        As in `labels_from_maps`, which does the rest with Otsu's foreground as a one-channel map.

    Returns
    -------
    (H, W) int32
        0 is background.

    Notes
    -----
    Nuclei are bright on dark in fluorescence and dark on bright in stained tissue. The side of the threshold
    that holds more of the image's outermost pixels is taken for background.
    """
    grey = gaussian(rgb2gray(image), sigma)
    bright = grey > threshold_otsu(grey)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    foreground = ~bright if border.mean() > 0.5 else bright
    return labels_from_maps(foreground[..., np.newaxis], 0.5, marker_threshold, min_area)


def tune(inputs, labels_list, grid, segment=labels_from_maps):
    """Search a grid of parameters for the best mean competition score.

    Parameters
    ----------
    inputs : iterable of arrays
        What `segment` takes, one an image: maps, or images for `classical_labels`. May be a generator; they
        are looked at one after the other.
    labels_list : iterable of (H, W) integer arrays
        The truth, 0 is background.
    grid : dict of str to list
        Parameters of `segment`, each with the values to try.
    segment : function
        `segment(input, **parameters)` returns labels. If `min_area` is one of the parameters, nuclei under it
        are dropped as its last step.

    Returns
    -------
    best : dict
        The parameters with the highest mean score; the first in the grid's order among equals.
    scores : pandas.DataFrame
        One row for each combination (a MultiIndex with the parameters' names), one column an image.

    Raises
    ------
    ValueError
        If there are no images, or a parameter has no values.

    Notes
    -----
    Images are segmented and matched once for all values of `min_area`, which only decides which nuclei count.
    """
    min_areas = grid.get("min_area", [0])
    names = [name for name in grid if name != "min_area"]
    combinations = list(itertools.product(*(grid[name] for name in names)))
    all_sizes = {"min_area": 0} if "min_area" in grid else {}
    columns = []
    for one, labels in zip(inputs, labels_list, strict=True):
        column = []
        for values in combinations:
            found = metrics.match(labels, segment(one, **dict(zip(names, values, strict=True)), **all_sizes))
            column += [metrics.image_score(metrics.drop_small(found, area)) for area in min_areas]
        columns.append(column)
    if not columns or not columns[0]:
        raise ValueError(f"{len(columns)} images and the grid {grid}, expected one or more of each")
    rows = [(*values, area)[: len(grid)] for values in combinations for area in min_areas]
    index = pd.MultiIndex.from_tuples(rows, names=[*names, *all_sizes])
    scores = pd.DataFrame(np.transpose(columns), index=index)
    return _parameters(scores, _best_row(scores)), scores


def _best_row(scores):
    return int(scores.to_numpy().mean(axis=1).argmax())


def _parameters(scores, row):
    """A row's parameters as plain Python values, ready for JSON."""
    values = scores.index[row]
    return {name: np.asarray(value).item() for name, value in zip(scores.index.names, values, strict=True)}


class CrossTuned(NamedTuple):
    """Scores under parameters that the image's own half did not choose.

    scores : (N,) float64, one an image
    half : (N,) int64, 0 or 1: which half of the fields the image is in
    best : the two dicts of parameters with which the images of half 0 and of half 1 were scored
    """

    scores: np.ndarray
    half: np.ndarray
    best: tuple


def cross_tune(scores, groups, seed=0):
    """Tune on one half of the fields, score the other; swap.

    Parameters
    ----------
    scores : pandas.DataFrame
        From `tune`: combinations by images.
    groups : (N,) array
        The field of view of each image; images of one field stay in one half.
    seed : int
        Which fields fall into which half.

    Returns
    -------
    CrossTuned
        `scores.mean()` is the score to report.

    Raises
    ------
    ValueError
        If `groups` does not have one entry an image, or names fewer than two fields.
    """
    fields, field = np.unique(groups, return_inverse=True)
    if field.shape != (scores.shape[1],) or fields.size < 2:
        raise ValueError(
            f"groups name {fields.size} fields for {field.size} images, expected two fields or more for "
            f"{scores.shape[1]} images; to tune on one half there must be another"
        )
    half = np.random.default_rng(seed).permutation(fields.size)[field] % 2
    rows = [_best_row(scores.loc[:, half != side]) for side in (0, 1)]
    held_out = scores.to_numpy()[np.take(rows, half), np.arange(half.size)]
    return CrossTuned(held_out, half, tuple(_parameters(scores, row) for row in rows))
