"""From maps to labels by thresholds and a marker-controlled watershed.

The first map is the foreground, the second is high in each nucleus's inner part and low between nuclei that
touch: see `nuclei.training.targets`. The connected components where the second map is high are markers, and
the foreground is flooded from them. `nuclei.segmentation.candidates` does so at many thresholds.

Reference: Meyer and Beucher, "Morphological Segmentation", Journal of Visual Communication and Image
Representation, 1990.
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
    top_confidence: float | None = None,
    smoothing: float = 0.0,
    keep_unmarked: bool = True,
) -> np.ndarray:
    """Separate nuclei by a marker-controlled watershed, with one marker for each nucleus.

    Parameters
    ----------
    maps : (H, W, 2) or (H, W, 1) array, in 0..1
        A network's prediction: the foreground, and the second map of `interior_target` or
        `distance_target`. Where there is only the foreground, its distance transform takes that place: the
        Euclidean distance to the background, divided by the largest in each connected component.
    foreground_threshold : float
        Foreground strictly above it belongs to a nucleus.
    marker_threshold : float
        The connected components of the foreground in which the second map is strictly above it are markers.
    min_area : int or float
        Pixels, or below 1 a fraction of the median nucleus's area, which suits any magnification: see
        `nuclei.data.labels.smallest_area`. Smaller nuclei are dropped as the last step.
    min_confidence : float
        Nuclei whose `confidence` is lower than this fraction of `top_confidence` are dropped before that.
    top_confidence : float, optional
        The confidence of the most confident nuclei, where the maps are a part of an image; by default
        `most_confident` of the nuclei found in them.
    smoothing : float
        Standard deviation, in pixels, of a Gaussian over the second map as the first step; 0 for none.
    keep_unmarked : bool
        Whether a connected component of the foreground without any marker is one nucleus (small ones often
        stay below the marker threshold) or none.

    Returns
    -------
    (H, W) int32
        0 is background; nuclei have consecutive numbers from 1.

    Raises
    ------
    ValueError
        `maps` has another shape.
    """
    maps = np.asarray(maps, dtype=np.float32)
    if maps.ndim != 3 or maps.shape[-1] not in (1, 2):
        raise ValueError(f"maps have shape {maps.shape}, expected (H, W, 1) or (H, W, 2)")
    foreground = maps[..., 0] > foreground_threshold
    components, count = ndi.label(foreground)
    inner = maps[..., 1] if maps.shape[-1] == 2 else _component_distance(components, count)
    if smoothing:
        inner = ndi.gaussian_filter(inner, smoothing)

    markers, marked_count = ndi.label(foreground & (inner > marker_threshold))
    if keep_unmarked:
        unmarked = np.bincount(components[markers > 0], minlength=count + 1) == 0
        unmarked[0] = False
        rest = unmarked[components]
        markers[rest] = (marked_count + np.cumsum(unmarked))[components[rest]]
    labels = watershed(-inner, markers, mask=foreground)
    if min_confidence:
        confidences = confidence(labels, maps[..., 0])
        top = most_confident(confidences) if top_confidence is None else top_confidence
        labels = _kept(labels, np.append(False, confidences >= min_confidence * top))
    areas = np.bincount(labels.ravel())
    return _kept(labels, areas >= max(smallest_area(areas[1:], min_area), 1))


def _component_distance(components, count):
    """Euclidean distance to the background, divided by the largest of each connected component."""
    if components.all():  # no background to be distant from
        return np.ones(components.shape)
    distance = ndi.distance_transform_edt(components)
    largest = ndi.maximum(distance, components, np.arange(count + 1))
    return distance / np.maximum(largest, 1)[components]


def _kept(labels, kept):
    """Leave only the labels that are `kept`, (N + 1,) bool, and close the gaps between numbers."""
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]


def confidence(labels: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Mean of the foreground in each nucleus: (H, W) labels 0..N, (H, W) in 0..1 -> (N,) float64 in 0..1."""
    areas = np.bincount(labels.ravel())[1:]
    return np.bincount(labels.ravel(), foreground.ravel())[1:] / np.maximum(areas, 1)


def most_confident(confidences: np.ndarray) -> float:
    """(N,) of `confidence` -> its 90th percentile, but at least 0.75; 0.75 without nuclei.

    A network is less confident in images of a kind that it hardly knows, where a fixed limit would drop most
    nuclei. So limits are relative to the most confident ones. Where those are below 0.75, there may be no
    nuclei at all.
    """
    return max(float(np.percentile(confidences, 90)), 0.75) if confidences.size else 0.75


def classical_labels(
    image: np.ndarray, sigma: float, marker_threshold: float, min_area: float = 0
) -> np.ndarray:
    """Label nuclei without learning: Otsu's threshold and a watershed on the distance transform.

    Parameters
    ----------
    image : (H, W, 3) uint8
    sigma : float
        Standard deviation, in pixels, of a Gaussian blur before the threshold.
    marker_threshold, min_area
        As in `labels_from_maps`, which is applied to Otsu's foreground as a one-channel map.

    Returns
    -------
    (H, W) int32
        0 is background.

    Notes
    -----
    Nuclei are bright on dark in fluorescence and dark on bright in stained tissue. The side of the threshold
    that holds more of the image's outermost pixels is the background.
    """
    grey = gaussian(rgb2gray(image), sigma)
    bright = grey > threshold_otsu(grey)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    foreground = ~bright if border.mean() > 0.5 else bright
    return labels_from_maps(foreground[..., np.newaxis], 0.5, marker_threshold, min_area)
