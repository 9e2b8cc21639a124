"""From maps to labels by thresholds and a marker-controlled watershed.

The foreground is flooded from markers, the connected components where the second map is high: see
`nuclei.training.targets`. Reference: Meyer and Beucher, "Morphological Segmentation", JVCIR 1990.
"""

import numpy as np
from scipy import ndimage as ndi
from skimage.color import rgb2gray
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from nuclei.data.labels import smallest_area


def labels_from_maps(
    maps: np.ndarray,
    foreground_threshold: float,
    marker_threshold: float,
    min_area: float = 0,
    *,
    min_confidence: float = 0.0,
    smoothing: float = 0.0,
) -> np.ndarray:
    """Separate nuclei by a watershed with one marker for each: (H, W) int32, 0 = background, 1..N.

    maps : (H, W, 2) or (H, W, 1) array, 0-1; the foreground, and the second map of
        `nuclei.training.targets`, or without one the Euclidean distance to the background, divided by the
        largest in each connected component
    foreground_threshold, marker_threshold : both maps are strictly above it, in nuclei and in markers
    min_area : smaller nuclei are dropped as the last step, see `nuclei.data.labels.smallest_area`
    min_confidence : before that, nuclei are dropped whose `confidence` is below this fraction of the 90th
        percentile of all, or of 0.75 where that is higher: then there may be no nuclei at all. A fixed limit
        would drop most nuclei in images of an unknown kind
    smoothing : standard deviation, in pixels, of a Gaussian over the second map as the first step; 0 for none

    A connected component of the foreground without any marker is one nucleus. Raises ValueError where `maps`
    has another shape.
    """
    maps = np.asarray(maps, dtype=np.float32)
    if maps.ndim != 3 or maps.shape[-1] not in (1, 2):
        raise ValueError(f"maps have shape {maps.shape}, expected (H, W, 1) or (H, W, 2)")
    foreground = maps[..., 0] > foreground_threshold
    components, count = ndi.label(foreground)
    inner = maps[..., 1] if maps.shape[-1] == 2 else _component_distance(components, count)
    if smoothing:
        inner = ndi.gaussian_filter(inner, smoothing)

    markers, marker_count = ndi.label(foreground & (inner > marker_threshold))
    unmarked = foreground & ~np.isin(components, components[markers > 0])
    markers[unmarked] = marker_count + ndi.label(unmarked)[0][unmarked]
    labels = watershed(-inner, markers, mask=foreground)
    if min_confidence and count:
        confidences = confidence(labels, maps[..., 0])
        top = max(np.percentile(confidences, 90), 0.75)
        labels = keep_labels(labels, confidences >= min_confidence * top)
    areas = np.bincount(labels.ravel())[1:]
    return keep_labels(labels, areas >= smallest_area(areas, min_area))


def _component_distance(components, count):
    """Euclidean distance to the background, divided by the largest of each connected component."""
    if components.all():  # no background to be distant from
        return np.ones(components.shape)
    distance = ndi.distance_transform_edt(components)
    largest = ndi.maximum(distance, components, np.arange(count + 1))
    return distance / np.maximum(largest, 1)[components]


def keep_labels(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Leave only the labels that are `kept`, (N,) bool, and close the gaps between numbers: int32."""
    kept = np.append(False, kept)
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]


def confidence(labels: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Mean of the foreground in each nucleus: (H, W) labels 0..N, (H, W) in 0..1 -> (N,) float64 in 0..1."""
    areas = np.bincount(labels.ravel())[1:]
    return np.bincount(labels.ravel(), foreground.ravel())[1:] / np.maximum(areas, 1)


def classical_labels(
    image: np.ndarray, sigma: float, marker_threshold: float, min_area: float = 0
) -> np.ndarray:
    """Label nuclei of an (H, W, 3) uint8 image without learning: (H, W) int32, 0 = background.

    Otsu's threshold, after a Gaussian blur of `sigma` pixels, makes a one-channel map for `labels_from_maps`.
    The side of the threshold that holds more of the image's outermost pixels is the background.
    """
    grey = gaussian(rgb2gray(image), sigma)
    bright = grey > threshold_otsu(grey)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    foreground = ~bright if border.mean() > 0.5 else bright
    return labels_from_maps(foreground[..., np.newaxis], 0.5, marker_threshold, min_area)
