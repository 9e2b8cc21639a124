"""Targets: the maps that the network is trained to predict, computed from labels.

They are the foreground, and perhaps a map of each nucleus's inner part, low between nuclei that touch.
"""

import numpy as np
from scipy import ndimage as ndi

from nuclei.data.labels import check_labels


def foreground_target(labels: np.ndarray) -> np.ndarray:
    """(H, W) integer labels, 0 = background -> (H, W, 1) float32, 1 in nuclei, 0 in background."""
    return (check_labels(labels) > 0).astype(np.float32)[..., np.newaxis]


def distance_target(labels: np.ndarray) -> np.ndarray:
    """Foreground, and distance to each nucleus's own edge: (H, W) integer labels -> (H, W, 2) float32, 0-1.

    The distance is Euclidean, to the nearest pixel that is not of the nucleus, and divided by the largest in
    it; 0 in background. The border of the array is not an edge.

    >>> distance_target(np.array([[0, 1, 1, 1, 2, 2, 2, 0]]))[0, :, 1].tolist()
    [0.0, 0.5, 1.0, 0.5, 0.5, 1.0, 0.5, 0.0]
    """
    distance, largest = _distance_to_edge(labels)
    return np.stack([labels > 0, distance / largest], axis=-1, dtype=np.float32)


def _distance_to_edge(labels):
    """Return, in pixels, the distance to the nucleus's own edge and its largest value in the nucleus."""
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
