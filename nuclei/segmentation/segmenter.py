"""A trained model with its settings, in a folder that describes itself."""

import json
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import pandas as pd
from skimage.transform import resize

from nuclei.common import write_json
from nuclei.data.samples import Sample
from nuclei.images.intensity import as_rgb8, normalize
from nuclei.images.resizing import resize_image
from nuclei.images.tiles import STRIDE, TILE, tiled_maps
from nuclei.segmentation.candidates import Candidates, choose, propose
from nuclei.segmentation.scale import SIZING, median_diameter
from nuclei.segmentation.watershed import labels_from_maps

FILES = ("model.keras", "settings.json", "split.json", "history.csv")

IOU_FILE = "iou.keras"  # of models that choose among candidates


@dataclass
class Segmenter:
    """A model, its settings and how it was trained.

    model : keras.Model, (B, H, W, 3) float32 0-255 -> (B, H, W, C) float32 0-1
    settings : dict
        ``resize``: side in pixels that images are squeezed to, or None for native scale;
        ``normalize``: whether grey values are stretched first, see `nuclei.images.intensity.normalize`;
        ``working_diameter``: in pixels, the size that nuclei are brought near, see `scales_for`; 0 or absent
        where images are always looked at as they are;
        ``diameters``: those of the smallest and largest nuclei it has learned from, in pixels;
        ``thresholds``: ``min_iou`` of `segmentation.candidates.choose`, or for a model without an IoU
        network the
        arguments of `nuclei.segmentation.watershed.labels_from_maps`; tuned on validation data;
        ``cross_tuned``: the same for each half of the validation ``images``, chosen by the other half;
        and all that tells where the model came from: parameters, data, versions.
    split : dict
        ``train`` and ``validation``: ids of the images that it has learned from, and of those that judged it.
    history : DataFrame, one row an epoch
    iou_network : keras.Model or None, (N, F) float32 `segmentation.candidates.FEATURES` -> (N, 1) float32 0-1
        What chooses the nuclei among candidates; without it, thresholds find them.
    """

    model: keras.Model
    settings: dict
    split: dict = field(default_factory=lambda: {"train": [], "validation": []})
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"epoch": []}))
    iou_network: keras.Model | None = None

    @classmethod
    def load(cls, folder: str | Path) -> "Segmenter":
        """Load a model from its folder alone.

        Raises FileNotFoundError where the folder or one of its files is missing, ValueError where one
        cannot be read.
        """
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{folder}: not a whole model folder, {' and '.join(missing)} missing. "
                f"Expected {', '.join(FILES)}; notebook 02_train writes such a folder, "
                "and saved_model/ holds those that are shipped."
            )
        try:
            model = keras.saving.load_model(folder / "model.keras", compile=False)
            settings, split = (
                json.loads((folder / f"{name}.json").read_text()) for name in ("settings", "split")
            )
            history = pd.read_csv(folder / "history.csv")
            iou_network = None
            if (folder / IOU_FILE).is_file():
                iou_network = keras.saving.load_model(folder / IOU_FILE, compile=False)
        except Exception as error:  # Keras, json and pandas have nothing in common here
            raise ValueError(
                f"{folder}: the model cannot be read ({error}). Train it again or restore the folder."
            ) from error
        for name in ("resize", "thresholds"):
            if name not in settings:
                raise ValueError(
                    f"{folder}/settings.json: no {name!r}, without which the model cannot be used. "
                    "Train it again with 02_train, which chooses the thresholds on validation data."
                )
        if "min_iou" in settings["thresholds"] and iou_network is None:
            raise FileNotFoundError(
                f"{folder}: not a whole model folder, {IOU_FILE} missing, which chooses the nuclei. "
                "Restore the file, or train the model again with 02_train."
            )
        needed = ("min_iou",) if iou_network else ("foreground_threshold", "marker_threshold")
        for name in needed:
            if not isinstance(value := settings["thresholds"].get(name), (int, float)):
                raise ValueError(
                    f"{folder}/settings.json: {name!r} among the thresholds is {value!r}, expected a number. "
                    "Restore the file, or train the model again with 02_train."
                )
        return cls(model, settings, split, history, iou_network)

    def save(self, folder: str | Path) -> Path:
        """Write the folder whole or not at all, without the optimizer's state; an older one is replaced."""
        folder = Path(folder)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        older = temporary.with_suffix(".old")
        temporary.mkdir(parents=True)
        try:
            for name, network in (("model.keras", self.model), (IOU_FILE, self.iou_network)):
                if network:
                    bare = keras.Model(network.input, network.output, name=network.name)
                    bare.save(temporary / name)
            write_json(temporary / "settings.json", self.settings)
            write_json(temporary / "split.json", self.split)
            self.history.to_csv(temporary / "history.csv", index=False)
            if (folder / "README.md").exists():  # a model card written by hand stays
                shutil.copy(folder / "README.md", temporary)
            if folder.exists():
                folder.rename(older)
            temporary.rename(folder)
            shutil.rmtree(older, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def __call__(self, image: np.ndarray, **options) -> np.ndarray:
        """Return the nuclei of an image: (H, W) int32, 0 = background, 1..N = one each; see `maps`."""
        return self.labels_from_maps(self.maps(image, **options), self.prepare(image))

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Return an image in the grey levels that the model knows: (H, W, 3) uint8.

        `image` is any that `nuclei.images.intensity.as_rgb8` takes, and raises what that raises.
        """
        image = as_rgb8(image)
        return normalize(image) if self.settings.get("normalize") else image

    def maps(
        self, image: np.ndarray, *, scale: float | Literal["auto"] = "auto", augment: bool = False
    ) -> np.ndarray:
        """Return what the model sees in an image.

        Parameters
        ----------
        image : any image that `nuclei.images.intensity.as_rgb8` takes, of any size
        scale : float or "auto"
            How many times the image is magnified before the model looks at it. "auto" looks at it as it is,
            and where the nuclei found are small or large, again at other scales: see `scales_for`.
        augment : bool
            Whether to average over the image and its three mirror images: four times the work.

        Returns
        -------
        (H, W, C) float32, 0-1
            Channel 0 is the probability that a pixel lies in a nucleus; channel 1, where there is one, that
            it lies inside of one, away from its edge: see `nuclei.training.targets.interior_target`.

        Raises
        ------
        ValueError
            The image has a shape that is no image's, or values that are no numbers; `scale` is neither "auto"
            nor above 0, or a number other than 1 for a model that sees all images at one size.

        Warns
        -----
        UserWarning
            The median nucleus is smaller or larger than those that the model has learned from.
        """
        self.check_scale(scale)
        image = self.prepare(image)
        if size := self.settings["resize"]:
            maps = self.look(resize_image(image, (size, size)), augment=augment)
            return resize(maps, image.shape[:2], order=1, anti_aliasing=False)
        scales = [1 if scale == "auto" else scale]
        maps = self.look(image, scales, augment)
        diameter = median_diameter(labels_from_maps(maps, **SIZING))
        if scale == "auto" and (chosen := self.scales_for(diameter)) != scales:
            looks = [maps if each == 1 else self.look(image, [each], augment) for each in chosen]
            scales, maps = chosen, np.mean(looks, axis=0)
            diameter = median_diameter(labels_from_maps(maps, **SIZING))
        self.check_size(diameter, scales)
        return maps

    def look(self, image: np.ndarray, scales: Sequence[float] = (1,), augment: bool = False) -> np.ndarray:
        """Return the model's answer to an image that has the grey levels it knows, the mean over `scales`.

        (H, W, 3) uint8 of any size -> (H, W, C) float32, 0-1; see `maps`, which brings any image there.
        """
        return np.mean([self._look_at_scale(image, scale, augment) for scale in scales], axis=0)

    def _look_at_scale(self, image: np.ndarray, scale: float, augment: bool) -> np.ndarray:
        shape = tuple(max(1, round(scale * side)) for side in image.shape[:2])
        seen = image if shape == image.shape[:2] else resize_image(image, shape)
        steps = (1, -1) if augment else (1,)
        mirrors = [np.s_[::down, ::across] for down in steps for across in steps]
        maps = np.mean([tiled_maps(self._predict, seen[m])[m] for m in mirrors], axis=0)
        return maps if seen is image else resize(maps, image.shape[:2], order=1, anti_aliasing=False)

    def scales_for(self, diameter: float) -> list[float]:
        """Return at which scales to look at an image, to take the mean of what is seen.

        `diameter` is that of the median nucleus in pixels, 0 for none. Under half the working diameter it is
        at twice the scale, from there to the working diameter as it is and at twice the scale; from twice to
        four times the working diameter at half the scale and as it is, beyond at a quarter and half.
        Otherwise it is as it is.
        """
        working = self.settings.get("working_diameter", 0)
        if not (working and diameter):
            return [1]
        limits, scales = (1 / 2, 1, 2, 4), ([2], [1, 2], [1], [0.5, 1], [0.25, 0.5])
        return scales[np.searchsorted(limits, diameter / working, side="right")]

    def candidates(self, maps: np.ndarray, seen: np.ndarray) -> tuple[Candidates, np.ndarray]:
        """Return candidates for nuclei and the IoU that is expected of each, (N,) float32 0-1.

        The arguments are those of `labels_from_maps`.
        """
        found = propose(maps, seen)
        return found, np.asarray(self.iou_network(found.features, training=False))[:, 0]

    def labels_from_maps(self, maps: np.ndarray, seen: np.ndarray, **changed) -> np.ndarray:
        """Return the nuclei in an image.

        Parameters
        ----------
        maps : (H, W, C) array, 0-1
            What `maps` gave.
        seen : (H, W, 3) uint8
            What `prepare` gave.
        changed
            Thresholds to use instead of the model's own.

        Returns
        -------
        (H, W) int32, 0 = background
        """
        thresholds = self.settings["thresholds"] | changed
        if self.iou_network is None:
            return labels_from_maps(maps, **thresholds)
        return choose(*self.candidates(maps, seen), **thresholds)[0]

    def unbiased_labels(self, maps: np.ndarray, sample: Sample) -> np.ndarray:
        """Return the labels in the maps of a sample, with thresholds in whose choice it had no say.

        Validation images were tuned in two halves, and each gets what the other half chose. All others get
        the model's own thresholds, as in `labels_from_maps`.
        """
        halves = (h for h in self.settings.get("cross_tuned", []) if sample.id in h["images"])
        changed = next(halves, {"thresholds": {}})["thresholds"]
        return self.labels_from_maps(maps, self.prepare(sample.image), **changed)

    def _predict(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 of any size, up to that of a tile -> (H, W, C) float32."""
        height, width = image.shape[:2]
        padding = [(0, -side % STRIDE) for side in (height, width)]
        batch = np.pad(image, [*padding, (0, 0)], "symmetric")[None].astype(np.float32)
        if batch.shape[1:3] == (TILE, TILE):  # compiled for the size of tiles: faster, in less memory
            maps = self.model.predict_on_batch(batch)
        else:
            maps = self.model(batch, training=False)
        return np.asarray(maps)[0, :height, :width]

    def check_scale(self, scale: float | Literal["auto"]) -> None:
        """Raise ValueError unless the model can look at images at this scale: see `maps`."""
        if scale != "auto" and not (isinstance(scale, (int, float)) and scale > 0):
            raise ValueError(f'scale is {scale!r}, expected a number above 0, or "auto"')
        if (size := self.settings["resize"]) and scale not in ("auto", 1):
            raise ValueError(
                f"scale is {scale!r}, but this model sees every image at {size} x {size} pixels; "
                'leave it "auto"'
            )

    def check_size(self, diameter: float, scales: Sequence[float] = (1,)) -> None:
        """Warn where the median nucleus has a size that was not learned, at none of the scales looked at.

        `diameter` is in pixels of the image; 0, for no nuclei, is no reason to warn.
        """
        low, high = self.settings.get("diameters", (0, np.inf))
        if diameter and not any(low <= diameter * scale <= high for scale in scales):
            warnings.warn(
                f"the median nucleus found is {diameter:.0f} pixels wide, at a scale of "
                f"{' and '.join(f'{scale:g}' for scale in scales)}; the model has learned from {low:.0f} to "
                f"{high:.0f} pixels. Look at the result; a scale of about "
                f"{np.sqrt(low * high) / diameter:.2g} may do better.",
                stacklevel=3,
            )
