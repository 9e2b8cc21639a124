"""Scores for pixels and for nuclei: first count, then divide.

Functions that count take label images and return whole numbers, which can be added up over images; functions
that score take these numbers. Labels are integers, 0 is background, every other number is one nucleus; the
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

from nuclei.data.labels import check_labels, smallest_area

# quotients of whole numbers, as IoUs are, so that "above" is strict; np.arange(0.5, 1, 0.05) holds
# 0.6000000000000001
THRESHOLDS = np.arange(10, 20) / 20

# pixels; factors of two, from specks to large nuclei at high magnification
AREA_EDGES = (0, 32, 64, 128, 256, 512, 1024, 2048, np.inf)


class PixelCounts(NamedTuple):
    """Pixels by truth and prediction."""

    tp: int
    fp: int
    fn: int
    tn: int


def pixel_counts(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> PixelCounts:
    """Count true and false, positive and negative pixels.

    `truth` and `predicted` are bool or integer arrays of one shape; True, or a label above 0, is foreground.
    Raises TypeError for floats, ValueError for different shapes.

    >>> pixel_counts(np.array([[0, 3, 3]]), np.array([[True, True, False]]))
    PixelCounts(tp=1, fp=1, fn=1, tn=0)
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    for name, array in (("truth", truth), ("predicted", predicted)):
        if array.dtype.kind not in "biu":
            raise TypeError(f"{name} is {array.dtype}, expected booleans or labels; threshold a map first")
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, predicted {predicted.shape}; expected equal shapes")
    truth, predicted = truth > 0, predicted > 0
    tp = int(np.count_nonzero(truth & predicted))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return PixelCounts(tp, fp, fn, truth.size - tp - fp - fn)


def pixel_scores(counts: PixelCounts) -> dict[str, float]:
    """Return the accuracy of pixels, and Dice and IoU of the foreground, each 0-1.

    `counts` are those of one image or the sum over several: then large images weigh more. `accuracy` is
    (TP + TN) / all, `dice` 2 TP / (2 TP + FP + FN), `iou` TP / (TP + FP + FN); Dice and IoU are 1 if neither
    truth nor prediction has foreground. Raises ValueError where no pixel was counted.
    """
    tp, fp, fn, tn = counts
    if tp + fp + fn + tn == 0:
        raise ValueError("no pixels were counted, expected the counts of at least one image")
    wrong = fp + fn
    return {
        "accuracy": (tp + tn) / (tp + tn + wrong),
        "dice": 2 * tp / (2 * tp + wrong) if tp + wrong else 1.0,
        "iou": tp / (tp + wrong) if tp + wrong else 1.0,
    }


class Match(NamedTuple):
    """The overlaps of two label images; nuclei are numbered from 0 by ascending label.

    true_areas : (N,) int64, pixels
    predicted_areas : (M,) int64, pixels
    pairs : (K, 2) int64, the true and the predicted nucleus of each pair that overlaps
    intersections : (K,) int64, pixels
    ious : (K,) float64, above 0, up to 1
    """

    true_areas: np.ndarray
    predicted_areas: np.ndarray
    pairs: np.ndarray
    intersections: np.ndarray
    ious: np.ndarray


def match(truth: np.ndarray, predicted: np.ndarray) -> Match:
    """Find the overlapping nuclei of two label images.

    `truth` and `predicted` are (H, W) integer arrays, 0 = background; errors are those of `check_labels`.
    Memory grows with pixels and overlapping pairs, not with the product of both numbers of nuclei. Only the
    places where a label changes along the rows are sorted.
    """
    truth = check_labels(truth, "true labels")
    predicted = check_labels(predicted, "predicted labels", shape=truth.shape)
    truth, predicted = truth.ravel(), predicted.ravel()
    changes = (truth[1:] != truth[:-1]) | (predicted[1:] != predicted[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=truth.size)

    true_numbers, true_index = np.unique(truth[starts], return_inverse=True)
    numbers, index = np.unique(predicted[starts], return_inverse=True)
    keys, key_index = np.unique(true_index * numbers.size + index, return_inverse=True)
    true_areas, areas, intersections = (  # sums of whole numbers, exact in float64
        np.bincount(where, lengths).astype(np.int64) for where in (true_index, index, key_index)
    )
    pairs = np.stack(np.divmod(keys, numbers.size), axis=1)

    overlap = (true_numbers[pairs[:, 0]] > 0) & (numbers[pairs[:, 1]] > 0)
    pairs, intersections = pairs[overlap], intersections[overlap]
    unions = true_areas[pairs[:, 0]] + areas[pairs[:, 1]] - intersections
    # 1 where the number 0 is the background, as it nearly always is
    first = np.array([true_numbers[0] == 0, numbers[0] == 0], dtype=np.int64)
    return Match(
        true_areas[first[0] :], areas[first[1] :], pairs - first, intersections, intersections / unions
    )


def drop_small(found: Match, min_area: float) -> Match:
    """Return the match without small predicted nuclei; `min_area` as in `smallest_area`."""
    large = found.predicted_areas >= smallest_area(found.predicted_areas, min_area)
    kept = large[found.pairs[:, 1]]
    pairs = found.pairs[kept]
    pairs[:, 1] = np.cumsum(large)[pairs[:, 1]] - 1
    areas = found.predicted_areas[large]
    return Match(found.true_areas, areas, pairs, found.intersections[kept], found.ious[kept])


def counts_at(
    found: Match, thresholds: npt.ArrayLike = THRESHOLDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count true positives, false positives and false negatives at each IoU threshold.

    A pair is a match if its IoU is strictly above one of the `thresholds`, (T,) floats from 0.5 to 1, rounded
    to nine decimals: 0.6000000000000001 means 0.6. From 0.5 on a nucleus has one match at most, so no
    assignment has to be solved. Other thresholds raise ValueError.

    Returns tp, fp and fn, (T,) int64 each.
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
    part, whole, empty = np.broadcast_arrays(np.asarray(part, float), whole, empty)
    return np.where(whole > 0, part / np.maximum(whole, 1e-300), empty)


def average_precision(tp: npt.ArrayLike, fp: npt.ArrayLike, fn: npt.ArrayLike) -> np.ndarray:
    """Return TP / (TP + FP + FN), the Data Science Bowl's average precision; 1 where all three are 0."""
    return _divide(tp, np.add(tp, fp) + fn, empty=1)


def image_score(found: Match) -> float:
    """Return the competition score of one image: the mean of `average_precision` over `THRESHOLDS`, 0-1.

    It is 1 if truth and prediction are both empty, and 0 if one of them is. Source:
    https://www.kaggle.com/competitions/data-science-bowl-2018/overview/evaluation
    """
    return float(average_precision(*counts_at(found)).mean())


def competition_score(matches: list[Match]) -> float:
    """Return the mean of `image_score`: every image weighs the same, however many nuclei it has."""
    _check_any(matches)
    return float(np.mean([image_score(found) for found in matches]))


def _check_any(matches: list[Match]) -> None:
    if not matches:
        raise ValueError("no images to score, expected the match of at least one")


def score_table(matches: list[Match], thresholds: npt.ArrayLike = THRESHOLDS) -> pd.DataFrame:
    """Return the scores of images at each IoU threshold (the index): one row for each, see `counts_at`.

    - `ap`: the mean `average_precision` of the images; its mean at `THRESHOLDS` is the competition's score,
    - `precision` = TP / (TP + FP), `recall` = TP / (TP + FN), `f1` = 2 TP / (2 TP + FP + FN) and
      `panoptic_quality` = sum of the matched IoUs / (TP + FP / 2 + FN / 2) (Kirillov et al., "Panoptic
      segmentation", CVPR 2019), from the nuclei of all images together: every nucleus weighs the same,
    - `tp`, `fp`, `fn`: those nuclei.

    The pooled scores are 1 if no image has a nucleus, true or predicted; otherwise 0 / 0 counts as 0.
    """
    _check_any(matches)
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


def recall_by_area(
    matches: list[Match], threshold: float = 0.5, edges: Sequence[float] = AREA_EDGES
) -> pd.DataFrame:
    """Return the share of the true nuclei of each size that is found, with an IoU above `threshold`.

    `edges` are increasing areas in pixels; a bin holds its lower edge, not its upper one, and nuclei outside
    are not counted. One row per bin: `area_from`, `area_below`, `nuclei`, `found`, `recall` (NaN in an empty
    bin).
    """
    areas = [found.true_areas for found in matches]
    hits = [found.true_areas[found.pairs[found.ious > threshold, 0]] for found in matches]
    bounds = np.asarray(edges, float)
    counts = (
        pd.cut(np.concatenate([[], *each]), bounds, right=False).value_counts().to_numpy()
        for each in (areas, hits)
    )
    table = pd.DataFrame(dict(zip(("nuclei", "found"), counts, strict=True)))
    table.insert(0, "area_from", bounds[:-1])
    table.insert(1, "area_below", bounds[1:])
    return table.assign(recall=table["found"] / table["nuclei"].replace(0, np.nan))


def bootstrap_interval(
    values: npt.ArrayLike,
    seed: int = 0,
    repeats: int = 1000,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`, (N,) floats of images: low, high.

    Images with the same entry in `groups`, (N,), are drawn together, such as tiles of one field of view: they
    resemble each other, and drawing them one by one makes the interval too narrow. Raises ValueError where
    there are no values, one is not finite, or `groups` differs in length.
    """
    values = np.asarray(values, float)
    groups = np.arange(values.size) if groups is None else np.asarray(groups)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values are {values}, expected a list of at least one finite number")
    if groups.shape != values.shape:
        raise ValueError(f"groups have shape {groups.shape}, expected one for each of {values.size}")
    _, index = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(sizes.size, size=(repeats, sizes.size))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
