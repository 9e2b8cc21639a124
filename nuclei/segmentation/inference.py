"""A network as one compiled function for images of all sizes."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def compiled(network: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a network on a batch of images: (B, H, W, 3) uint8 -> (B, H, W, C) float32.

    It is traced once, for all sizes, when it is first called; results differ from the network's own by
    rounding. A function that is not a Keras model is called without compilation.
    """
    if not isinstance(network, keras.Model):
        return lambda batch: np.asarray(network(batch.astype(np.float32), training=False))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
    def run(batch):
        return network(tf.cast(batch, tf.float32), training=False)

    return lambda batch: run(tf.constant(batch)).numpy()
