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

from nuclei.instances import labels_from_maps
from nuclei.pipeline import resize_image

STRIDE = 32
"""Pixels. The encoder halves the image five times, so sides must be multiples of it."""

FILES = ("model.keras", "settings.json", "history.csv")


@dataclass
class Segmenter:
    """A model, its settings and how it was trained.

    model : keras.Model, (B, H, W, 3) float32 0-255 -> (B, H, W, C) float32 0-1
    settings : dict
        ``resize``: side in pixels that images are squeezed to, or None for native scale;
        ``thresholds``: the arguments of `nuclei.instances.labels_from_maps`, tuned on validation data;
        and all that tells where the model came from: parameters, data, versions.
    history : DataFrame, one row an epoch
    """

    model: keras.Model
    settings: dict
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
            settings = json.loads((folder / "settings.json").read_text())
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
        return cls(model, settings, history)

    def save(self, folder: str | Path) -> Path:
        """Write the folder whole or not at all, without the optimizer's state; an older one is replaced."""
        folder = Path(folder)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        temporary.mkdir(parents=True)
        try:
            keras.Model(self.model.input, self.model.output, name=self.model.name).save(
                temporary / "model.keras"
            )
            (temporary / "settings.json").write_text(json.dumps(self.settings, indent=2) + "\n")
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
        image : (H, W, 3) uint8, see `nuclei.data.as_rgb8`; any size

        Returns
        -------
        (H, W, C) float32, 0-1; channel 0 is the probability that a pixel lies in a nucleus
        """
        height, width = image.shape[:2]
        if size := self.settings["resize"]:
            return resize(self._predict(resize_image(image, (size, size))), (height, width), order=1)
        padding = [(0, -side % STRIDE) for side in (height, width)]
        return self._predict(np.pad(image, [*padding, (0, 0)], "symmetric"))[:height, :width]

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Return the nuclei of an (H, W, 3) uint8 image: (H, W) int32, 0 = background, 1..N = one each."""
        return self.labels_from_maps(self.maps(image))

    def labels_from_maps(self, maps: np.ndarray) -> np.ndarray:
        """Return the nuclei in the (H, W, C) maps that `maps` gave, as `labels` does."""
        return labels_from_maps(maps, **self.settings["thresholds"])

    def _predict(self, image: np.ndarray) -> np.ndarray:
        return np.asarray(self.model(image[None].astype(np.float32), training=False))[0]


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("tensorflow", "keras", "numpy", "scikit-image")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
