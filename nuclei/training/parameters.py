"""The parameters of a training: checked before any long work, and as settings of the trained model."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from nuclei.data.samples import Sample
from nuclei.images.tiles import STRIDE
from nuclei.segmentation.scale import median_diameter
from nuclei.training.augmentation import AUGMENTS
from nuclei.training.targets import TARGETS

Rule = tuple[Callable[[Any], bool], str]  # whether a value fits, and what is expected


def _one_of(*names: str) -> Rule:
    return lambda value: value in names, f"one of {', '.join(names)}"


def _at_least(least: int) -> Rule:
    return lambda value: least <= value < math.inf, f"{least} or more"


def _rising(count: int, what: str) -> Rule:
    def fits(values):
        numbers = all(isinstance(value, Real) and 0 < value < math.inf for value in values)
        return numbers and len(values) == count and values == sorted(values)

    return fits, what


FRACTION: Rule = (lambda value: 0 < value < 1, "a number above 0 and below 1")
MEMORY: Rule = (lambda value: 0 <= value < 1, "a number from 0 and below 1")
SIDE: Rule = (lambda side: side > 0 and side % STRIDE == 0, f"a multiple of {STRIDE} pixels")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("validation_fraction", "learning_rate"), FRACTION),
    "split_by": (
        lambda value: value in ("field", "image") or value.endswith(".json"),
        "field, image, or the path of a split.json",
    ),
    "target": _one_of(*TARGETS),
    "augment": _one_of(*AUGMENTS),
    "monitor": _one_of("val_accuracy", "val_score"),
    **dict.fromkeys(("momentum", "weight_average", "weight_decay"), MEMORY),
    **dict.fromkeys(("resize", "crop"), SIDE),
    "scale_range": _rising(2, "two factors above 0, the lesser first"),
    "crop_diameters": _rising(3, "three diameters in pixels: least, most frequent, largest"),
    **dict.fromkeys(("crops_per_image", "steps_per_epoch", "epochs", "patience"), _at_least(1)),
    **dict.fromkeys(("batch_size", "decay_epochs", "devices"), _at_least(1)),
    **dict.fromkeys(("detail_filters", "working_diameter", "edge_weight"), _at_least(0)),
    **dict.fromkeys(("channel", "page", "warmup_epochs", "seed"), _at_least(0)),
    "figure_epochs": (
        lambda epochs: all(type(epoch) is int and epoch > 0 for epoch in epochs),
        "a list of epochs, counted from 1",
    ),
}

OPTIONAL = set("channel page resize crop_diameters steps_per_epoch decay_epochs devices".split())
OPTIONAL |= {"momentum", "working_diameter"}
"""The parameters among these that may be None."""


def check_training(parameters: dict) -> None:
    """Raise ValueError where a parameter of 02_train has a value that cannot be.

    `nuclei.notebook.check_parameters` checks their types, but lets None pass.
    """
    for name in filter(parameters.__contains__, RULES):
        value, (fits, expected) = parameters[name], RULES[name]
        if not (name in OPTIONAL if value is None else fits(value)):
            raise ValueError(f"{name} is {value!r}, expected {expected}")
    if parameters.get("resize") and parameters["monitor"] == "val_score":
        found = "monitor is 'val_score', which is measured on crops at native scale, but images are resized"
        raise ValueError(f"{found}; expected 'val_accuracy', or null as resize")
    if parameters.get("resize") and parameters.get("augment") == "strong":
        found = "augment is 'strong', which needs square crops, but images are resized"
        raise ValueError(f"{found}; expected another, or null as resize")
    diameters = parameters.get("crop_diameters")
    if diameters and diameters[0] == diameters[2]:
        raise ValueError(f"crop_diameters is {diameters}, expected the first below the last")
    epochs, warmup = parameters["epochs"], parameters["warmup_epochs"]
    if warmup >= epochs:
        raise ValueError(f"warmup_epochs is {warmup}, expected fewer than epochs, {epochs}")
    if (decay := parameters.get("decay_epochs") or 0) > epochs - warmup:
        raise ValueError(f"decay_epochs is {decay}, expected at most {epochs - warmup}, those after warm-up")


def check_start(parameters: dict, settings: dict, channels: int) -> None:
    """Raise ValueError unless the training suits the model that it continues from.

    Its `settings` must name the same preparation of images, and it must predict as many maps (`channels`).
    """
    start = parameters["start_from"]
    for name in ("resize", "normalize"):
        if (parameters[name] or None) != (settings.get(name) or None):
            trained = f"the model in {start} was trained with {name} {settings.get(name)}"
            raise ValueError(f"{name} is {parameters[name]}, but {trained}: give it that value")
    wanted = 1 if parameters["target"] == "foreground" else 2
    if wanted != channels:
        found = f"target is {parameters['target']!r}, which has {wanted} maps"
        expected = "foreground" if channels == 1 else "interior or distance"
        raise ValueError(f"{found}, but the model in {start} predicts {channels}: expected {expected}")


def model_settings(parameters: dict, train: list[Sample], start: dict | None = None) -> dict:
    """Return the settings with which a `Segmenter` prepares images as the training did.

    A ``working_diameter`` of None is that of `start`, the settings of the model that it continues. At native
    scale ``diameters``, in pixels, are those of the small and the large nuclei in training.
    """
    settings = {name: parameters[name] for name in ("resize", "normalize", "working_diameter")}
    if settings["working_diameter"] is None:
        settings["working_diameter"] = (start or {}).get("working_diameter", 0)
    medians = [diameter for s in train if (diameter := median_diameter(s.labels))]
    if parameters["resize"]:
        return settings
    if parameters.get("crop_diameters"):
        settings["diameters"] = [float(parameters["crop_diameters"][k]) for k in (0, 2)]
    elif medians:
        low, high = np.percentile(medians, (1, 99)) * parameters["scale_range"]
        settings["diameters"] = [round(float(low), 1), round(float(high), 1)]
    return settings
