"""What notebooks need of their own: checked parameters, recipes, results in their places, and widgets."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import yaml
from PIL import Image

from nuclei.common import ROOT
from nuclei.figures.drawing import overlay
from nuclei.figures.style import shortened
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import open_image
from nuclei.output.tables import read_csv


def check_parameters(namespace: dict) -> None:
    """Stop a notebook whose injected parameters do not match its parameters cell; papermill only warns.

    Call it as ``check_parameters(globals())`` after the cell that is tagged "parameters", in which every
    parameter stands with its type: ``epochs: int = 2``, or a text that names several: ``"str or list"``.

    Raises NameError where a name was injected that the cell does not know, TypeError where a value has
    another type. None always passes (papermill cannot read ``str | None``), and so does an int for a float.
    """
    types = namespace.get("__annotations__", {})
    for cell in namespace.get("In", []):
        if not cell.startswith("# Parameters"):  # papermill's heading of the cell that it injects
            continue
        injected: dict = {}
        exec(cell, injected)
        if unknown := sorted(injected.keys() - types.keys() - {"__builtins__"}):
            raise NameError(
                f"unknown parameter {unknown[0]!r}. This notebook has: {', '.join(sorted(types))}."
            )
    for name, kind in types.items():
        value, expected = namespace[name], kind if isinstance(kind, str) else kind.__name__
        found, fits = type(value).__name__, [*expected.split(" or "), "NoneType"]
        if found not in fits and not (found == "int" and "float" in fits):
            hint = "In a recipe write 0.001, not 1e-3, and true or false without quotes."
            raise TypeError(f"parameter {name} is {value!r}, of type {found}; expected {expected}. {hint}")


def parameter_values(namespace: dict) -> dict:
    """Return the notebook's parameters and their current values, to be saved with a result."""
    return {name: namespace[name] for name in namespace["__annotations__"]}


def recipe(*names: str) -> dict:
    """Return the parameters of 02_train in ``base.yml``, changed by the recipes named, the last one last."""
    parameters: dict = {}
    for name in ("base", *names):
        parameters |= yaml.safe_load((ROOT / "notebooks" / "recipes" / f"{name}.yml").read_text())
    return parameters


def browse(show: Callable, **choices) -> None:
    """Show ``show(**values)`` below widgets for the values, see `ipywidgets.interact`.

    Do nothing in notebooks run by papermill, nbconvert or nbval: only a Jupyter server names the session.
    """
    if "JPY_SESSION_NAME" not in os.environ:
        return
    from IPython.display import display
    from ipywidgets import interact

    interact(lambda **values: display(show(**values)), **choices)


def results_folder(parent: str | Path, images: str | list[str]) -> str:
    """Return the folder below `parent` for the results of `images`: each place has one of its own.

    It is named after the path of the images, or of the first of several, up to the first ``*``.
    """
    first = Path(images if isinstance(images, str) else next(iter(images), ""))
    parts = [part for part in first.with_suffix("").parts if part.strip("./\\")]
    stop = next((k for k, part in enumerate(parts) if "*" in part), len(parts))
    return str(Path(parent) / ("_".join(parts[:stop]).replace(":", "") or "images"))


def overview(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the main columns of ``summary.csv``, one row per image: rounded, no empty ones."""
    size = ["nuclei", "touching_border", "median_diameter_px", "scale", "covered"]
    trust = ["mean_confidence", "strangeness", "note", "warning"]
    table = summary.set_index(summary["image"].map(shortened)).reindex(columns=[*size, *trust])
    return table.round(3).dropna(axis=1, how="all").fillna({"note": "", "warning": ""})


def outlined_image(
    folder: str | Path, files: Mapping[str, Path], image: str, confidence: float = 0.0, **reading: Any
) -> Image.Image:
    """Return the picture of an image with the outlines of its nuclei of at least a confidence, 0-1.

    `folder` has its results, `files` are images by name, see `find_images`, and `reading` the channel and
    page with which it was segmented.
    """
    labels = tifffile.imread(f"{folder}/{image}_labels.tif")
    table = read_csv(Path(folder, "measurements.csv")).query("image == @image")
    kept = table.loc[table["confidence"] >= confidence, "label"]
    shown = as_rgb8(open_image(files[image], **reading).pixels())
    return Image.fromarray(overlay(shown, np.where(np.isin(labels, kept), labels, 0)))
