"""How unlike the training images an image is, by the features that the network's encoder finds in it.

A network outlines something in any picture, and may be confident of it. This is an out-of-distribution test:
the means of the encoder's feature maps over an image are compared with those of every training image.
`strangeness` is the distance from the nearest one, as in Sun et al., "Out-of-Distribution Detection with Deep
Nearest Neighbors", ICML 2022, relative to a limit that nearly all validation images stay below.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nuclei.images.resizing import pad_to_stride, rescale_image

if TYPE_CHECKING:
    import keras  # takes seconds to import

SIDE = 512  # pixels; of a larger image, once it is rescaled, the central square of this side is used
LEAST_SIDE = 96  # pixels of the image itself; means over a smaller one vary too much to tell anything


class Usual(NamedTuple):
    """What the encoder finds in N training images: F features, the means of its feature maps.

    Features are standardised by their ``mean`` and ``std``, and projected on the K directions of their
    largest variance, each divided by the standard deviation along it: the rows of ``axes``.
    """

    mean: np.ndarray  # (F,)
    std: np.ndarray  # (F,), above 0
    axes: np.ndarray  # (K, F)
    known: np.ndarray  # (N, K), the training images after that
    limit: np.ndarray  # (), above 0, the distance at which `strangeness` is 1


def encoder_features(network: "keras.Model") -> "keras.Model":
    """Return a network for the features of an image: (B, H, W, 3) float32 0-255 -> (B, F) float32.

    `network` is a `nuclei.training.unet.unet`, of which it shares the encoder.
    """
    import keras
    from keras import layers

    maps = network.get_layer("encoder")(network.get_layer("rescaling")(network.input))
    means = [layers.GlobalAveragePooling2D()(each) for each in maps]
    return keras.Model(network.input, layers.Concatenate(name="features")(means), name="features")


def image_features(encoder: Callable, images: Sequence[np.ndarray], scales: Sequence[float]) -> np.ndarray:
    """Return the mean features, (F,) float64, of an image or of windows spread over it.

    `encoder` is that of `encoder_features`, stored or `compiled`; `images`, (H, W, 3) uint8, have the grey
    values of the training images. Of the `scales` of their maps the largest counts, or 1 where that is above.
    """
    scale = min(1, max(scales))
    side = round(SIDE / scale)
    found = []
    for image in images:
        top, left = (max(0, length - side) // 2 for length in image.shape[:2])
        centre = image[top : top + side, left : left + side]
        batch = pad_to_stride(rescale_image(centre, scale))[None]
        found.append(encoder(batch.astype(np.float32))[0].astype(np.float64))
    return np.mean(found, axis=0)


def strangeness(features: np.ndarray, usual: Usual) -> float:
    """Return how far the features of an image, (F,) floats, are from those of the nearest training image.

    0 is equal to them, 1 the limit, and there is no upper end.
    """
    place = usual.axes @ ((features - usual.mean) / usual.std)
    return float(np.linalg.norm(usual.known - place, axis=1).min() / usual.limit)


def warning(strangeness: float | None, nuclei: int) -> str:
    """Return a warning of an image that is unlike the training images, or "".

    `strangeness` is None where it is not known. An image in which no `nuclei` were found gets no warning.
    """
    if not nuclei or strangeness is None or strangeness <= 1:
        return ""
    return f"unlike the training images: strangeness {strangeness:.2f}, usually below 1; check by eye"
