"""What a segmenter returns: the maps of its network, and the nuclei found in them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Maps(NamedTuple):
    """What the network predicts for an image."""

    image: np.ndarray  # (H, W, 3) uint8, with the grey values that the network saw
    maps: np.ndarray  # (H, W, C) float32, 0-1: the foreground, and perhaps a second map of `training.targets`
    scales: Sequence[float] = (1,)  # at which the network ran; the maps are the mean over them
    strangeness: float | None = None  # see `nuclei.segmentation.strangeness`; None where it is not known


class Prediction(NamedTuple):
    """The nuclei of an image, and the `Maps` that they were found in.

    The confidence is the IoU that the IoU network expects, or without one the mean foreground; where the
    settings of the model have a ``calibration``, the probability that the nucleus is right.
    """

    labels: np.ndarray  # (H, W) int32, 0 = background, 1..N = one nucleus each
    confidence: np.ndarray  # (N,) floats, 0-1
    image: np.ndarray
    maps: np.ndarray
    scales: Sequence[float] = (1,)
    strangeness: float | None = None
    diameter: float = 0.0  # pixels of the image, of the median nucleus; 0 without nuclei
