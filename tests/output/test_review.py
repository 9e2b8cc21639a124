"""What to check first, from three images of which one is doubtful."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from nuclei.images.reading import Image
from nuclei.output.review import least_certain, sheet

NUCLEI = pd.DataFrame(
    {
        "image": list("aaaaabc"),
        "label": [1, 2, 3, 4, 5, 1, 1],
        "confidence": [0.1, 0.5, 0.2, 0.4, 0.3, 0.25, 0.9],
        "equivalent_diameter_px": 4.0,
        "centroid_x_px": 10.0,
        "centroid_y_px": 12.0,
    }
)


def test_the_least_certain_come_first_three_of_an_image_at_most():
    rows = least_certain(NUCLEI)
    assert list(zip(rows["image"], rows["label"], strict=True)) == [
        ("a", 1),
        ("a", 3),
        ("b", 1),
        ("a", 5),
        ("c", 1),
    ]
    assert rows["image_rank"].tolist() == [2, 2, 1, 2, 3]
    assert rows["image_confidence"].tolist() == pytest.approx([0.3, 0.3, 0.25, 0.3, 0.9])


def test_each_nucleus_is_drawn_in_its_surroundings(tmp_path):
    labels = np.zeros((60, 70), np.uint16)
    labels[10:15, 8:13] = 1
    tifffile.imwrite(tmp_path / "b_labels.tif", labels)
    image = Image(np.dstack([labels.astype(np.uint8) * 200]), ("ch0",))
    figure = sheet(tmp_path, {"b": lambda: image}, NUCLEI.query("image == 'b'"))
    (axis,) = figure.axes
    assert axis.get_title() == "b\nnucleus 1: 0.25"
    assert axis.images[0].get_array().shape == (29, 27, 3)  # 16 pixels to each side, as far as there are
    outline = np.concatenate([line for group in axis.collections for line in group.get_segments()])
    assert outline.min() > 6 and outline.max() < 16


def test_without_nuclei_the_sheet_is_empty(tmp_path):
    assert not sheet(tmp_path, {}, least_certain(NUCLEI[:0])).axes


def test_the_contrast_is_that_of_the_whole_image(tmp_path, recwarn):
    values = np.zeros((60, 70), np.uint16)
    values[:20, :20], values[40:, 50:] = 100, 1000
    tifffile.imwrite(tmp_path / "b_labels.tif", (values > 0).astype(np.uint16))
    image = Image(np.dstack([values]), ("ch0",))
    figure = sheet(tmp_path, {"b": lambda: image}, NUCLEI.query("image == 'b'"))
    assert figure.axes[0].images[0].get_array().max() < 255  # the brightest pixels are elsewhere
    assert not recwarn  # though there are only two grey values here
