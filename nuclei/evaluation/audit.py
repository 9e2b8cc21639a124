"""Where labels are probably wrong, rather than the model.

A model that finds most nuclei of an image, but disagrees with its labels in a few places with high
confidence, points at mistakes of whoever labelled it.
"""

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

from nuclei.evaluation import metrics

LOW, HIGH = 0.2, 0.75
"""Of a nucleus's area, as an IoU, or as F1: what counts as nearly no agreement, and as agreement."""

MISSED = 0.5
"""Weight of a label that is not found: models miss nuclei more often than they invent confident ones. With a
weight of 1, three of the first 43 such labels were wrong (30 images of the 2018 Data Science Bowl)."""

COLUMNS = ["image", "kind", "label", "predicted", "row", "column", "area", "suspicion"]


def audit(image: str, labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
    """List the nuclei of the image with this name whose labels are suspicious, the most suspicious first.

    `labels` and `predicted` are (H, W) integers, 0 = background: what a person labelled, and what a model
    found with a `confidence`, (N,) floats 0-1 by ascending number, best calibrated. Raises ValueError where
    there is not one for each predicted nucleus.

    The columns are those of docs/training.md. Suspicion, 0-1, is the confidence of the model in what the
    label contradicts, times how well it agrees with the labels of the image (F1 at an IoU of 0.5). So an
    image on which the model is bad does not fill the list. Where they agree nearly nowhere, the labels may be
    of another image, or missing: a row for the whole image then has the mean confidence of its nuclei.
    """
    match = metrics.match(labels, predicted)
    nuclei = match.predicted_areas.size
    if len(confidence) != nuclei:
        raise ValueError(f"{len(confidence)} confidences for {nuclei} predicted nuclei, expected as many")
    trust = float(metrics.score_table([match], [0.5])["f1"].item())
    true_numbers, numbers = (np.unique(each[each > 0]) for each in (labels, predicted))
    true_centres = ndi.center_of_mass(labels > 0, labels, true_numbers)
    centres = ndi.center_of_mass(predicted > 0, predicted, numbers)
    table = []
    for kind, true, found, suspicion in _suspicions(match, np.asarray(confidence, float)):
        label = 0 if true is None else true_numbers[true]
        number = 0 if found is None else numbers[found]
        centre = centres[found] if true is None else true_centres[true]
        area = match.predicted_areas[found] if true is None else match.true_areas[true]
        table.append((image, kind, label, number, *np.round(centre, 1), area, round(trust * suspicion, 3)))
    if nuclei and trust < LOW:
        centre = (np.array(labels.shape) - 1) / 2
        suspect = round(float(np.mean(confidence)) * (1 - trust), 3)
        table.append((image, "image", 0, 0, *centre, labels.size, suspect))
    return ranked([pd.DataFrame(table, columns=COLUMNS)])


def ranked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several tables of `audit`, the most suspicious first."""
    return pd.concat(tables).sort_values("suspicion", ascending=False, ignore_index=True, kind="stable")


def _suspicions(match: metrics.Match, confidence: np.ndarray) -> list[tuple]:
    """Return kind, true and predicted nucleus (from 0 by ascending number, or None) and suspicion, 0-1."""
    true, found = match.pairs.T
    labelled = np.bincount(found, match.intersections, match.predicted_areas.size) / match.predicted_areas
    covered = np.bincount(true, match.intersections, match.true_areas.size) / match.true_areas
    rows: list[tuple] = [("missing", None, k, confidence[k]) for k in np.flatnonzero(labelled < LOW)]
    rows += [("not found", k, None, MISSED * (1 - covered[k])) for k in np.flatnonzero(covered < LOW)]
    inside = 2 * match.intersections > match.predicted_areas[found]
    best = np.zeros(match.true_areas.size)
    np.maximum.at(best, true, match.ious)
    for k in np.flatnonzero((covered >= LOW) & (best < HIGH)):
        of_label = true == k
        parts = found[of_label & inside]
        closest = found[of_label][match.ious[of_label].argmax()]
        if len(parts) > 1:
            second = np.sort(confidence[parts])[-2]  # both must be nuclei
            rows.append(("merged", k, closest, second * (1 - best[k] ** 2)))
        else:
            rows.append(("outline", k, closest, confidence[closest] * (1 - best[k])))
    return rows
