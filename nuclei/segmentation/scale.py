"""How large the nuclei of an image are."""

import numpy as np

from nuclei.data.labels import SPECK

SIZING = {
    "foreground_threshold": 0.5,
    "marker_threshold": 0.5,
    "min_area": 0.1,
    "min_confidence": 0.0,
    "smoothing": 1.0,
}
"""Arguments of `labels_from_maps` to tell how large nuclei are, whatever thresholds are tuned to later."""


def median_diameter(labels):
    """(H, W) integer labels, 0 = background -> diameter in pixels of the circle of the median nucleus's area.

    Specks of fewer than 10 pixels are left out. 0 without nuclei.
    """
    return circle_diameter(np.bincount(labels.ravel())[1:])


def circle_diameter(areas):
    """(N,) areas in pixels -> diameter of the circle of the median one; 0 where there are but specks."""
    areas = areas[areas >= SPECK]
    return float(np.sqrt(4 / np.pi * np.median(areas))) if areas.size else 0.0
