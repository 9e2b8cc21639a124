import numpy as np
import pytest

from nuclei.evaluation.audit import COLUMNS, audit, ranked


def squares(*places, shape=(60, 60), side=8):
    """Squares at these rows and columns, numbered from 1."""
    labels = np.zeros(shape, int)
    for number, (row, column) in enumerate(places, start=1):
        labels[row : row + side, column : column + side] = number
    return labels


PLACES = [(2, 2), (2, 20), (2, 28), (20, 2), (20, 20), (40, 2), (40, 20), (40, 40)]


@pytest.fixture
def predicted():
    return squares(*PLACES)


def test_labels_that_agree_are_not_suspicious(predicted):
    table = audit("x", predicted, predicted, np.full(8, 0.9))
    assert len(table) == 0 and list(table) == COLUMNS


def test_each_kind_of_mistake_is_listed_with_its_place(predicted):
    labels = predicted * 10
    labels[labels == 80] = 0  # missing
    labels[labels == 30] = 20  # merged
    labels[labels == 50] = 0
    labels[25:33, 20:28] = 50  # moved down by five
    labels[20:28, 45:53] = 90  # nothing is there
    table = audit("x", labels, predicted, np.full(8, 0.9)).set_index("kind")
    assert sorted(table.index) == ["merged", "missing", "not found", "outline"]
    assert table.loc["missing", ["label", "predicted", "row", "column", "area"]].tolist() == [
        0,
        8,
        43.5,
        43.5,
        64,
    ]
    assert table.loc["not found", ["label", "predicted", "row", "column"]].tolist() == [90, 0, 23.5, 48.5]
    assert table.loc["merged", ["label", "area"]].tolist() == [20, 128]
    assert table.loc["outline", ["label", "predicted"]].tolist() == [50, 5]


def test_confident_disagreement_in_a_good_image_comes_first(predicted):
    labels = np.where(np.isin(predicted, (7, 8)), 0, predicted)
    confidence = np.array([0.9] * 6 + [0.3, 0.95])
    table = audit("x", labels, predicted, confidence)
    assert table["predicted"].tolist() == [8, 7]
    assert table["suspicion"].tolist() == pytest.approx([0.95 * 12 / 14, 0.3 * 12 / 14], abs=1e-3)


@pytest.mark.parametrize("labels, found", [(0, 0), (1, 0)])
def test_images_without_nuclei(labels, found):
    square = squares((2, 2))
    table = audit("x", square * labels, square * found, np.ones(found))
    assert (table["suspicion"] == 0).all()


@pytest.mark.parametrize("change", [np.zeros_like, lambda labels: np.roll(labels, 9, axis=0)])
def test_an_image_whose_labels_are_missing_or_of_another_comes_first(predicted, change):
    labels = np.where(predicted == 8, 0, predicted)
    good = audit("good", labels, predicted, np.full(8, 0.9))
    bad = audit("bad", change(predicted), predicted, np.full(8, 0.9))
    doubtful = audit("doubtful", change(predicted), predicted, np.full(8, 0.4))
    table = ranked([good, doubtful, bad])
    assert table["image"].head(3).tolist() == ["bad", "good", "doubtful"]
    assert table["kind"].head(3).tolist() == ["image", "missing", "image"]
    assert table.loc[0, ["label", "predicted", "row", "column", "area"]].tolist() == [0, 0, 29.5, 29.5, 3600]


def test_a_confidence_for_each_nucleus(predicted):
    with pytest.raises(ValueError, match="3 confidences for 8 predicted nuclei"):
        audit("x", predicted, predicted, np.ones(3))
