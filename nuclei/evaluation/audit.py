"""Where labels are probably wrong, rather than the model.

A model that finds most nuclei of an image, but disagrees with its labels in a few places with high
confidence, points at mistakes of whoever labelled it.
"""

import numpy as np
import pandas as pd

from nuclei.data.labels import check_labels
from nuclei.evaluation import metrics

LITTLE, MOST = 0.2, 0.75
"""Of a nucleus's area, or as an IoU: what counts as nearly no agreement, and as agreement."""

MISSED = 0.5
"""Weight of a label that is not found: models miss nuclei more often than they invent confident ones. With a
weight of 1, three of the first 43 such labels were wrong (30 images of the 2018 Data Science Bowl)."""

COLUMNS = ["image", "kind", "label", "predicted", "row", "column", "area", "suspicion"]


def audit(image: str, labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
    """List the nuclei of an image whose labels are suspicious.

    Parameters
    ----------
    image : str
        Its name.
    labels, predicted : (H, W) integer arrays, 0 = background
        What a person labelled, and what a model found.
    confidence : (N,) floats, 0-1
        Of the predicted nuclei by ascending number, best calibrated (see `evaluation.calibration`).

    Returns
    -------
    pandas.DataFrame
        The most suspicious first. The columns: `image`; `kind`:

        - "missing": a confident predicted nucleus where nearly nothing is labelled,
        - "not found": a label where the model finds nearly nothing,
        - "merged": one label over two or more confident predicted nuclei,
        - "outline": a label and a confident predicted nucleus that overlap, but differ in place or extent;

        `label` and `predicted`, the numbers in both arrays, 0 = none; `row` and `column` of its centre and
        its `area` in pixels; `suspicion`, 0-1: the confidence of the model in what the label contradicts,
        times how well it agrees with the labels of the image (F1 at an IoU of 0.5).

    Raises ValueError where the shapes differ, or there is not one confidence per predicted nucleus.
    """
    match = metrics.match(labels, predicted)
    if len(confidence) != match.predicted_areas.size:
        nuclei = match.predicted_areas.size
        raise ValueError(f"{len(confidence)} confidences for {nuclei} predicted nuclei, expected as many")
    tp, fp, fn = (int(count[0]) for count in metrics.counts_at(match, [0.5]))
    trust = 2 * tp / max(2 * tp + fp + fn, 1)
    rows = [
        (image, kind, true, found, trust * suspicion)
        for kind, true, found, suspicion in _suspicions(match, np.asarray(confidence, float))
    ]
    table = pd.DataFrame(rows, columns=["image", "kind", "true", "found", "suspicion"])
    return ranked([_located(table, check_labels(labels), check_labels(predicted))])


def ranked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several tables of `audit`, the most suspicious first."""
    return pd.concat(tables).sort_values("suspicion", ascending=False, ignore_index=True, kind="stable")


def _suspicions(match: metrics.Match, confidence: np.ndarray) -> list[tuple[str, int, int, float]]:
    """Return kind, true and predicted nucleus (from 0 by ascending number, -1 = none) and suspicion, 0-1."""
    true, found = match.pairs.T
    labelled = np.bincount(found, match.intersections, match.predicted_areas.size) / match.predicted_areas
    covered = np.bincount(true, match.intersections, match.true_areas.size) / match.true_areas
    rows = [("missing", -1, int(k), confidence[k]) for k in np.flatnonzero(labelled < LITTLE)]
    rows += [("not found", int(k), -1, MISSED * (1 - covered[k])) for k in np.flatnonzero(covered < LITTLE)]
    inside = 2 * match.intersections > match.predicted_areas[found]
    best = np.zeros(match.true_areas.size)
    np.maximum.at(best, true, match.ious)
    for k in np.flatnonzero((covered >= LITTLE) & (best < MOST)):
        of_label = true == k
        parts = found[of_label & inside]
        closest = int(found[of_label][match.ious[of_label].argmax()])
        if len(parts) > 1:
            second = np.sort(confidence[parts])[-2]  # both must be nuclei
            rows.append(("merged", int(k), closest, second * (1 - best[k] ** 2)))
        else:
            rows.append(("outline", int(k), closest, confidence[closest] * (1 - best[k])))
    return rows


def _located(table: pd.DataFrame, labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Replace the places of nuclei by their numbers, and add where they lie."""
    places = []
    for true, found in zip(table["true"], table["found"], strict=True):
        array, place = (labels, true) if true >= 0 else (predicted, found)
        rows, columns = np.nonzero(array == _numbers(array)[place])
        places.append((rows.mean().round(1), columns.mean().round(1), rows.size))
    table[["row", "column", "area"]] = pd.DataFrame(places, table.index, ["row", "column", "area"])
    table["suspicion"] = table["suspicion"].astype(float).round(3)
    for name, place, array in (("label", "true", labels), ("predicted", "found", predicted)):
        table[name] = np.append(_numbers(array), 0)[table[place].to_numpy(int)]  # -1 takes the last, 0
    return table[COLUMNS]


def _numbers(array: np.ndarray) -> np.ndarray:
    return np.unique(array[array > 0])
