"""How far the confidence of a nucleus can be trusted, and a correction that makes it a probability.

A confidence is calibrated if, of the nuclei with confidence 0.8, 80 % match a true one. That of a network
usually is not (Guo et al., "On calibration of modern neural networks", ICML 2017). The correction is a
monotone curve: it never reverses the order of two nuclei, but may make them equal.

    >>> confidence = np.repeat([0.2, 0.4, 0.6, 0.8], 50)
    >>> curve = fit_calibration(confidence, confidence > 0.5)
    >>> np.interp([0.1, 0.5, 0.9], curve["confidence"], curve["probability"]).tolist()
    [0.0, 0.5, 1.0]
"""

import numpy as np

from nuclei.evaluation.metrics import Match

UNCERTAIN = 0.75
"""A mean calibrated confidence below which `warning` calls the nuclei of an image uncertain: more than one in
four is expected to be wrong. Of 236 validation images, see saved_model/general/README.md, it warns of 8; 0.8
would warn of 17, of whose nuclei 81 % match a true one, and 0.7 of none. Pictures of other things may well
have a higher one: see `nuclei.segmentation.strangeness`."""

MOST_GROUPS, LEAST_IN_GROUP = 20, 50  # where there are so many nuclei


def matched(match: Match) -> np.ndarray:
    """Return for each predicted nucleus whether its IoU with a true one is above 0.5: (M,) bool."""
    return np.isin(np.arange(match.predicted_areas.size), match.pairs[match.ious > 0.5, 1])


def fit_calibration(confidence: np.ndarray, matched: np.ndarray) -> dict[str, list[float]]:
    """Fit the curve from confidence, (N,) floats 0-1, to the probability of being `matched`, (N,) bool.

    Isotonic regression over groups of equal size, fewer where there are few nuclei, as a handful of matches
    would make a probability of 1: lists of ``confidence``, ascending, and ``probability``, never descending,
    between which `numpy.interp` finds the others. Raises ValueError for no nuclei.
    """
    from scipy.optimize import isotonic_regression  # slow to import

    if not confidence.size:
        raise ValueError("no nuclei to calibrate with, expected the confidences of at least one")
    order = np.argsort(confidence, kind="stable")
    groups = np.array_split(order, np.clip(order.size // LEAST_IN_GROUP, 1, MOST_GROUPS))
    x = np.array([confidence[group].mean(dtype=float) for group in groups])
    y = np.array([matched[group].mean() for group in groups])
    fitted = isotonic_regression(y, weights=[group.size for group in groups]).x
    return {"confidence": x.round(4).tolist(), "probability": fitted.round(4).tolist()}


def calibration_error(confidence: np.ndarray, matched: np.ndarray, bins: int = 10) -> float:
    """Return the mean distance between confidence and the share of nuclei that are `matched`, 0-1.

    It is the expected calibration error of Guo et al.: over `bins` of equal width, weighted by nuclei.
    `confidence` are (N,) floats 0-1, `matched` (N,) bool; NaN for no nuclei.
    """
    place = np.minimum((np.asarray(confidence, float) * bins).astype(int), bins - 1)
    gaps = np.bincount(place, np.asarray(matched, float) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / place.size) if place.size else float("nan")


def warning(probability: np.ndarray) -> str:
    """Return a warning of uncertain nuclei by the calibrated confidences (N,) of an image, or "".

    An image without nuclei gets none.
    """
    if not len(probability) or (mean := float(np.mean(probability))) >= UNCERTAIN:
        return ""
    return f"uncertain nuclei: {mean:.0%} are expected to be right; check by eye"
