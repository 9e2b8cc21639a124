"""A network as one compiled function."""

import keras
import numpy as np
import pytest

from nuclei.segmentation.inference import compiled
from nuclei.training.unet import unet


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return unet(channels=2, encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 8, 8))


def test_one_function_for_all_sizes_gives_what_the_network_gives(network):
    rng, run = np.random.default_rng(0), compiled(network)
    for shape in ((1, 32, 64, 3), (3, 64, 32, 3), (1, 96, 96, 3)):
        batch = rng.integers(0, 256, shape).astype(np.uint8)
        maps = run(batch)
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps, np.asarray(network(batch.astype(np.float32))), atol=1e-5)
        each = np.concatenate([run(batch[k : k + 1]) for k in range(len(batch))])
        np.testing.assert_allclose(maps, each, atol=1e-5)


def test_weights_that_change_later_are_used():
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(inputs))
    run, batch = compiled(network), np.ones((1, 32, 32, 3), np.uint8)
    assert (run(batch) == 3).all()
    network.set_weights([2 * w for w in network.get_weights()])
    assert (run(batch) == 6).all()
