"""Targets: the maps that the network is trained to predict, computed from labels.

A target has one or two channels: the foreground, and a map of each nucleus's inner part, which is low
between nuclei that touch.
"""

import numpy as np
from scipy import ndimage as ndi

from nuclei.data.labels import check_labels


def foreground_target(labels: np.ndarray) -> np.ndarray:
    """(H, W) integer labels, 0 = background -> (H, W, 1) float32, 1 in nuclei, 0 in background."""
    labels = check_labels(labels)
    return (labels > 0).astype(np.float32)[..., np.newaxis]


def distance_target(labels: np.ndarray) -> np.ndarray:
    """Foreground, and distance to each nucleus's own edge: (H, W) integer labels -> (H, W, 2) float32, 0-1.

    Channel 0 is 1 in nuclei. Channel 1 is the Euclidean distance from a pixel to the nearest one that is not
    of its nucleus, divided by the largest in that nucleus; 0 in background. The border of the array is not an
    edge. Raises TypeError or ValueError, see `nuclei.data.labels.check_labels`.

    >>> distance_target(np.array([[0, 1, 1, 1, 2, 2, 2, 0]]))[0, :, 1].tolist()
    [0.0, 0.5, 1.0, 0.5, 0.5, 1.0, 0.5, 0.0]
    """
    distance, largest = _distance_to_edge(labels)
    return np.stack([labels > 0, distance / largest], axis=-1, dtype=np.float32)


def _distance_to_edge(labels):
    """Return the distance to the nucleus's own edge, in pixels, and its largest value in the nucleus.

    Both are (H, W) float64; in background they are 0 and 1.
    """
    labels = check_labels(labels)
    distance, largest = np.zeros(labels.shape), np.ones(labels.shape)
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        # one pixel wider than the nucleus: the nearest pixel outside it always touches it
        box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        own = labels[box] == number
        away = ndi.distance_transform_edt(own) if not own.all() else np.ones(own.shape)
        distance[box][own], largest[box][own] = away[own], away.max()
    return distance, largest


def interior_target(labels: np.ndarray) -> np.ndarray:
    """Foreground, and the inner part of each nucleus: (H, W) integer labels -> (H, W, 2) float32, 0 or 1.

    Channel 1 is 1 where the distance to the nucleus's own edge, see `distance_target`, is above 2 pixels, or
    at least 0.7 of the nucleus's largest, so that small nuclei have an inner part too.
    """
    distance, largest = _distance_to_edge(labels)
    interior = (distance > 2) | (distance >= 0.7 * largest)
    return np.stack([labels > 0, interior], axis=-1, dtype=np.float32)


TARGETS = {"foreground": foreground_target, "distance": distance_target, "interior": interior_target}
