import numpy as np
import pytest
from skimage import data

from nuclei import DEFAULT_MODEL, Segmenter, load_samples
from nuclei.segmentation import strangeness
from nuclei.segmentation.strangeness import Usual, image_features


def test_strangeness_is_the_distance_from_the_nearest_training_image_relative_to_the_limit():
    axes, known = np.array([[0.5, 0.0]]), np.array([[0.0], [10.0]])
    usual = Usual(np.ones(2), np.array([2.0, 1.0]), axes, known, np.array(4.0))
    assert strangeness.strangeness(np.array([13.0, 99.0]), usual) == 3 / 4, (
        "its place is 3, that of 0 nearest"
    )
    assert strangeness.strangeness(np.array([33.0, 0.0]), usual) == 2 / 4, (
        "its place is 8, that of 10 nearest"
    )
    assert strangeness.strangeness(np.ones(2), usual) == 0


def test_features_are_of_the_centre_at_the_scale_of_the_network_and_the_mean_over_windows():
    shapes = []

    def network(batch):
        shapes.append(batch.shape)
        return batch.mean(axis=(1, 2))

    image = np.zeros((3000, 700, 3), np.uint8)
    image[1500 - 1024 : 1500 + 1024] = 100  # the centre, from which 512 pixels remain at a quarter
    assert image_features(network, [image], [1 / 8, 1 / 4]).tolist() == [100] * 3
    assert shapes == [(1, 512, 192, 3)]  # 175 columns, filled up
    two = [np.full((40, 40, 3), level, np.uint8) for level in (10, 30)]
    assert image_features(network, two, [1, 4 / 3]).tolist() == [20] * 3
    assert image_features(network, [two[0][:1, :1]], [1 / 16]).tolist() == [10] * 3


@pytest.mark.parametrize(
    ("value", "nuclei", "warned"), [(1.0, 5, False), (1.2, 5, True), (1.2, 0, False), (None, 5, False)]
)
def test_what_is_beyond_the_limit_is_warned_of_where_nuclei_were_found(value, nuclei, warned):
    assert bool(strangeness.warning(value, nuclei)) is warned


def test_the_default_model_knows_coins_and_letters_from_nuclei():
    segmenter = Segmenter.load(DEFAULT_MODEL)
    tiles = [s for s in load_samples("sample") if not s.id.startswith("synthetic")]
    for picture in (data.coins, data.page, data.text):
        assert segmenter.predict_maps(picture()).strangeness > 1
    assert max(segmenter.predict_maps(s.image).strangeness for s in tiles) < 1
