"""Scores for pixels and for nuclei: first count, then divide.

`match` counts the pixels that the nuclei of two label images share. All scores, of one image or of many, are
computed from these counts. Labels are integers, 0 is background, every other number is one nucleus; the
numbers need not be consecutive.

    >>> truth = np.array([[1, 1, 1, 0, 2, 2]])
    >>> predicted = np.array([[7, 7, 0, 0, 0, 9]])
    >>> found = match(truth, predicted)
    >>> found.ious.round(2).tolist()
    [0.67, 0.5]
    >>> [counts.tolist() for counts in counts_at(found, [0.5, 0.75])]
    [[1, 0], [1, 2], [1, 2]]

At 0.5 one nucleus is found: a match needs an IoU above the threshold, and one half is not above 0.5.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array

from nuclei.data.labels import check_labels, smallest_area

# quotients of whole numbers, as IoUs are, so that "above" is strict; np.arange(0.5, 1, 0.05) holds
# 0.6000000000000001
THRESHOLDS = np.arange(10, 20) / 20
# pixels; factors of two, from specks to large nuclei at high magnification
AREA_EDGES = (0, 32, 64, 128, 256, 512, 1024, 2048, np.inf)


class Match(NamedTuple):
    """The overlaps of two label images; nuclei are numbered from 0 by ascending label."""

    true_areas: np.ndarray  # (N,) int64, pixels
    predicted_areas: np.ndarray  # (M,) int64, pixels
    pairs: np.ndarray  # (K, 2) int, the true and the predicted nucleus of each pair that overlaps
    intersections: np.ndarray  # (K,) int64, pixels
    ious: np.ndarray  # (K,) float64, above 0, up to 1
    pixels: int  # of the image


def match(truth: np.ndarray, predicted: np.ndarray) -> Match:
    """Find the overlapping nuclei of two (H, W) label images; errors are those of `check_labels`.

    Memory grows with pixels and overlapping pairs, not with the product of both numbers of nuclei. Only the
    places where a label changes along the rows are sorted.
    """
    truth = check_labels(truth, "true labels")
    predicted = check_labels(predicted, "predicted labels", shape=truth.shape)
    truth, predicted = truth.ravel(), predicted.ravel()
    changes = (truth[1:] != truth[:-1]) | (predicted[1:] != predicted[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=truth.size)

    true_numbers, rows = np.unique(truth[starts], return_inverse=True)
    numbers, columns = np.unique(predicted[starts], return_inverse=True)
    table = coo_array((lengths, (rows, columns))).tocsr()
    top, left = int(true_numbers[0] == 0), int(numbers[0] == 0)  # without the row and column of background
    true_areas, areas = table.sum(axis=1)[top:], table.sum(axis=0)[left:]
    overlaps = table[top:, left:].tocoo()
    true, found = overlaps.coords
    ious = overlaps.data / (true_areas[true] + areas[found] - overlaps.data)
    return Match(true_areas, areas, np.stack([true, found], axis=1), overlaps.data, ious, truth.size)


def drop_small(found: Match, min_area: float) -> Match:
    """Return the match without small predicted nuclei; `min_area` as in `smallest_area`."""
    large = found.predicted_areas >= smallest_area(found.predicted_areas, min_area)
    kept = large[found.pairs[:, 1]]
    pairs = found.pairs[kept]
    pairs[:, 1] = np.cumsum(large)[pairs[:, 1]] - 1
    areas = found.predicted_areas[large]
    return found._replace(
        predicted_areas=areas, pairs=pairs, intersections=found.intersections[kept], ious=found.ious[kept]
    )


def pixel_scores(matches: list[Match]) -> dict[str, float]:
    """Return the ``pixel_accuracy``, and ``dice`` and ``iou`` of the foreground, each 0-1.

    The pixels of all images count alike: large images weigh more. Dice and IoU are 1 if neither truth nor
    prediction has foreground.
    """
    pixels = sum(found.pixels for found in matches)
    both = sum(int(found.intersections.sum()) for found in matches)
    foreground = sum(int(found.true_areas.sum() + found.predicted_areas.sum()) for found in matches)
    wrong = foreground - 2 * both
    return {
        "pixel_accuracy": (pixels - wrong) / pixels,
        "dice": 2 * both / foreground if foreground else 1.0,
        "iou": both / (foreground - both) if foreground else 1.0,
    }


def counts_at(
    found: Match, thresholds: npt.ArrayLike = THRESHOLDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, false positives and false negatives, (T,) int64 each, at IoU thresholds.

    A pair is a match if its IoU is strictly above one of the `thresholds`, (T,) floats from 0.5 to 1, rounded
    to nine decimals: 0.6000000000000001 means 0.6. From 0.5 on a nucleus has one match at most, so no
    assignment has to be solved. Other thresholds raise ValueError.
    """
    thresholds = np.round(np.atleast_1d(np.asarray(thresholds, float)), 9)
    if not np.all((thresholds >= 0.5) & (thresholds <= 1)):
        raise ValueError(f"IoU thresholds are {thresholds.tolist()}, expected 0.5..1")
    tp = found.ious.size - np.searchsorted(np.sort(found.ious), thresholds, side="right")
    return tp, found.predicted_areas.size - tp, found.true_areas.size - tp


def merges_and_splits(found: Match) -> tuple[int, int]:
    """Return how many predicted nuclei merge true ones, and how many true nuclei were split.

    A merge covers more than half of each of two or more true nuclei. In a split nucleus two or more predicted
    ones each lie with more than half of their area.
    """
    true, predicted = found.pairs.T
    covered = 2 * found.intersections > found.true_areas[true]
    inside = 2 * found.intersections > found.predicted_areas[predicted]
    merges = np.count_nonzero(np.bincount(predicted[covered]) > 1)
    splits = np.count_nonzero(np.bincount(true[inside]) > 1)
    return int(merges), int(splits)


def _divide(part: npt.ArrayLike, whole: npt.ArrayLike, empty: npt.ArrayLike) -> np.ndarray:
    """Return part / whole, and `empty` where whole is 0."""
    return np.where(np.asarray(whole) > 0, part / np.maximum(whole, 1e-300), empty)


def average_precision(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FP + FN), the Data Science Bowl's average precision; 1 where all three are 0."""
    return _divide(tp, tp + fp + fn, empty=1)


def image_score(found: Match) -> float:
    """Return the competition score of one image: the mean of `average_precision` over `THRESHOLDS`, 0-1.

    It is 1 if truth and prediction are both empty, and 0 if one of them is. Source:
    https://www.kaggle.com/competitions/data-science-bowl-2018/overview/evaluation
    """
    return float(average_precision(*counts_at(found)).mean())


def competition_score(matches: list[Match]) -> float:
    """Return the mean of `image_score`: every image weighs the same, however many nuclei it has."""
    return float(np.mean([image_score(found) for found in matches]))


def score_table(matches: list[Match], thresholds: npt.ArrayLike = THRESHOLDS) -> pd.DataFrame:
    """Return the scores of images at each IoU threshold (the index): one row for each, see `counts_at`.

    - `ap`: the mean `average_precision` of the images; its mean at `THRESHOLDS` is the competition's score,
    - `precision` = TP / (TP + FP), `recall` = TP / (TP + FN), `f1` = 2 TP / (2 TP + FP + FN) and
      `panoptic_quality` = sum of the matched IoUs / (TP + FP / 2 + FN / 2) (Kirillov et al., "Panoptic
      segmentation", CVPR 2019), from the nuclei of all images together: every nucleus weighs the same,
    - `tp`, `fp`, `fn`: those nuclei.

    The pooled scores are 1 if no image has a nucleus, true or predicted; otherwise 0 / 0 counts as 0.
    """
    thresholds = np.round(np.atleast_1d(np.asarray(thresholds, float)), 9)
    counts = np.array([counts_at(found, thresholds) for found in matches])  # (images, 3, T)
    tp, fp, fn = counts.sum(axis=0)
    ious = np.concatenate([found.ious for found in matches])
    matched = ious > thresholds[:, np.newaxis]
    nothing = tp + fp + fn == 0
    return pd.DataFrame(
        {
            "ap": average_precision(*counts.transpose(1, 0, 2)).mean(axis=0),
            "precision": _divide(tp, tp + fp, nothing),
            "recall": _divide(tp, tp + fn, nothing),
            "f1": _divide(2 * tp, 2 * tp + fp + fn, nothing),
            "panoptic_quality": _divide((ious * matched).sum(axis=1), tp + (fp + fn) / 2, nothing),
            "tp": tp,
            "fp": fp,
            "fn": fn,
        },
        index=pd.Index(thresholds, name="threshold"),
    )


def recall_by_area(matches: list[Match], edges: Sequence[float] = AREA_EDGES) -> pd.DataFrame:
    """Return the share of the true nuclei of each size that is found, with an IoU above 0.5.

    One row for each bin between `edges`, increasing areas in pixels: `area_from`, `area_below`, `nuclei`,
    `found`, `recall` (NaN in an empty bin).
    """
    areas = [found.true_areas for found in matches]
    hits = [found.true_areas[found.pairs[found.ious > 0.5, 0]] for found in matches]
    nuclei, found = (np.histogram(np.concatenate([[], *each]), edges)[0] for each in (areas, hits))
    bounds = np.asarray(edges, float)
    table = {"area_from": bounds[:-1], "area_below": bounds[1:], "nuclei": nuclei, "found": found}
    return pd.DataFrame(table).assign(recall=lambda each: each["found"] / each["nuclei"])


def bootstrap_interval(
    values: npt.ArrayLike, groups: Sequence, seed: int = 0, repeats: int = 1000
) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval, low and high, of the mean of (N,) scores of images.

    Images with the same entry in `groups`, (N,), are drawn together, such as tiles of one field of view: they
    resemble each other, and drawing them one by one makes the interval too narrow.
    """
    _, index = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(sizes.size, size=(repeats, sizes.size))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
