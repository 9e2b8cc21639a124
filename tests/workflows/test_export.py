"""Exported models, run by onnxruntime and TensorFlow alone, see what the segmenter sees."""

import errno
import os
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from skimage.transform import resize

from nuclei.cli import main
from nuclei.images.intensity import normalize
from nuclei.images.resizing import resize_image
from nuclei.segmentation.segmenter import Segmenter
from nuclei.training.unet import unet
from nuclei.workflows.export import FORMATS, Graph, enlarged, export, mirrored, normalized, resized

SETTINGS = {
    "resize": None,
    "normalize": True,
    "thresholds": {"foreground_threshold": 0.5, "marker_threshold": 0.5, "min_area": 5},
}
SHAPES = [(45, 70), (1, 3), (64, 32), (7, 200)]


def saved(folder, network, **settings):
    history = pd.DataFrame({"epoch": [0]})
    return Segmenter(network, SETTINGS | settings, history=history).save(folder / "model")


@pytest.fixture(scope="module")
def tiny():
    """One layer, quick to export, that sees every pixel: what reaches it wrong shows."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, layers.Conv2D(2, 3, 1, "same", activation="sigmoid")(image / 100 - 1))


@pytest.fixture
def images():
    """Batches of two images, one of them dim, in several odd sizes."""
    rng = np.random.default_rng(0)
    return [(rng.random((2, *shape, 3)) * [[[[30]]], [[[256]]]]).astype(np.uint8) for shape in SHAPES]


def largest_difference(folder, path, format, images):
    """Run the exported model as another program would, and compare."""
    loaded = Segmenter.load(folder)
    segmenter = Segmenter(loaded.model, loaded.settings)  # in 32 bits
    model = onnxruntime.InferenceSession(path) if format == "onnx" else tf.saved_model.load(path)
    differences = []
    for batch in images:
        if format == "onnx":
            (maps,) = model.run(["maps"], {"image": batch})
        else:
            maps = model.signatures["serving_default"](image=tf.constant(batch))["maps"].numpy()
        assert maps.dtype == np.float32
        differences.append(maps - np.stack([segmenter.predict_maps(image, scale=1).maps for image in batch]))
    return max(np.abs(d).max() for d in differences)


def test_an_exported_unet_gives_the_same_maps(tmp_path, images):
    keras.utils.set_random_seed(0)
    network = unet(channels=2, encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 8, 8))
    folder, out = saved(tmp_path, network), tmp_path / "new" / "ü model.onnx"
    assert export(folder, out, "onnx") < 1e-5
    assert largest_difference(folder, out, "onnx", images) < 1e-5
    assert {path.name for path in out.parent.iterdir()} == {out.name, ".written"}, "no temporary file is left"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "settings", [{}, {"normalize": False}, {"resize": 64}, {"resize": 64, "normalize": False}]
)
def test_what_the_segmenter_does_before_and_after_is_inside(tmp_path, images, tiny, settings, format):
    folder, out = saved(tmp_path, tiny, **settings), tmp_path / "out"
    assert export(folder, out, format) < 1e-5
    assert largest_difference(folder, out, format, images) < 1e-5


def test_the_steps_are_those_of_numpy_pillow_and_skimage():
    rng = np.random.default_rng(1)
    for height, width in (*SHAPES, (191, 255), (130, 129)):
        image = rng.gamma(2, 20, (height, width, 3)).clip(0, 255).astype(np.uint8)
        assert np.array_equal(normalized(image[None])[0], normalize(image))
        padding = [(0, -height % 32), (0, -width % 32), (0, 0)]
        assert np.array_equal(mirrored(mirrored(image[None], 1), 2)[0], np.pad(image, padding, "symmetric"))
        squeezed = resized(resized(image[None], 64, 2), 64, 1)[0]
        assert np.array_equal(squeezed, resize_image(image, (64, 64)))
        maps = rng.random((64, 64, 2), np.float32)
        expected = resize(maps, (height, width), order=1, anti_aliasing=False)
        assert np.abs(enlarged(enlarged(maps[None], height, 1), width, 2)[0] - expected).max() < 1e-6


def test_a_constant_image_becomes_black():
    assert not normalized(np.full((1, 5, 4, 3), 77, np.uint8)).numpy().any()


@pytest.mark.parametrize("format", FORMATS)
def test_an_older_export_is_replaced(tmp_path, tiny, images, format):
    folder, out = saved(tmp_path, tiny), tmp_path / "out"
    for _ in range(2):
        export(folder, out, format)
    assert largest_difference(folder, out, format, images[:1]) < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == [".written", "model", "out"]


def test_the_command_line(tmp_path, tiny, capsys):
    folder = saved(tmp_path, tiny, working_diameter=15)
    words = ["export", "--model", folder, "--format", "onnx", "--out", tmp_path / "nuclei.onnx"]
    assert main([str(word) for word in words]) == 0
    printed, told = capsys.readouterr()
    assert f"{tmp_path / 'nuclei.onnx'}: its maps differ from Keras' by at most " in printed
    assert "warning: the model rescales images" in told and "far from 15 pixels wide" in told


# --- bad input ------------------------------------------------------------------------------------------


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert main(["export", "--format", "onnx", "--out", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err == (
        "nuclei: error: onnx needs tf2onnx, not installed: pip install tf2onnx\n"
    )


def test_an_unknown_format(tmp_path, capsys):
    with pytest.raises(ValueError, match="`format` is 'tflite', expected one of onnx, savedmodel"):
        export(tmp_path, tmp_path / "out", "tflite")
    assert main(["export", "--format", "tflite", "--out", "x"]) == 2
    assert "invalid choice: 'tflite'" in capsys.readouterr().err


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder, expected the folder"):
        export(tmp_path / "nowhere", tmp_path / "out", "savedmodel")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_export_stays(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    for format in FORMATS:
        for out in ("thesis.txt", "thesis.txt/new"):
            assert main(["export", "--format", format, "--out", str(tmp_path / out)]) == 2
            assert f"--out {tmp_path / 'thesis.txt'}" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_with_other_things_stays(tmp_path, format):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "saved_model.pb").write_text("precious")
    with pytest.raises(ValueError, match="`out` .*out: "):
        export(tmp_path / "model", tmp_path / "out", format)
    assert (tmp_path / "out" / "saved_model.pb").read_text() == "precious"


def test_an_export_to_which_a_file_was_added_stays(tmp_path, tiny):
    folder, out = saved(tmp_path, tiny), tmp_path / "out"
    export(folder, out, "savedmodel")
    (out / "assets" / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match="not only"):
        export(folder, out, "savedmodel")
    assert (out / "assets" / "notes.txt").read_text() == "precious"


def test_an_export_that_was_changed_stays(tmp_path, tiny):
    folder, out = saved(tmp_path, tiny), tmp_path / "out.onnx"
    export(folder, out, "onnx")
    other = onnx.load_model(out)
    other.doc_string = "quantised"
    onnx.save_model(other, out)
    with pytest.raises(ValueError, match="not .* an earlier export"):
        export(folder, out, "onnx")
    assert onnx.load_model(out).doc_string == "quantised"


@pytest.mark.parametrize("out", ["", "  "])
def test_no_name_for_the_export(out, capsys):
    assert main(["export", "--format", "savedmodel", "--out", out]) == 2
    assert f"--out is {out!r}, expected the name of a file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_reported(tmp_path, tiny, monkeypatch, format, capsys):
    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder, out = saved(tmp_path, tiny), tmp_path / "out"
    monkeypatch.setattr(Graph, "export", full)
    words = ["export", "--model", folder, "--format", format, "--out", out]
    assert main([str(word) for word in words]) == 2
    assert f"--out {out}: cannot be written to (No space left on device)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_model_that_came_out_wrong_is_not_kept(tmp_path, tiny, monkeypatch, format):
    folder, out = saved(tmp_path, tiny, normalize=False), tmp_path / "out"
    export(folder, out, format)
    monkeypatch.setattr(
        Graph, "call", lambda self, image: {"maps": self.network(tf.cast(image, tf.float32)) / 2}
    )
    with pytest.raises(ValueError, match="out: not written, as the exported maps differ .* by 0"):
        export(folder, out, format)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".written", "model", "out"]
