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

from nuclei.evaluation.metrics import Match

UNLIKE = 0.8
"""A mean calibrated confidence below which an image is unlike the training images, see `warning`.
Of the model trained on the 2018 Data Science Bowl, 30 validation images have 0.83 to 1, and eight images of
TNBC, from another laboratory, 0.69 to 0.81."""


def matched(match: Match) -> np.ndarray:
    """Return for each predicted nucleus whether its IoU with a true one is above 0.5: (M,) bool."""
    return np.isin(np.arange(match.predicted_areas.size), match.pairs[match.ious > 0.5, 1])


def fit_calibration(confidence: np.ndarray, matched: np.ndarray, bins: int = 20) -> dict[str, list[float]]:
    """Fit the curve from confidence, (N,) floats 0-1, to the probability of being `matched`, (N,) bool.

    Isotonic regression over groups of equal size: lists of ``confidence``, ascending, and ``probability``,
    never descending, for `nuclei.segmentation.prediction.calibrated`. Raises ValueError for no nuclei.
    """
    from scipy.optimize import isotonic_regression  # slow to import

    if not confidence.size:
        raise ValueError("no nuclei to calibrate with, expected the confidences of at least one")
    order = np.argsort(confidence, kind="stable")
    groups = [group for group in np.array_split(order, bins) if group.size]
    x = np.array([confidence[group].mean(dtype=float) for group in groups])
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
