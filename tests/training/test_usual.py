import keras
import numpy as np
import pytest

from nuclei import Sample, Segmenter
from nuclei.segmentation.strangeness import strangeness
from nuclei.training.unet import unet
from nuclei.training.usual import fit_usual, learn_usual


def test_images_like_the_training_images_stay_below_the_limit_and_others_exceed_it():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 60))

    def draw(count):
        return rng.normal(size=(count, 5)) @ mixing + 0.1 * rng.normal(size=(count, 60)) + 7

    usual = fit_usual(draw(200), draw(100))
    assert 0.9 <= np.mean([strangeness(each, usual) <= 1 for each in draw(200)]) < 1
    far_in_a_usual_direction, in_an_unusual_one = 7 + 30 * mixing[0], 7 + rng.normal(size=60)
    assert strangeness(far_in_a_usual_direction, usual) > 1 and strangeness(in_an_unusual_one, usual) > 1


def test_a_feature_that_hardly_varied_in_training_does_not_outweigh_all_others():
    rng = np.random.default_rng(0)
    train, validation = rng.normal(size=(50, 60)), rng.normal(size=(10, 60))
    train[:, 7] *= 1e-6
    validation[:, 7] = [0.01, *np.zeros(9)]
    assert 0.5 < np.mean([strangeness(each, fit_usual(train, validation)) for each in validation]) < 1


@pytest.fixture(scope="module")
def segmenter():
    keras.utils.set_random_seed(0)
    network = unet(channels=2, encoder_weights=None, encoder_trainable=True)
    thresholds = {"foreground_threshold": 0.5, "marker_threshold": 0.5}
    return Segmenter(network, {"resize": None, "thresholds": thresholds})


def samples(count, level):
    rng = np.random.default_rng(count)
    images = (rng.normal(level, 20, (96, 96, 3)).clip(0, 255).astype(np.uint8) for _ in range(count))
    return [Sample(str(k), image, np.zeros((96, 96), np.int32)) for k, image in enumerate(images)]


def test_a_segmenter_learns_which_images_are_usual_and_its_folder_keeps_it(segmenter, tmp_path):
    learn_usual(segmenter, samples(12, 60), samples(4, 60))
    usual, strange = samples(1, 60)[0].image, samples(1, 180)[0].image
    known = [segmenter.predict_maps(image).strangeness for image in (usual, strange)]
    assert known[0] < 2 < known[1]
    assert segmenter.predict_maps(strange[:95]).strangeness is None
    loaded = Segmenter.load(segmenter.save(tmp_path / "model"))
    assert np.allclose([loaded.predict(image).strangeness for image in (usual, strange)], known, rtol=0.05)
    (tmp_path / "model" / "usual.npz").write_bytes(b"no arrays")
    with pytest.raises(ValueError, match="model: the model cannot be read"):
        Segmenter.load(tmp_path / "model")


def test_a_segmenter_with_few_training_images_or_that_resizes_them_does_not_learn_it(segmenter):
    resizing = Segmenter(segmenter.network, segmenter.settings | {"resize": 64})
    for each, count in ((segmenter, 4), (resizing, 12)):
        learn_usual(each, samples(count, 60), samples(4, 60))
        assert each.usual is None and each.predict_maps(samples(1, 60)[0].image).strangeness is None
