"""Thresholds tuned on validation images: a grid search, and the same in two halves."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from nuclei.data.samples import Sample
from nuclei.evaluation import metrics
from nuclei.evaluation.calibration import fit_calibration, matched
from nuclei.segmentation.candidates import filter_by_iou, suppress_overlaps
from nuclei.segmentation.segmenter import Segmenter
from nuclei.segmentation.watershed import labels_from_maps

GRID = {
    "foreground_threshold": [0.4, 0.5, 0.6],
    "marker_threshold": [0.5, 0.6, 0.7, 0.8],
    "min_confidence": [0.0, 0.8, 0.9],  # relative to the most confident nuclei
    "min_area": [0, 0.1, 0.2],  # of the median nucleus
}
"""Arguments of `labels_from_maps`, each with the values to try."""

MIN_IOUS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55)
"""Values of `min_iou` to try. From an IoU of 0.5 on a nucleus counts as found, and in images unlike those of
the training the IoU network expects less, so that higher values would lose nuclei."""


def tune(
    inputs: Iterable[Any],
    labels_list: Iterable[np.ndarray],
    grid: dict[str, list],
    segment: Callable[..., np.ndarray] = labels_from_maps,
) -> tuple[dict, pd.DataFrame]:
    """Search a grid of parameters for the best mean competition score.

    ``segment(input, **parameters)`` returns the labels of an image, to be compared with (H, W) integers of
    `labels_list`, 0 = background; `grid` has the values to try of each parameter. If ``min_area`` is among
    them, nuclei under it are dropped as its last step: images are segmented and matched once for all values.

    Returns the parameters with the highest mean score, the first in the grid's order among equals (with
    ``min_area`` last), and the scores: one row for each combination (a MultiIndex with the parameters'
    names), one column per image.
    """
    grid = dict(sorted(grid.items(), key=lambda each: each[0] == "min_area"))  # it varies fastest
    min_areas = grid.get("min_area", [0])
    segmented = {name: [0] if name == "min_area" else values for name, values in grid.items()}
    columns = []
    for one, labels in zip(inputs, labels_list, strict=True):
        column = []
        for values in itertools.product(*segmented.values()):
            found = metrics.match(labels, segment(one, **dict(zip(segmented, values, strict=True))))
            column += [metrics.image_score(metrics.drop_small(found, area)) for area in min_areas]
        columns.append(column)
    scores = pd.DataFrame(np.transpose(columns), pd.MultiIndex.from_product(grid.values(), names=grid))
    return _best(scores)[1], scores


def _best(scores: pd.DataFrame) -> tuple[int, dict]:
    """Return the row of the highest mean score, and its parameters as plain Python values, ready for JSON."""
    row = int(scores.to_numpy().mean(axis=1).argmax())
    named = zip(scores.index.names, scores.index[row], strict=True)
    return row, {name: np.asarray(value).item() for name, value in named}


class CrossTuned(NamedTuple):
    """Scores under parameters that the image's own half did not choose."""

    scores: np.ndarray  # (N,) float64, one per image
    half: np.ndarray  # (N,) int64, 0 or 1: which half of the fields the image is in
    best: tuple[dict, dict]  # the parameters with which the images of half 0 and of half 1 were scored


def cross_tune(scores: pd.DataFrame, groups: Iterable, seed: int = 0) -> CrossTuned:
    """Tune on one half of the fields, score the other; swap.

    `scores` are those of `tune`, `groups`, (N,), the field of view of each image: images of one field stay in
    one half, and `seed` decides in which. Raises ValueError for fewer than two fields.
    """
    fields, field = np.unique(np.asarray(groups), return_inverse=True)
    if fields.size < 2:
        raise ValueError(
            "all images are of one field, expected two or more: to tune on a half there must be another"
        )
    half = np.random.default_rng(seed).permutation(fields.size)[field] % 2
    rows, best = zip(*(_best(scores.loc[:, half != side]) for side in (0, 1)), strict=True)
    held_out = scores.to_numpy()[np.take(rows, half), np.arange(half.size)]
    return CrossTuned(held_out, half, best)


def tune_segmenter(segmenter: Segmenter, samples: list[Sample], groups: Iterable, seed: int = 0) -> dict:
    """Tune the thresholds of a segmenter on validation samples; for `groups` and `seed` see `cross_tune`.

    With an IoU network ``min_iou`` is tuned, over `MIN_IOUS`; without one the thresholds in `GRID`. Returns
    for the segmenter's settings ``thresholds``, those with the best mean competition score; ``cross_tuned``,
    for each half of the fields, the ids of its ``images``, and thresholds and calibration of the other half;
    ``val_score``, the mean score of all samples with thresholds that were not tuned on them; and with an IoU
    network the ``calibration`` of `fit_calibration`.
    """
    predicted = (segmenter.predict_maps(s.image) for s in tqdm(samples, desc="tuning", unit="image"))
    truth, rated = [s.labels for s in samples], []
    if segmenter.iou_network:
        kept = [suppress_overlaps(*segmenter.candidates(each), min(MIN_IOUS)) for each in predicted]
        thresholds, scores = tune(kept, truth, {"min_iou": list(MIN_IOUS)}, filter_by_iou)
        pairs = zip(truth, kept, strict=True)
        rated = [(ious, matched(metrics.match(labels, found))) for labels, (found, ious) in pairs]
    else:
        thresholds, scores = tune((each.maps for each in predicted), truth, GRID)
    crossed = cross_tune(scores, groups, seed)
    ids = np.array([s.id for s in samples])
    halves = [
        {"thresholds": best, "images": ids[crossed.half == half].tolist()}
        | _calibration([each for each, side in zip(rated, crossed.half, strict=False) if side != half])
        for half, best in enumerate(crossed.best)
    ]
    score = float(crossed.scores.mean())
    tuned = {"thresholds": thresholds, "cross_tuned": halves, "val_score": score}
    return tuned | _calibration(rated)


def _calibration(rated: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    """Return the ``calibration`` for settings, from the confidences and matches of some images, or {}."""
    if not sum(len(confidence) for confidence, _ in rated):
        return {}
    confidence, right = (np.concatenate(each) for each in zip(*rated, strict=True))
    return {"calibration": fit_calibration(confidence, right)}
