"""A trained model with its settings, in a folder that describes itself."""

import json
import os
import platform
import shutil
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from skimage.transform import resize

from nuclei.data import as_rgb8
from nuclei.files import write_json
from nuclei.instances import labels_from_maps
from nuclei.pipeline import resize_image

STRIDE = 32
"""Pixels. The encoder halves the image five times, so sides must be multiples of it."""

FILES = ("model.keras", "settings.json", "split.json", "history.csv")


@dataclass
class Segmenter:
    """A model, its settings and how it was trained.

    model : keras.Model, (B, H, W, 3) float32 0-255 -> (B, H, W, C) float32 0-1
    settings : dict
        ``resize``: side in pixels that images are squeezed to, or None for native scale;
        ``rescale_below``: diameter in pixels; an image whose median nucleus is smaller is looked at again at
        twice its scale; 0 or absent for never;
        ``thresholds``: the arguments of `nuclei.instances.labels_from_maps`, tuned on validation data;
        and all that tells where the model came from: parameters, data, versions.
    split : dict
        ``train`` and ``validation``: ids of the images that it has learned from, and of those that judged it.
    history : DataFrame, one row an epoch
    """

    model: keras.Model
    settings: dict
    split: dict = field(default_factory=lambda: {"train": [], "validation": []})
    history: pd.DataFrame = field(default_factory=pd.DataFrame)

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
        return cls(model, settings, split, history)

    def save(self, folder: str | Path) -> Path:
        """Write the folder whole or not at all, without the optimizer's state; an older one is replaced."""
        folder = Path(folder)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        temporary.mkdir(parents=True)
        try:
            keras.Model(self.model.input, self.model.output, name=self.model.name).save(
                temporary / "model.keras"
            )
            write_json(temporary / "settings.json", self.settings)
            write_json(temporary / "split.json", self.split)
            self.history.to_csv(temporary / "history.csv", index=False)
            if (folder / "README.md").exists():  # a model card written by hand stays
                shutil.copy(folder / "README.md", temporary)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def maps(self, image: np.ndarray) -> np.ndarray:
        """Return what the model sees in an image.

        Parameters
        ----------
        image : any image that `nuclei.data.as_rgb8` takes, of any size

        Returns
        -------
        (H, W, C) float32, 0-1; channel 0 is the probability that a pixel lies in a nucleus
        """
        image = as_rgb8(image)
        if size := self.settings["resize"]:
            return self._maps_of(resize_image(image, (size, size)), image.shape[:2])
        maps = self._maps_of(image, image.shape[:2])
        if 0 < self._median_diameter(maps) < self.settings.get("rescale_below", 0):
            doubled = resize_image(image, (2 * image.shape[0], 2 * image.shape[1]))
            maps = self._maps_of(doubled, image.shape[:2])
        return maps

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Return the nuclei of an image, see `maps`: (H, W) int32, 0 = background, 1..N = one each."""
        return self.labels_from_maps(self.maps(image))

    def labels_from_maps(self, maps: np.ndarray) -> np.ndarray:
        """Return the nuclei in the (H, W, C) maps that `maps` gave, as `labels` does."""
        return labels_from_maps(maps, **self.settings["thresholds"])

    def _maps_of(self, image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the maps of an image of any size, brought to `shape`."""
        height, width = image.shape[:2]
        padding = [(0, -side % STRIDE) for side in (height, width)]
        batch = np.pad(image, [*padding, (0, 0)], "symmetric")[None].astype(np.float32)
        maps = np.asarray(self.model(batch, training=False))[0, :height, :width]
        return maps if maps.shape[:2] == shape else resize(maps, shape, order=1, anti_aliasing=False)

    def _median_diameter(self, maps: np.ndarray) -> float:
        """Return the diameter in pixels of the circle of the median nucleus's area; 0 without nuclei."""
        areas = np.bincount(self.labels_from_maps(maps).ravel())[1:]
        return float(np.sqrt(4 / np.pi * np.median(areas))) if len(areas) else 0.0


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("tensorflow", "keras", "numpy", "scikit-image")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
