import keras
import numpy as np
import pandas as pd
import pytest

from nuclei.instances import labels_from_maps
from nuclei.model import unet
from nuclei.segmenter import FILES, Segmenter

THRESHOLDS = {"foreground_threshold": 0.5, "marker_threshold": 0.5, "min_area": 5}


@pytest.fixture(scope="module")
def segmenter():
    keras.utils.set_random_seed(0)
    network = unet(encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 8, 8))
    history = pd.DataFrame({"epoch": [0, 1], "val_accuracy": [0.5, 0.75]})
    split = {"train": ["a", "b"], "validation": ["c"]}
    return Segmenter(network, {"resize": None, "thresholds": THRESHOLDS}, split, history)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (45, 70, 3)).astype(np.uint8)


@pytest.mark.parametrize("resize", [None, 64])
def test_maps_have_the_size_of_any_image(segmenter, image, resize):
    maps = Segmenter(segmenter.model, {"resize": resize, "thresholds": THRESHOLDS}).maps(image)
    assert maps.shape == (45, 70, 1) and maps.dtype == np.float32
    assert 0 <= maps.min() and maps.max() <= 1


def test_grey_and_transparent_images_are_fine_too(segmenter, image):
    grey = image[..., 0]
    expected = segmenter.maps(grey[..., None].repeat(3, axis=-1))
    assert np.array_equal(segmenter.maps(grey), expected)
    opaque = np.full((45, 70, 1), 255, np.uint8)
    assert np.array_equal(segmenter.maps(np.concatenate([image, opaque], axis=-1)), segmenter.maps(image))


def test_an_image_of_the_right_size_goes_through_untouched(segmenter, image):
    image = image[:32, :64]
    expected = np.asarray(segmenter.model(image[None].astype(np.float32)))[0]
    assert np.array_equal(segmenter.maps(image), expected)


def test_labels_follow_the_thresholds(segmenter, image):
    maps = segmenter.maps(image)
    thresholds = THRESHOLDS | {"foreground_threshold": float(np.median(maps))}
    labels = Segmenter(segmenter.model, {"resize": None, "thresholds": thresholds}).labels(image)
    assert np.array_equal(labels, labels_from_maps(maps, **thresholds))
    assert labels.max() > 0 and np.bincount(labels.ravel())[1:].min() >= 5


def brightness(batch, training=False):
    """A stand-in for a network: nucleus is what is bright. It notes the sizes it is shown."""
    brightness.seen.append(batch.shape[1:3])
    return batch[..., :1] / 255


@pytest.mark.parametrize("side, seen", [(8, [(64, 64), (128, 128)]), (20, [(64, 64)])])
def test_small_nuclei_are_looked_at_again_at_twice_the_scale(side, seen):
    image = np.zeros((64, 64, 3), np.uint8)
    image[10 : 10 + side, 30 : 30 + side] = 255
    brightness.seen = []
    found = Segmenter(brightness, {"resize": None, "rescale_below": 15, "thresholds": THRESHOLDS})
    assert np.array_equal(found.labels(image) > 0, image[..., 0] > 0)
    assert brightness.seen == seen


def test_an_empty_image_is_looked_at_once():
    brightness.seen = []
    found = Segmenter(brightness, {"resize": None, "rescale_below": 15, "thresholds": THRESHOLDS})
    assert found.labels(np.zeros((40, 40, 3), np.uint8)).max() == 0 and len(brightness.seen) == 1


def test_a_saved_model_is_the_same_model(segmenter, image, tmp_path):
    folder = segmenter.save(tmp_path / "models" / "first")
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert [p.name for p in folder.parent.iterdir()] == ["first"], "no temporary folder is left"
    loaded = Segmenter.load(folder)
    assert np.array_equal(loaded.maps(image), segmenter.maps(image))
    assert loaded.settings == segmenter.settings and loaded.split == segmenter.split
    pd.testing.assert_frame_equal(loaded.history, segmenter.history)


def test_the_optimizer_is_not_saved(segmenter, tmp_path):
    without = (segmenter.save(tmp_path / "a") / "model.keras").stat().st_size
    segmenter.model.compile("adam", loss="binary_crossentropy")
    segmenter.model.train_on_batch(np.zeros((1, 32, 32, 3)), np.zeros((1, 32, 32, 1)))
    assert (segmenter.save(tmp_path / "b") / "model.keras").stat().st_size < 1.1 * without


def test_a_failed_save_leaves_the_old_model(segmenter, tmp_path, monkeypatch):
    folder = segmenter.save(tmp_path / "model")
    (folder / "README.md").write_text("a model card")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", full)
        with pytest.raises(OSError, match="No space left"):
            segmenter.save(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    Segmenter.load(folder)
    segmenter.save(folder)
    assert (folder / "README.md").read_text() == "a model card", "the card survives a new model"


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_lacks_a_file(segmenter, tmp_path, name):
    folder = segmenter.save(tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"model: not a whole model folder, {name} missing"):
        Segmenter.load(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: not a whole model folder"):
        Segmenter.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.keras", "settings.json", "split.json"])
def test_a_broken_file(segmenter, tmp_path, name):
    folder = segmenter.save(tmp_path / "model")
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(ValueError, match="model: the model cannot be read"):
        Segmenter.load(folder)


def test_a_folder_without_thresholds(segmenter, tmp_path):
    folder = Segmenter(segmenter.model, {"resize": None}, history=segmenter.history).save(tmp_path / "model")
    with pytest.raises(ValueError, match="settings.json: no 'thresholds'"):
        Segmenter.load(folder)
