"""What to check first: the nuclei of which the model is least certain, as a table and on a contact sheet."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nuclei.images.intensity import rgb8_converter
from nuclei.images.reading import Image, open_image
from nuclei.output.tables import read_csv, write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # slow to import

SHOWN, OF_ONE_IMAGE = 30, 3
"""Nuclei on the sheet, and at most so many of one image, so that one bad image does not fill it."""

TABLE = "measurements.csv"
NUMBERS = ["label", "confidence", "equivalent_diameter_px", "centroid_x_px", "centroid_y_px"]
REMEDY = "correct it, or rename it and repeat the command to get that of the run"


def least_certain(nuclei: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``measurements.csv``, the least `confidence` first, at most `OF_ONE_IMAGE` of an image.

    Columns are added: ``image_confidence``, the mean of the image's nuclei, and ``image_rank``, 1 for the
    image in which it is lowest.
    """
    means = nuclei.groupby("image")["confidence"].mean()
    few = nuclei.sort_values("confidence", kind="stable").groupby("image", sort=False).head(OF_ONE_IMAGE)
    ranks = means.rank(method="first").astype(int)
    return few.assign(image_confidence=few["image"].map(means), image_rank=few["image"].map(ranks))


Images = Mapping[str, Callable[[], Image]]  # what opens an image, by its name


def sheet(folder: Path, images: Images, rows: pd.DataFrame) -> "Figure":
    """Draw the first `SHOWN` of the rows of `least_certain`, each nucleus in its surroundings.

    `folder` is where label images were saved.
    """
    from nuclei.figures.pictures import contact_sheet

    crops, converters = [], {}
    for row in rows.head(SHOWN).itertuples():
        reach = max(16, round(1.5 * row.equivalent_diameter_px))
        y, x = round(row.centroid_y_px), round(row.centroid_x_px)
        window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        file = folder / f"{row.image}_labels.tif"
        with images[row.image]() as image, open_image(file) as labels:
            numbers = labels.pixels(window)
            if (shape := (*labels.shape, *numbers.shape[2:])) != image.shape:
                expected = f"a label image of shape {image.shape}, as its image"
                raise ValueError(f"{file}: an array of shape {shape}, expected {expected}; {REMEDY}")
            if row.image not in converters:
                with warnings.catch_warnings(action="ignore"):  # shown when the image was segmented
                    converters[row.image] = rgb8_converter(image)
            text = f"nucleus {row.label}: {row.confidence:.2f}"
            shown = converters[row.image](image.pixels(window))
            crops.append((shown, numbers == row.label, row.image, text))
    return contact_sheet(crops, title="The least certain nuclei")


def write_table(path: Path, folder: Path, images: Images) -> None:
    """Write `least_certain` of the nuclei of some images that were measured in a folder."""
    write_csv(path, _rows(folder, images))


def write_sheet(path: Path, folder: Path, images: Images) -> None:
    """Write their `sheet` as PNG."""
    sheet(folder, images, _rows(folder, images)).savefig(path, format="png", dpi=120)


def _rows(folder: Path, images: Images) -> pd.DataFrame:
    """Return `least_certain` of these images; ValueError where a person spoiled the table."""
    path = folder / TABLE
    try:
        nuclei = read_csv(path).astype(dict.fromkeys(NUMBERS, float) | {"label": int, "image": str})
    except (KeyError, ValueError) as error:
        expected = f"commas between columns, and numbers in {', '.join(NUMBERS)}"
        raise ValueError(f"{path}: cannot be used ({error}), expected {expected}; {REMEDY}") from error
    return least_certain(nuclei[nuclei["image"].isin(list(images))])
