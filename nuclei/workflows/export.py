"""A trained model as a file for other programs, including all steps before and after the network.

The graph maps ``image``, (B, H, W, 3) uint8 of any size, to ``maps``, (B, H, W, C) float32 0-1: the maps of a
`Segmenter` at a scale of 1. NumPy, Pillow and scikit-image cannot be part of a graph, so what they do for the
segmenter is implemented here again, in TensorFlow operations that ONNX has too.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from skimage.data import immunohistochemistry

from nuclei.common import checked_path, model_folder, naming_output, output_folder, quiet
from nuclei.images.tiles import STRIDE
from nuclei.output.written import Written
from nuclei.segmentation.segmenter import Segmenter

FORMATS = {"onnx": ("tf2onnx", "onnxruntime"), "savedmodel": ()}
"""The formats, and the packages that each needs beyond those of the project."""

TOLERANCE = 1e-3
"""Of the maps, 0-1. Sums of float32 in another order moved the baseline's by 2e-5, one grey level by 0.04."""


def export(model: str | Path, out: str | Path, format: str) -> float:
    """Write a trained model to the file (ONNX) or folder (SavedModel) `out`, if its maps are the same.

    An earlier export there is replaced, nothing else; a hidden file beside it, ``.written``, has its
    checksums. Returns the largest difference between the maps of the exported and of the original model, on a
    real image whose sides are no multiples of 32.

    Raises FileNotFoundError, ModuleNotFoundError or OSError where the model or a package is missing or `out`
    cannot be written; ValueError for an unknown format, a broken model, something else at `out`, or maps that
    differ by more than `TOLERANCE`. `out` is then what it was before. Warns where the segmenter rescales
    images with small or large nuclei (``working_diameter`` in the settings): the graph does not. Nor does it
    leave outliers and edges out of the contrast, as `nuclei.images.intensity.normalize` does. Its memory
    grows with the image, to which it is applied as a whole.
    """
    out = checked_path("out", out)
    _check(out, format)
    loaded = Segmenter.load(model_folder(model))
    segmenter = Segmenter(loaded.model, loaded.settings)  # with Keras' own maps, in 32 bits
    if diameter := segmenter.settings.get("working_diameter"):
        warnings.warn(
            f"the model rescales images whose median nucleus is far from {diameter} pixels wide; the export "
            "does not, so rescale such images before",
            stacklevel=2,
        )
    with naming_output(out), Written(out.parent).replacing(out) as temporary:
        _write(segmenter, temporary, format)
        difference = _difference(segmenter, temporary, format)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{out}: not written, as the exported maps differ from the model's by {difference:.2g}, "
                f"expected at most {TOLERANCE:g}; try other versions of TensorFlow or tf2onnx"
            )
    return difference


class Graph(keras.Model):
    """All steps of a segmenter from image to maps: (B, H, W, 3) uint8 -> {"maps": (B, H, W, C) float32}."""

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.network = segmenter.model
        self.stretch = segmenter.settings.get("normalize", False)
        self.side = segmenter.settings["resize"]
        self.built = True  # as its network is; Keras refuses to export a model that never ran

    def call(self, image):
        height, width = (tf.shape(image)[axis] for axis in (1, 2))
        if self.stretch:
            image = normalized(image)
        if self.side:
            image = resized(resized(image, self.side, axis=2), self.side, axis=1)
        rows, columns = (tf.shape(image)[axis] for axis in (1, 2))
        padded = mirrored(mirrored(image, axis=1), axis=2)
        maps = self.network(tf.cast(padded, tf.float32), training=False)[:, :rows, :columns]
        if self.side:
            maps = enlarged(enlarged(maps, height, axis=1), width, axis=2)
        return {"maps": maps}


def normalized(image):
    """(B, H, W, 3) uint8 -> the same, each image stretched as `nuclei.images.intensity.normalize` does."""
    values = tf.sort(tf.reshape(tf.cast(image, tf.float32), (tf.shape(image)[0], -1)), axis=1)

    def percentile(q):  # (B, 1, 1, 1), linear between neighbours in the order of size
        place = tf.cast(tf.shape(values)[1] - 1, tf.float64) * (q / 100)  # float32 cannot count so many
        below = tf.floor(place)
        neighbours = tf.cast(tf.stack([below, tf.math.ceil(place)]), tf.int32)
        low, high = tf.unstack(tf.cast(tf.gather(values, neighbours, axis=1), tf.float64), axis=1)
        return tf.reshape(low + (high - low) * (place - below), (-1, 1, 1, 1))

    low, high = percentile(1), percentile(99.8)
    image = (tf.cast(image, tf.float64) - low) / tf.maximum(high - low, 1e-6)
    return tf.cast(tf.round(tf.clip_by_value(image, 0, 1) * 255), tf.uint8)


def mirrored(image, axis):
    """Pad to a multiple of 32 at the far end, as NumPy's "symmetric" does, however small the image."""
    length = tf.shape(image)[axis]
    place = tf.range((length + STRIDE - 1) // STRIDE * STRIDE) % (2 * length)
    return tf.gather(image, tf.minimum(place, 2 * length - 1 - place), axis=axis)


def resized(image, side, axis):
    """Resize one axis of a uint8 image as Pillow's bilinear filter does, to the same whole numbers.

    A pixel is the mean of those under a triangle, as wide as the step is where the image shrinks. Pillow
    computes with weights of 22 binary digits.
    """
    step = tf.cast(tf.shape(image)[axis], tf.float64) / side
    centre = (tf.range(side, dtype=tf.float64) + 0.5) * step
    place = tf.cast(tf.range(tf.shape(image)[axis]), tf.float64) + 0.5
    weights = tf.maximum(1 - tf.abs(place - centre[:, None]) / tf.maximum(step, 1), 0)
    weights = tf.floor(weights / tf.reduce_sum(weights, axis=1, keepdims=True) * 2**22 + 0.5)
    total = along(axis, weights, tf.cast(image, tf.float64))
    return tf.cast(tf.clip_by_value(tf.floor(total / 2**22 + 0.5), 0, 255), tf.uint8)


def enlarged(maps, length, axis):
    """Resize one axis of the maps as `skimage.transform.resize` does with order 1: linear, mirrored ends."""
    old = tf.shape(maps)[axis]
    last = tf.cast(old - 1, tf.float64)
    centre = (tf.cast(tf.range(length), tf.float64) + 0.5) * ((last + 1) / tf.cast(length, tf.float64)) - 0.5
    centre = last - tf.abs(last - tf.abs(centre))
    weights = tf.maximum(1 - tf.abs(tf.cast(tf.range(old), tf.float64) - centre[:, None]), 0)
    return along(axis, tf.cast(weights, tf.float32), maps)


def along(axis, weights, image):
    """(N, M) weights, an image with M pixels along an axis -> the same with their N weighted sums there."""
    return tf.einsum("nh,bhwc->bnwc" if axis == 1 else "nw,bhwc->bhnc", weights, image)


def _check(out: Path, format: str) -> None:
    """Raise what is wrong with the parameters of `export` before any long work."""
    if format not in FORMATS:
        raise ValueError(f"`format` is {format!r}, expected one of {', '.join(FORMATS)}")
    if missing := [name for name in FORMATS[format] if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"{format} needs {' and '.join(missing)}, not installed: pip install {' '.join(missing)}"
        )
    output_folder(out.parent)
    other_kind = out.exists() and out.is_dir() != (format == "savedmodel")
    if other_kind or Written(out.parent).changed([out]):
        raise ValueError(
            f"`out` {out}: is there already, and is not (or not only) an earlier export of the same format "
            "as it was written; choose a new name"
        )


def _write(segmenter: Segmenter, path: Path, format: str) -> None:
    signature = tf.TensorSpec((None, None, None, 3), tf.uint8, "image")
    kind = {"onnx": "onnx", "savedmodel": "tf_saved_model"}[format]
    try:
        with quiet():
            Graph(segmenter).export(path, format=kind, verbose=False, input_signature=[signature])
    except tf.errors.OpError as error:  # TensorFlow's own for a full disk, among others
        raise OSError(error.message) from error


def _difference(segmenter: Segmenter, path: Path, format: str) -> float:
    """Return the largest difference between the maps of an exported model and the segmenter's."""
    image = immunohistochemistry()[:247, :253]
    if format == "onnx":
        import onnxruntime

        (maps,) = onnxruntime.InferenceSession(path).run(["maps"], {"image": image[None]})
    else:
        loaded = tf.saved_model.load(path)  # by name, as its variables live no longer than it does
        maps = loaded.serve(tf.constant(image[None]))["maps"]
    return float(np.abs(np.asarray(maps)[0] - segmenter.predict_maps(image, scale=1).maps).max())
