import json
import re
import shutil
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage as ndi

from nuclei.common import ROOT, write_json
from nuclei.segmentation import candidates
from nuclei.segmentation.model_folder import FILES, IOU_FILE, check_replaceable, save_network
from nuclei.segmentation.scale import median_diameter
from nuclei.segmentation.segmenter import Maps, Segmenter
from nuclei.segmentation.watershed import confidence, labels_from_maps
from nuclei.training.iou_network import iou_network
from nuclei.training.unet import unet

THRESHOLDS = {"foreground_threshold": 0.5, "marker_threshold": 0.5, "min_area": 5}


def maps_of(segmenter, image, **options):
    return segmenter.predict_maps(image, **options).maps


@pytest.fixture(scope="module")
def segmenter():
    keras.utils.set_random_seed(0)
    network = unet(encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 8, 8))
    history = pd.DataFrame({"epoch": [0, 1], "val_accuracy": [0.5, 0.75]})
    split = {"train": ["a", "b"], "validation": ["c"]}
    return Segmenter(network, {"resize": None, "thresholds": THRESHOLDS}, split, history)


@pytest.fixture(scope="module")
def saved(segmenter, tmp_path_factory):
    return segmenter.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def folder(saved, tmp_path):
    """A model's folder, to be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (45, 70, 3)).astype(np.uint8)


@pytest.mark.parametrize("resize", [None, 64])
def test_maps_have_the_size_of_any_image(segmenter, image, resize):
    maps = maps_of(Segmenter(segmenter.model, {"resize": resize, "thresholds": THRESHOLDS}), image)
    assert maps.shape == (45, 70, 1) and maps.dtype == np.float32
    assert 0 <= maps.min() and maps.max() <= 1


def test_grey_and_transparent_images_are_fine_too(segmenter, image):
    grey = image[..., 0]
    expected = maps_of(segmenter, grey[..., None].repeat(3, axis=-1))
    assert np.array_equal(maps_of(segmenter, grey), expected)
    opaque = np.full((45, 70, 1), 255, np.uint8)
    assert np.array_equal(
        maps_of(segmenter, np.concatenate([image, opaque], axis=-1)), maps_of(segmenter, image)
    )


def test_an_image_of_the_right_size_goes_through_untouched(segmenter, image):
    image = image[:32, :64]
    expected = np.asarray(segmenter.model(image[None].astype(np.float32)))[0]
    np.testing.assert_allclose(maps_of(segmenter, image), expected, atol=1e-5)


def test_labels_follow_the_thresholds(segmenter, image):
    maps = maps_of(segmenter, image)
    thresholds = THRESHOLDS | {"foreground_threshold": float(np.median(maps))}
    labels = Segmenter(segmenter.model, {"resize": None, "thresholds": thresholds})(image)
    assert np.array_equal(labels, labels_from_maps(maps, **thresholds))
    assert labels.max() > 0 and np.bincount(labels.ravel())[1:].min() >= 5


@pytest.fixture
def chooser():
    """A segmenter that takes the largest candidates, and sees nuclei where an image is bright."""
    area = candidates.FEATURES.index("log_area")

    def by_area(features, training):
        return 1 - 1 / np.maximum(features[:, [area]], 1)

    found = Segmenter(bright, {"resize": None, "thresholds": {"min_iou": 0.5}})
    found.iou_network = by_area
    return found


def test_the_mean_of_all_members_rates_candidates(chooser):
    predicted = chooser.predict(spots(64, 9, 4))
    found, ious = chooser.candidates(predicted)
    by_area = chooser.iou_network
    chooser.iou_network = lambda *args, **options: by_area(*args, **options) * np.float32([0.25, 0.75])
    again, halves = chooser.candidates(predicted)
    assert ious.size and np.allclose(halves, ious / 2) and halves.shape == (len(again.starts),)


def test_nuclei_are_chosen_among_candidates(chooser):
    image = spots(64, 9, 16)
    image[20:29, 20:60] //= 2  # dimmer ones, that the lower levels see alone
    predicted = chooser.predict(image)
    labels, count = predicted.labels, predicted.labels.max()
    found, ious = chooser.candidates(predicted)
    expected, kept = candidates.suppress_overlaps(found, ious, 0.5)
    assert np.array_equal(labels, expected) and count >= 16 and np.array_equal(chooser(image), labels)
    assert np.array_equal(predicted.confidence, kept) and (kept > 0.5).all()
    assert predicted.diameter == median_diameter(labels) > 0
    assert np.array_equal(chooser.label(predicted, min_iou=1.0).labels, 0 * labels)
    chooser.settings["calibration"] = {"confidence": [0, 1], "probability": [0, 0.5]}
    assert np.allclose(chooser.label(predicted).confidence, kept / 2)
    assert np.array_equal(chooser(image), labels)
    half = {"thresholds": {"min_iou": 1.0}, "images": ["a", "source/c"]}
    chooser.settings["cross_tuned"] = [half]
    assert [chooser.unbiased(predicted, id).labels.max() for id in "abc"] == [0, count, 0]
    half |= {"thresholds": {"min_iou": 0.5}, "calibration": {"confidence": [0, 1], "probability": [0, 0.25]}}
    assert np.allclose(chooser.unbiased(predicted, "a").confidence, kept / 4)


def test_without_an_iou_network_the_confidence_is_the_mean_foreground(segmenter, image):
    thresholds = THRESHOLDS | {"foreground_threshold": 0.45}
    predicted = Segmenter(bright, {"resize": None, "thresholds": thresholds}).predict(image)
    assert predicted.confidence.size == predicted.labels.max() > 0
    assert np.allclose(predicted.confidence, confidence(predicted.labels, image[..., 0] / 255))


def test_grey_levels_are_those_that_the_model_knows(segmenter, image):
    dim = image // 4
    assert np.array_equal(segmenter.predict(dim).image, dim)
    stretched = Segmenter(segmenter.model, segmenter.settings | {"normalize": True}).predict(dim).image
    assert stretched.max() == 255 and stretched.dtype == np.uint8 and stretched.shape == image.shape


def brightness(batch, training=False):
    """A stand-in for a network: nucleus is what is bright. It notes the sizes it is shown."""
    brightness.seen.append(batch.shape[1:3])
    return batch[..., :1] / 255


@pytest.mark.parametrize(
    "side, scales",
    [(5, [3 / 2]), (10, [1, 4 / 3]), (20, [3 / 4, 1]), (30, [3 / 8, 3 / 4]), (60, [1 / 4, 1 / 2])],
)
def test_small_and_large_nuclei_are_found_at_other_scales(side, scales):
    image = np.zeros((128, 128, 3), np.uint8)
    image[10 : 10 + side, 30 : 30 + side] = 255
    brightness.seen = []
    found = Segmenter(brightness, {"resize": None, "working_diameter": 15, "thresholds": THRESHOLDS})
    predicted = found.predict(image)
    assert np.mean((predicted.labels > 0) != (image[..., 0] > 0)) < 0.01 and predicted.labels.max() == 1
    assert predicted.scales == scales
    extra = {
        5: [(192, 192)],
        10: [(160, 192)],  # the nucleus and 96 pixels around it: rows 0 to 120, all columns; padded
        20: [(96, 96)],
        30: [(64, 64), (96, 96)],
        60: [(32, 32)],
    }
    assert brightness.seen == [(128, 128), (64, 64), *extra.get(side, [])], "each scale is run once"
    assert np.allclose(predicted.maps, found.multiscale_maps(image, scales))
    found.settings["working_diameter"] = 0
    assert found.predict(image).scales == [1]


def flat_beyond(largest):
    """A stand-in for a network that is blind to nuclei larger than it knows: those become background."""

    def network(batch, training=False):
        grey = np.asarray(batch)[0, ..., 0] / 255
        parts, _ = ndi.label(grey > 0.5)
        sides = np.sqrt(np.bincount(parts.ravel()))
        return np.where(sides[parts] > largest, 0, grey)[np.newaxis, ..., np.newaxis].astype(np.float32)

    return network


@pytest.mark.parametrize("side, scales", [(20, [3 / 4, 1]), (90, [3 / 16, 3 / 8]), (150, [1 / 8, 1 / 4])])
def test_nuclei_that_the_network_cannot_see_at_native_scale_are_found(side, scales):
    image = spots(640, side, round(1.8 * side))
    settings = {"resize": None, "working_diameter": 20, "diameters": [5, 60], "thresholds": THRESHOLDS}
    found = Segmenter(flat_beyond(60), settings)
    predicted = found.predict(image)
    assert predicted.scales == scales
    windows = [image[:320], image[320:]]
    assert found.find_scales(windows) == found.find_scales([image]) == scales


def test_the_maps_of_two_scales_are_averaged():
    image = np.zeros((64, 64, 3), np.uint8)
    image[10:18, 30:38] = 255
    found = Segmenter(brightness, {"resize": None, "working_diameter": 15, "thresholds": THRESHOLDS})
    once, twice = (maps_of(found, image, scale=scale) for scale in (1, 4 / 3))
    assert not np.allclose(once, twice)
    assert np.allclose(maps_of(found, image), (once + twice) / 2)


def test_an_image_without_nuclei_stays_at_native_scale():
    found = Segmenter(brightness, {"resize": None, "working_diameter": 15, "thresholds": THRESHOLDS})
    for side, passes in ((40, [40]), (300, [300, 75])):
        brightness.seen = []
        predicted = found.predict(np.zeros((side, side, 3), np.uint8))
        assert predicted.labels.max() == 0 and predicted.scales == [1]
        assert [seen[0] for seen in brightness.seen] == [-(-size // 32) * 32 for size in passes]


def test_a_saved_model_is_the_same_model(segmenter, image, tmp_path):
    folder = segmenter.save(tmp_path / "models" / "first")
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert [p.name for p in folder.parent.iterdir()] == ["first"], "no temporary folder is left"
    loaded = Segmenter.load(folder)
    assert np.allclose(maps_of(loaded, image), maps_of(segmenter, image), atol=2e-3), "kernels are rounded"
    assert loaded.settings == segmenter.settings and loaded.split == segmenter.split
    pd.testing.assert_frame_equal(loaded.history, segmenter.history)


def test_the_iou_network_is_saved_too(tmp_path):
    features = np.random.default_rng(0).random((50, len(candidates.FEATURES)), dtype=np.float32)
    settings = {"resize": None, "thresholds": {"min_iou": 0.5}}
    network = unet(channels=2, encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 8, 8))
    one = Segmenter(network, settings, iou_network=iou_network(features))
    one.iou_network.compile("adam", loss="binary_crossentropy")
    folder = one.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="settings.json: no 'calibration'.*Train it again"):
        loaded = Segmenter.load(folder)
    for network in (one.iou_network, loaded.iou_network):
        expected = np.asarray(one.iou_network(features, training=False))
        np.testing.assert_allclose(np.asarray(network(features, training=False)), expected, atol=2e-3)
    for wrong in ({}, {"min_iou": "0.5"}):
        write_json(folder / "settings.json", settings | {"thresholds": wrong})
        with pytest.raises(ValueError, match="settings.json: 'min_iou' among the thresholds is"):
            Segmenter.load(folder)
    write_json(folder / "settings.json", settings)
    (folder / IOU_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=f"{IOU_FILE} missing, the network that rates"):
        Segmenter.load(folder)
    (folder / IOU_FILE).write_bytes(b"no model")
    with pytest.raises(ValueError, match="model: the model cannot be read"):
        Segmenter.load(folder)


def test_kernels_are_16_bit_on_disk_and_32_bit_in_memory(segmenter, tmp_path):
    bare = keras.Model(segmenter.model.input, segmenter.model.output)
    bare.save(tmp_path / "whole.keras")
    file = segmenter.save(tmp_path / "model") / "model.keras"
    assert file.stat().st_size < 0.6 * (tmp_path / "whole.keras").stat().st_size
    loaded = Segmenter.load(tmp_path / "model")
    for before, after in zip(bare.variables, loaded.model.variables, strict=True):
        value = before.numpy()
        value = value.astype(np.float16).astype(np.float32) if value.ndim > 1 else value
        assert after.dtype == "float32" and np.array_equal(after.numpy(), value)
    again = loaded.save(tmp_path / "again")
    for before, after in zip(loaded.model.variables, Segmenter.load(again).model.variables, strict=True):
        assert np.array_equal(after.numpy(), before.numpy()), "a second save rounds nothing"


def test_what_16_bits_cannot_hold_stays_32_bit(tmp_path):
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    kernel = np.array([[1e6, 0.1], [3, 4]], np.float32)
    network.get_layer("dense").set_weights([kernel, np.array([1e-12, 7], np.float32)])
    save_network(network, tmp_path / "large.keras")
    loaded = keras.saving.load_model(tmp_path / "large.keras")
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), network.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["baseline", "general"])
def test_shipped_models_have_32_bit_weights_in_memory_and_todays_format(name, recwarn):
    assert Segmenter.load(ROOT / "saved_model" / name).model.variables[0].dtype == "float32"
    assert not [each for each in recwarn if "settings.json" in str(each.message)]


def test_a_former_format_that_enlarged_small_nuclei_otherwise(folder):
    settings = json.loads((folder / "settings.json").read_text())
    write_json(folder / "settings.json", settings | {"rescale_below": 0})
    Segmenter.load(folder)  # it enlarged none
    write_json(folder / "settings.json", settings | {"rescale_below": 25})
    with pytest.raises(ValueError, match="settings.json: 'rescale_below' is 25.*'working_diameter'.*Train"):
        Segmenter.load(folder)


def test_a_model_without_a_history_can_be_saved(segmenter, tmp_path):
    folder = Segmenter(segmenter.model, segmenter.settings).save(tmp_path / "bare")
    assert Segmenter.load(folder).history.empty


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
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (folder / "README.md").read_text() == "a model card", "the card survives a new model"


def test_a_folder_with_other_files_is_not_replaced(segmenter, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds notes.txt, expected a new folder"):
        segmenter.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_model_of_other_data_is_not_replaced(segmenter, tmp_path):
    segmenter.settings["parameters"] = {"data": "stain_a"}
    folder = segmenter.save(tmp_path / "model")
    check_replaceable(folder, "stain_a")
    check_replaceable(tmp_path / "new", "stain_b")
    with pytest.raises(ValueError, match="other data .stain_a, now stain_b"):
        check_replaceable(folder, "stain_b")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_lacks_a_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"model: not a complete model folder, {name} missing"):
        Segmenter.load(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        Segmenter.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.keras", "settings.json", "split.json"])
def test_a_broken_file(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    expected = "damaged" if name.endswith("keras") else ""
    with pytest.raises(ValueError, match=f"model: the model cannot be read.*{expected}"):
        Segmenter.load(folder)


def test_a_folder_without_thresholds(segmenter, tmp_path):
    folder = Segmenter(segmenter.model, {"resize": None}, history=segmenter.history).save(tmp_path / "model")
    with pytest.raises(ValueError, match="settings.json: no 'thresholds'"):
        Segmenter.load(folder)
    write_json(folder / "settings.json", {"resize": None, "thresholds": {"foreground_threshold": 0.5}})
    with pytest.raises(ValueError, match="'marker_threshold' among the thresholds is None, expected a num"):
        Segmenter.load(folder)


@pytest.mark.parametrize(
    "settings",
    [
        [],
        None,
        {"resize": "large"},
        {"resize": 0},
        {"resize": -128},
        {"working_diameter": -25},
        {"working_diameter": float("nan")},
        {"thresholds": {"foreground_threshold": 0.5, "marker_threshold": 50}},
        {"thresholds": [0.5]},
        {"thresholds": None},
        {"thresholds": {"foreground_threshold": 0.5, "marker_threshold": True}},
        {"normalize": "yes"},
        {"thresholds": THRESHOLDS | {"other": 0.3}},
        {"thresholds": THRESHOLDS | {"min_area": -1}},
        {"resize": 100},
        {"diameters": 10},
        {"diameters": [7]},
        {"diameters": ["a", "b"]},
        {"diameters": [80, 7]},
        {"calibration": {"confidence": [0.1, 0.2]}},
        {"calibration": {"confidence": ["a"], "probability": ["b"]}},
        {"calibration": {"confidence": [0.1, 0.2], "probability": [0.5]}},
        {"calibration": {"confidence": [0.2, 0.1], "probability": [0.5, 0.6]}},
        {"calibration": {"confidence": [0.1], "probability": [float("nan")]}},
        {"cross_tuned": {"images": []}},
        {"cross_tuned": [{"images": [], "thresholds": None}]},
    ],
)
def test_damaged_settings(folder, settings):
    whole = json.loads((folder / "settings.json").read_text())
    write_json(folder / "settings.json", whole | settings if isinstance(settings, dict) else settings)
    with pytest.raises(ValueError, match="settings.json: .* expected .* Restore the file"):
        Segmenter.load(folder)


@pytest.mark.parametrize(
    "name, file",
    [("model.keras", "baseline/model.keras"), ("model.keras", "general/iou.keras")]
    + [("iou.keras", "general/model.keras")],
)
def test_a_network_of_another_model(name, file, tmp_path):
    folder = shutil.copytree(ROOT / "saved_model" / "general", tmp_path / "model")
    (folder / "usual.npz").unlink()
    shutil.copy(ROOT / "saved_model" / file, folder / name)
    with pytest.raises(ValueError, match=f"{name}: a network with .* expected"):
        Segmenter.load(folder)


@pytest.mark.parametrize(
    "change",
    [{"mean": np.zeros(100)}, {"limit": np.array(np.nan)}, {"limit": np.array(0.0)}, {"std": np.zeros(1328)}]
    + [{"known": np.zeros(100)}, {"known": np.zeros((0, 100))}, {"known": np.zeros((5, 100, 2))}],
)
def test_features_of_another_model(change, tmp_path):
    folder = shutil.copytree(ROOT / "saved_model" / "general", tmp_path / "model")
    with np.load(folder / "usual.npz") as arrays:
        changed = {**arrays} | change
    np.savez(folder / "usual.npz", **changed)
    with pytest.raises(ValueError, match="usual.npz: .* expected .* 1328 features"):
        Segmenter.load(folder)


def test_features_of_a_former_format_are_left_out_with_a_warning(tmp_path):
    folder = shutil.copytree(ROOT / "saved_model" / "general", tmp_path / "model")
    np.savez(folder / "usual.npz", mean=np.zeros(1328), variances=np.ones(40))
    with pytest.warns(UserWarning, match="usual.npz: a former format"):
        segmenter = Segmenter.load(folder)
    assert segmenter.predict_maps(np.zeros((96, 96, 3), np.uint8)).strangeness is None


@pytest.mark.parametrize(
    "split",
    [
        *([], None, {"train": ["a"]}, {"train": "a", "validation": ["b"]}),
        {"train": [], "validation": [], "train_pixels": 1},
    ],
)
def test_a_damaged_split(folder, split):
    write_json(folder / "split.json", split)
    with pytest.raises(ValueError, match="split.json: .* expected"):
        Segmenter.load(folder)


def test_settings_that_are_null(folder, image):
    settings = json.loads((folder / "settings.json").read_text())
    nothing = dict.fromkeys(("resize", "normalize", "diameters", "calibration", "cross_tuned"))
    write_json(folder / "settings.json", settings | nothing | {"working_diameter": 20})
    segmenter = Segmenter.load(folder)
    assert segmenter.unbiased(segmenter.predict_maps(image), "a").labels.shape == image.shape[:2]


def bright(batch, training=False):
    """A stand-in for a network: both maps are the brightness."""
    return np.repeat(np.asarray(batch)[..., :1] / 255, 2, axis=-1)


def spots(side, size, step):
    image = np.zeros((side, side, 3), np.uint8)
    for top in range(step // 4, side - size, step):
        for left in range(step // 4, side - size, step):
            image[top : top + size, left : left + size] = 255
    return image


def test_a_scale_changes_what_the_model_sees_but_not_the_size_of_the_maps():
    brightness.seen = []
    image = spots(64, 8, 24)
    found = Segmenter(brightness, {"resize": None, "working_diameter": 99, "thresholds": THRESHOLDS})
    assert maps_of(found, image, scale=2).shape == maps_of(found, image, scale=0.5).shape == (64, 64, 1)
    assert brightness.seen == [(128, 128), (32, 32)]
    assert maps_of(found, image, scale=np.float32(0.5)).shape == (64, 64, 1)
    for wrong in (0, -1, np.inf, "large", None):
        with pytest.raises(ValueError, match="`scale` is .*, expected a number above 0"):
            maps_of(found, image, scale=wrong)
    found.settings["resize"] = 64
    with pytest.raises(ValueError, match="`scale` is 2, but this model resizes every image to 64 x 64"):
        maps_of(found, image, scale=2)


def test_mirror_images_are_averaged(segmenter, image):
    image = image[:32, :64]
    each = [maps_of(segmenter, image[::a, ::b])[::a, ::b] for a in (1, -1) for b in (1, -1)]
    assert np.allclose(maps_of(segmenter, image, augment=True), np.mean(each, axis=0), atol=1e-6)
    assert not np.allclose(maps_of(segmenter, image), np.mean(each, axis=0), atol=1e-6)


def test_a_dim_image_is_as_good_as_a_bright_one_where_it_is_normalized():
    image = spots(64, 8, 24)
    settings = {"resize": None, "normalize": True, "thresholds": THRESHOLDS}
    assert np.array_equal(Segmenter(bright, settings)(image // 16 + 3), Segmenter(bright, settings)(image))
    assert Segmenter(bright, settings | {"normalize": False})(image // 16 + 3).max() == 0


@pytest.mark.parametrize("size, scale, told", [(8, 1, "8|9"), (16, 1, None), (8, 2, None), (30, 1, "34")])
def test_nuclei_of_a_size_it_does_not_know_are_told(size, scale, told):
    settings = {"resize": None, "thresholds": THRESHOLDS, "diameters": [12, 25]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Segmenter(bright, settings).predict(spots(128, size, 48), scale=scale)
    assert bool(caught) == bool(told)
    if told:
        assert re.search(f"({told}) pixels wide.*12 to 25 pixels.*scale of about", str(caught[0].message))


def test_validation_images_are_labelled_with_thresholds_they_did_not_choose():
    halves = [
        {"thresholds": THRESHOLDS | {"foreground_threshold": value}, "images": [id]}
        for value, id in ((0.2, "a"), (0.8, "b"))
    ]
    halves[0]["images"].append("other/b")
    found = Segmenter(bright, {"resize": None, "thresholds": THRESHOLDS, "cross_tuned": halves})
    maps = Maps(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 2), 0.6, np.float32))
    ids = ("a", "b", "other/b", "c", "source/b", "source/cb")
    assert [found.unbiased(maps, id).labels.max() for id in ids] == [1, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("diameter, fits", [(0, True), (5, False), (8, True), (20, True), (30, False)])
def test_a_size_is_known_that_was_learned_at_one_of_the_scales(recwarn, diameter, fits):
    found = Segmenter(brightness, {"resize": None, "thresholds": THRESHOLDS, "diameters": [12, 25]})
    found.check_size(diameter, [1, 2])
    assert (not recwarn) is fits
    assert fits or "at a scale of 1 and 2; the model was trained on 12 to 25" in str(recwarn[0].message)
