"""A trained model with its settings: from an image to its nuclei."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from skimage.transform import resize

from nuclei.images.intensity import as_rgb8, normalize
from nuclei.images.resizing import pad_to_stride, rescale_image, resize_image
from nuclei.images.tiles import tiled_maps
from nuclei.segmentation.candidates import Candidates, propose, suppress_overlaps
from nuclei.segmentation.inference import StoredNetwork, as_keras, compiled
from nuclei.segmentation.model_folder import read_model_folder, write_model_folder
from nuclei.segmentation.scale import FAINT, SIZING, boxes_near, find_diameter, median_diameter, scales_for
from nuclei.segmentation.strangeness import LEAST_SIDE, Usual, image_features, strangeness
from nuclei.segmentation.watershed import confidence, labels_from_maps

if TYPE_CHECKING:
    import keras  # takes seconds to import

AT_A_TIME = 3
"""Images that threads work on at a time: while the network runs on one, others are read or measured."""

UNCHANGED = {"confidence": [0, 1], "probability": [0, 1]}
"""The calibration of a half of the validation images where there was no nucleus to learn one from."""

Scale = float | Literal["auto"]

_resized = partial(resize, order=1, anti_aliasing=False)  # maps to another shape (H, W), bilinear


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


@dataclass
class Segmenter:
    """A model, its settings and how it was trained.

    network : keras.Model or StoredNetwork, (B, H, W, 3) float32 0-255 -> (B, H, W, C) float32 0-1
    settings : dict
        ``resize``: side in pixels that images are resized to, or None for native scale;
        ``normalize``: whether grey values are stretched first, see `nuclei.images.intensity.normalize`;
        ``working_diameter``: in pixels, see `nuclei.segmentation.scale.scales_for`;
        ``diameters``: of the smallest and the largest nuclei that it was trained on, in pixels;
        ``thresholds``: ``min_iou`` of `suppress_overlaps`, or for a model without an IoU network the
        arguments of `labels_from_maps`; tuned on validation images;
        ``calibration``: of the confidence, see `nuclei.evaluation.calibration.fit_calibration`;
        ``cross_tuned``: the last two for each half of the validation ``images``, from the other half;
        and where the model came from: parameters, data, versions.
    split : dict of lists, see `nuclei.data.splits.split_ids`
    history : DataFrame, one row per epoch
    iou_network : the same or None, (N, F) float32 `segmentation.candidates.FEATURES` -> (N, M) float32 0-1
        Rates candidates for nuclei by the mean of its M outputs; without it, nuclei come from thresholds.
    encoder : function for `nuclei.segmentation.strangeness.image_features`, or None
    usual : Usual or None; the encoder's features of the training images
    """

    network: "keras.Model | StoredNetwork"
    settings: dict
    split: dict = field(default_factory=lambda: {"train": [], "validation": []})
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"epoch": []}))
    iou_network: "keras.Model | StoredNetwork | None" = None
    encoder: Callable[[np.ndarray], np.ndarray] | None = None
    usual: Usual | None = None

    @property
    def model(self) -> "keras.Model":
        """The network as a Keras model."""
        return as_keras(self.network)

    @classmethod
    def load(cls, folder: str | Path, callers: int = 1) -> "Segmenter":
        """Load a model from its folder alone, for as many threads as will call it at the same time.

        Errors are those of `nuclei.segmentation.model_folder.read_model_folder`.
        """
        return cls(**read_model_folder(folder, callers))

    def save(self, folder: str | Path) -> Path:
        """Write the model's folder: see `nuclei.segmentation.model_folder.write_model_folder`."""
        return write_model_folder(folder, vars(self))

    def __call__(self, image: np.ndarray, *, scale: Scale = "auto", augment: bool = False) -> np.ndarray:
        """Return the nuclei of an image, (H, W) int32, 0 = background, 1..N = one each; see `predict`."""
        return self.predict(image, scale=scale, augment=augment).labels

    def predict(self, image: np.ndarray, *, scale: Scale = "auto", augment: bool = False) -> Prediction:
        """Find the nuclei of an image.

        image : any image that `nuclei.images.intensity.as_rgb8` takes, of any size
        scale : the factor by which it is enlarged before the network sees it; "auto": see `find_scales`
        augment : test-time augmentation: whether to average over the image and its three mirror images

        Raises ValueError, see `as_rgb8` and `check_scale`. Warns as `check_size` does.
        """
        predicted = self.label(self.predict_maps(image, scale=scale, augment=augment))
        self.check_size(predicted.diameter, predicted.scales)
        return predicted

    def predict_maps(self, image: np.ndarray, *, scale: Scale = "auto", augment: bool = False) -> Maps:
        """Run the network on an image, without finding the nuclei in its maps: see `predict`."""
        self.check_scale(scale)
        image = self.prepared(image)
        if size := self.settings["resize"]:
            small = self._scaled_maps(resize_image(image, (size, size)), 1, augment)
            return Maps(image, _resized(small, image.shape[:2]))
        passes: dict[float, np.ndarray] = {}
        scales = self.find_scales([image], [passes]) if scale == "auto" else [scale]
        maps = self.multiscale_maps(image, scales, augment, None if augment else passes)
        return Maps(image, maps, scales, self.strangeness([image], scales))

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """Return an image as the network sees it: (H, W, 3) uint8, grey values as in training images."""
        image = as_rgb8(image)
        return normalize(image) if self.settings.get("normalize") else image

    def strangeness(self, images: Sequence[np.ndarray], scales: Sequence[float]) -> float | None:
        """Return how unlike the training images an image is, see `nuclei.segmentation.strangeness`.

        `images` are the `prepared` image, or windows of a large one, `scales` those of its maps. None where
        the model does not know its training images, and for images under `LEAST_SIDE`.
        """
        if not (self.encoder and self.usual) or min(images[0].shape[:2]) < LEAST_SIDE:
            return None
        return strangeness(image_features(self.encoder, images, scales), self.usual)

    def label(
        self, predicted: Maps | Prediction, calibration: dict | None = None, **thresholds
    ) -> Prediction:
        """Find the nuclei in the maps of an image; `calibration` and `thresholds` replace the model's own."""
        image, maps = predicted.image, predicted.maps
        thresholds = self.settings["thresholds"] | thresholds
        if self.iou_network is None:
            labels = labels_from_maps(maps, **thresholds)
            expected = confidence(labels, maps[..., 0])
        else:
            labels, expected = suppress_overlaps(*self.candidates(predicted), **thresholds)
        if curve := calibration or self.settings.get("calibration"):
            expected = np.interp(expected, curve["confidence"], curve["probability"])
        diameter = median_diameter(labels)
        return Prediction(labels, expected, image, maps, predicted.scales, predicted.strangeness, diameter)

    def candidates(self, predicted: Maps | Prediction) -> tuple[Candidates, np.ndarray]:
        """Return candidates for nuclei, and the IoU expected of each, (N,) float32 0-1."""
        assert self.iou_network is not None, "a model without an IoU network has no candidates"
        found = propose(predicted.maps, predicted.image)
        return found, np.asarray(self.iou_network(found.features, training=False)).mean(axis=1)

    def unbiased(self, predicted: Maps | Prediction, id: str) -> Prediction:
        """Find nuclei by thresholds and a calibration that the image called `id` had no part in.

        The name of a data set may precede either id: it does where several were loaded. An id that is
        equal as it stands counts first.
        """
        halves = self.settings.get("cross_tuned") or []
        for half in [each for each in halves if id in each["images"]] or halves:
            ids = ((f"/{each}", f"/{id}") for each in half["images"])
            if any(own.endswith(other) or other.endswith(own) for own, other in ids):
                calibration = half.get("calibration") or (self.settings.get("calibration") and UNCHANGED)
                return self.label(predicted, calibration, **half["thresholds"])
        return self.label(predicted)

    def multiscale_maps(
        self,
        image: np.ndarray,
        scales: Sequence[float],
        augment: bool = False,
        passes: Mapping[float, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Run the network on an image at some scales and return the mean of its maps.

        (H, W, 3) uint8 with the grey values of the training images -> (H, W, C) float32, 0-1; see `Maps`.
        The larger scales are run only near what the smallest one shows; elsewhere their maps are 0. `passes`
        holds the maps that are there already, by scale, at the size of the rescaled image.
        """
        passes = passes or {}
        each: list[np.ndarray] = []
        for scale in sorted(scales):
            if scale in passes:
                maps = _resized(passes[scale], image.shape[:2])
            elif not each:
                maps = _resized(self._scaled_maps(image, scale, augment), image.shape[:2])
            else:
                maps = np.zeros_like(each[0])
                for box, near in boxes_near(each[0][..., 0] > FAINT, scale):
                    part = self._scaled_maps(image[box], scale, augment)
                    maps[box][near] = _resized(part, near.shape)[near]
            each.append(maps)
        return np.mean(each, axis=0)

    def _scaled_maps(self, image: np.ndarray, scale: float, augment: bool = False) -> np.ndarray:
        """Run the network on the rescaled image, and leave its maps at that size."""
        scaled = rescale_image(image, scale)
        steps = (1, -1) if augment else (1,)
        mirrors = [np.s_[::down, ::across] for down in steps for across in steps]
        return np.mean([tiled_maps(self._predict, scaled[m])[m] for m in mirrors], axis=0)

    def _predict(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 of any size, up to that of a tile -> (H, W, C) float32."""
        height, width = image.shape[:2]
        return self._maps_of(pad_to_stride(image)[None])[0, :height, :width]

    @cached_property
    def _maps_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return compiled(self.network)

    def find_scales(
        self, images: Sequence[np.ndarray], passes: Sequence[dict[float, np.ndarray]] = ()
    ) -> list[float]:
        """Find the scales at which to run the network on an image: see `find_diameter` and `scales_for`.

        `images`, (H, W, 3) uint8, are the image or windows spread over a large one, with the grey values of
        the training images. Their maps, (H, W, C) float32 at the size of the rescaled image, are put into
        `passes`, a dict for each image, by scale.
        """
        if not (working := self.settings.get("working_diameter")):
            return [1]

        def nuclei_at(scale: float) -> tuple[np.ndarray, np.ndarray]:
            areas, confidences = [], []
            for image, kept in zip(images, passes or ({} for _ in images), strict=False):
                kept[scale] = maps = self._scaled_maps(image, scale)
                labels = labels_from_maps(maps, **SIZING)
                areas.append(np.bincount(labels.ravel())[1:])
                confidences.append(confidence(labels, maps[..., 0]))
            return np.concatenate(areas), np.concatenate(confidences)

        _, largest = self.settings.get("diameters") or (0, np.inf)
        pixels = sum(image.shape[0] * image.shape[1] for image in images)
        shortest = min(min(image.shape[:2]) for image in images)
        return scales_for(find_diameter(nuclei_at, pixels, shortest, largest), working)

    def check_scale(self, scale: float | str) -> None:
        """Raise ValueError unless `scale` is "auto" or above 0; where images are resized, "auto" or 1."""
        if scale != "auto" and not (isinstance(scale, Real) and 0 < scale < np.inf):
            raise ValueError(f'`scale` is {scale!r}, expected a number above 0, or "auto"')
        if (side := self.settings["resize"]) and scale not in ("auto", 1):
            raise ValueError(
                f"`scale` is {scale!r}, but this model resizes every image to {side} x {side} pixels; "
                'leave it "auto"'
            )

    def check_size(self, diameter: float, scales: Sequence[float]) -> None:
        """Warn where at none of the `scales` the median nucleus has a size that the model was trained on.

        `diameter` is in pixels of the image; 0, for no nuclei, is no reason to warn.
        """
        low, high = self.settings.get("diameters") or (0, np.inf)
        if diameter and not any(low <= diameter * scale <= high for scale in scales):
            warnings.warn(
                f"the median nucleus found is {diameter:.0f} pixels wide, at a scale of "
                f"{' and '.join(f'{scale:.3g}' for scale in scales)}; the model was trained on {low:.0f} to "
                f"{high:.0f} pixels: a scale of about {np.sqrt(low * high) / diameter:.2g} may be better",
                stacklevel=2,
            )
