"""What notebooks need of their own: checked parameters, recipes, results in their places, and widgets.

papermill only warns of a misspelt parameter; `check_parameters` stops the notebook.
"""

import ast
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml
from PIL import Image

from nuclei.common import ROOT
from nuclei.figures.drawing import overlay
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import open_image


def check_parameters(namespace: dict) -> None:
    """Stop a notebook whose injected parameters do not match its parameters cell.

    Call it as ``check_parameters(globals())`` after the cell that is tagged "parameters", in which every
    parameter stands with its type: ``epochs: int = 2  # passes over the training set``. A type may be a
    text that names several, such as ``"str or list"``.

    Parameters
    ----------
    namespace : dict
        The notebook's globals. ``In`` is IPython's list of the cells run so far.

    Raises
    ------
    NameError
        A name was injected that the parameters cell does not know.
    TypeError
        A value has another type than the parameter's, such as the text "false" for a bool. None, for
        "without", always passes (papermill cannot read ``str | None``), and so does an int for a float.
    """
    types = namespace.get("__annotations__", {})
    for cell in namespace.get("In", []):
        if not cell.startswith("# Parameters"):  # papermill's heading of the cell that it injects
            continue
        for statement in ast.parse(cell).body:
            if not (
                isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name)
            ):
                continue
            if (name := target.id) not in types:
                raise NameError(f"unknown parameter {name!r}. This notebook has: {', '.join(sorted(types))}.")
    for name, kind in types.items():
        value, expected = namespace[name], kind if isinstance(kind, str) else kind.__name__
        found, fits = type(value).__name__, [*expected.split(" or "), "NoneType"]
        if found not in fits and not (found == "int" and "float" in fits):
            raise TypeError(
                f"parameter {name} is {value!r}, of type {found}; expected {expected}. "
                "In a recipe write 0.001, not 1e-3, and true or false without quotes."
            )


def parameter_values(namespace: dict) -> dict:
    """Return the notebook's parameters and their current values, to be saved with a result."""
    return {name: namespace[name] for name in namespace["__annotations__"]}


def recipe(*names: str) -> dict:
    """Return the parameters of 02_train in ``base.yml``, changed by those of the recipes that are named.

    `names` are files in ``notebooks/recipes/`` without their ending. Later ones override earlier ones, as
    with several ``-f`` of papermill.
    """
    folder = ROOT / "notebooks" / "recipes"
    parameters: dict = {}
    for name in ("base", *names):
        parameters |= yaml.safe_load((folder / f"{name}.yml").read_text())
    return parameters


def browse(show: Callable, **choices) -> None:
    """Show ``show(**values)`` below a widget for each value; do nothing where no one can use a widget.

    That is in notebooks run by papermill, nbconvert or nbval: only a Jupyter server names the session.

    Parameters
    ----------
    show : function
        Returns what is to be shown, such as a figure.
    choices
        By argument of `show`: a list of values becomes a menu, ``(least, greatest, step)`` a slider; see
        `ipywidgets.interact`.
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
    first = Path(images if isinstance(images, str) else images[0])
    parts = [part for part in first.with_suffix("").parts if part.strip("./\\")]
    stop = next((k for k, part in enumerate(parts) if "*" in part), len(parts))
    return str(Path(parent) / ("_".join(parts[:stop]).replace(":", "") or "images"))


def outlined_image(
    folder: str | Path,
    files: Mapping[str, Path],
    name: str,
    least_confidence: float = 0.0,
    channel: int | None = None,
    page: int | None = None,
) -> Image.Image:
    """Return the picture of an image with the outlines of its nuclei above a confidence.

    Parameters
    ----------
    folder : path
        Where `nuclei.workflows.segment.segment` saved labels and measurements.
    files : mapping of str to Path
        The images by name, see `nuclei.images.finding.find_images`.
    name : str
    least_confidence : float, 0-1
    channel, page : int, optional
        Those with which the image was segmented.
    """
    labels = tifffile.imread(f"{folder}/{name}_labels.tif")
    table = pd.read_csv(f"{folder}/measurements.csv").query("image == @name")
    kept = table.loc[table["confidence"] >= least_confidence, "label"]
    image = as_rgb8(open_image(files[name], channel, page).pixels())
    return Image.fromarray(overlay(image, np.where(np.isin(labels, kept), labels, 0)))
