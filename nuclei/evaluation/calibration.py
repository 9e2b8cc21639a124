"""How far the confidence of a nucleus can be trusted, and a correction that makes it a probability.

A confidence is calibrated if, of the nuclei with confidence 0.8, 80 % match a true one. Networks are not of
themselves (Guo et al., "On calibration of modern neural networks", ICML 2017). The correction is a monotone
curve: it leaves the order of nuclei as it is.

    >>> from nuclei.segmentation.prediction import calibrated
    >>> curve = fit_calibration(np.array([0.2, 0.4, 0.6, 0.8]), np.array([False, False, True, True]), bins=4)
    >>> calibrated(np.array([0.1, 0.5, 0.9]), curve).tolist()
    [0.0, 0.5, 1.0]
"""

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from nuclei.evaluation.metrics import Match

UNLIKE = 0.8
"""A mean calibrated confidence below which an image is unlike the training images, see `warning`.
Of the model trained on the 2018 Data Science Bowl, 30 validation images have 0.83 to 1, and eight images of
TNBC, from another laboratory, 0.69 to 0.81."""


def matched(match: Match, threshold: float = 0.5) -> np.ndarray:
    """Return for each predicted nucleus whether its IoU with a true one is above `threshold`: (M,) bool."""
    found = np.zeros(match.predicted_areas.size, bool)
    found[match.pairs[match.ious > threshold, 1]] = True
    return found


def reliability(confidence: np.ndarray, matched: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Compare confidence, (N,) floats 0-1, with the share of nuclei that are `matched`, (N,) bool.

    One row for each of the bins of equal width: `confidence_from`, `confidence_below`, `nuclei`, their mean
    `confidence`, `matched` (the share that does); both are NaN in an empty bin.
    """
    confidence, matched = _checked(confidence, matched)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    table = pd.DataFrame({"confidence": confidence, "matched": matched.astype(float)}).groupby(place).mean()
    edges, nuclei = np.arange(bins) / bins, np.bincount(place, minlength=bins)
    bounds = {"confidence_from": edges, "confidence_below": edges + 1 / bins}
    return pd.DataFrame({**bounds, "nuclei": nuclei}).join(table)


def calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error, 0-1: the mean gap of a `reliability` table, over nuclei."""
    gaps = (table["confidence"] - table["matched"]).abs() * table["nuclei"]
    return float(gaps.sum() / max(table["nuclei"].sum(), 1))


def fit_calibration(confidence: np.ndarray, matched: np.ndarray, bins: int = 20) -> dict[str, list[float]]:
    """Fit the curve from a confidence to the probability of a match by isotonic regression.

    `confidence` and `matched` are as for `reliability`, of validation images. The curve has a point for each
    of the `bins`, groups of equal size: lists of ``confidence``, ascending, and ``probability``, never
    descending, ready for a model's settings and for `nuclei.segmentation.prediction.calibrated`. Raises
    ValueError where there are no nuclei, a confidence is outside 0-1, or the lengths differ.
    """
    confidence, matched = _checked(confidence, matched)
    if not confidence.size:
        raise ValueError("no nuclei to calibrate with, expected the confidences of at least one")
    order = np.argsort(confidence, kind="stable")
    groups = [group for group in np.array_split(order, bins) if group.size]
    x = np.array([confidence[group].mean() for group in groups])
    y = np.array([matched[group].mean() for group in groups])
    fitted = isotonic_regression(y, weights=[group.size for group in groups]).x
    return {"confidence": x.round(4).tolist(), "probability": fitted.round(4).tolist()}


def warning(probability: np.ndarray) -> str:
    """Return a warning about an image by the calibrated confidences (N,) of its nuclei, or "".

    An image without nuclei gets none: that there are none says nothing about strangeness.
    """
    if not len(probability) or (mean := float(np.mean(probability))) >= UNLIKE:
        return ""
    return f"unlike the training images: {mean:.0%} of the nuclei are expected to be right; check by eye"


def _checked(confidence: np.ndarray, matched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence, matched = np.asarray(confidence, float), np.asarray(matched, bool)
    if confidence.ndim != 1 or confidence.shape != matched.shape:
        raise ValueError(
            f"confidence has shape {confidence.shape}, matched {matched.shape}, expected (N,) for both"
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence is outside 0-1 or no number, expected 0-1 for each nucleus")
    return confidence, matched
