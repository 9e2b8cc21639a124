"""Measurements of nuclei that can be counted by hand."""

import numpy as np
import pytest

from nuclei.images.reading import Image
from nuclei.output.formats import Result, summary_row
from nuclei.output.measurements import measure

LABELS = np.zeros((8, 10), np.int32)
LABELS[1:3, 2:8] = 3  # lies along x, 12 pixels
LABELS[4:8, 9] = 7  # stands along y, at the border, 4 pixels
IMAGE = np.arange(80, dtype=np.uint16).reshape(8, 10, 1) * 100
CONFIDENCE = np.array([0, 0, 0.75, 0, 0, 0, 0.5])


def test_by_hand():
    first, second = measure(LABELS, IMAGE, CONFIDENCE).to_dict("records")
    assert (first["label"], first["area_px"], second["label"], second["area_px"]) == (3, 12, 7, 4)
    assert (first["centroid_x_px"], first["centroid_y_px"]) == (4.5, 1.5)
    assert (second["centroid_x_px"], second["centroid_y_px"]) == (9, 5.5)
    assert (first["orientation_deg"], second["orientation_deg"]) == pytest.approx((0, 90))
    assert (first["solidity"], second["eccentricity"]) == (1, 1)
    inside = IMAGE[LABELS == 3]
    assert first["intensity_integrated"] == inside.sum() and first["intensity_mean"] == inside.mean()
    assert (first["intensity_min"], first["intensity_max"]) == (1200, 2700)
    assert (first["touches_border"], second["touches_border"]) == (False, True)
    assert (first["confidence"], second["confidence"]) == (0.75, 0.5)


def test_a_nucleus_that_rises_to_the_right_has_less_than_90_degrees():
    rising = np.fliplr(np.eye(9, dtype=int))
    table = measure(rising, np.zeros((9, 9, 1)), np.ones(1))
    assert table["orientation_deg"].item() == pytest.approx(45)


def test_micrometres():
    table = measure(LABELS, IMAGE, CONFIDENCE, pixel_size=(0.5, 0.5))
    assert table["area_um2"].tolist() == [3, 1]
    assert table["centroid_x_um"].tolist() == [2.25, 4.5]
    for name in ("perimeter", "equivalent_diameter", "major_axis", "minor_axis"):
        np.testing.assert_array_equal(table[f"{name}_um"], table[f"{name}_px"] / 2)
    assert not [name for name in measure(LABELS, IMAGE, CONFIDENCE) if "um" in name]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_every_channel_in_its_own_values(dtype):
    image = np.stack([LABELS, 2 * LABELS], axis=-1).astype(dtype)
    table = measure(LABELS, image, CONFIDENCE)
    assert "intensity_mean" not in table
    for k, channel in enumerate(np.moveaxis(image, -1, 0)):
        assert table[f"intensity_max_ch{k}"].tolist() == [channel[1, 2], channel[7, 9]]
        assert table[f"intensity_integrated_ch{k}"].tolist() == [12 * channel[1, 2], 4.0 * channel[7, 9]]


def test_floats_of_16_bits_do_not_overflow():
    half = IMAGE.astype(np.float16)
    assert measure(LABELS, half, CONFIDENCE).equals(measure(LABELS, half.astype(np.float32), CONFIDENCE))


@pytest.mark.parametrize("pixel_size", [None, (0.5, 0.5), (0.5, 0.25)])
def test_without_nuclei_the_header_is_the_same(pixel_size):
    none = measure(np.zeros_like(LABELS), IMAGE, CONFIDENCE, pixel_size)
    assert len(none) == 0
    assert list(none) == list(measure(LABELS, IMAGE, CONFIDENCE, pixel_size))
    row = summary_row(Result("a", "a.png", Image(IMAGE, ("ch0",)), LABELS, none)).iloc[0]
    assert (row["nuclei"], row["covered"]) == (0, 0)
    assert row["median_area_px"] is row["mean_confidence"] is None


def test_a_row_per_image():
    table = measure(LABELS, IMAGE, CONFIDENCE, (0.5, 0.25))
    image = Image(IMAGE, ("ch0",), pixel_size=(0.5, 0.25), note="a note")
    result = Result("a", "a.png", image, LABELS, table, [1, 2], 3.5, 1.25, "a warning")
    assert summary_row(result).iloc[0].to_dict() == {
        "image": "a",
        "file": "a.png",
        "width_px": 10,
        "height_px": 8,
        "pixel_width_um": 0.25,
        "pixel_height_um": 0.5,
        "nuclei": 2,
        "touching_border": 1,
        "median_area_px": 8,
        "median_area_um2": 1,
        "covered": 16 / 80,
        "mean_confidence": 0.625,
        "scale": "1 2",
        "median_diameter_px": 3.5,
        "strangeness": 1.25,
        "note": "a note",
        "warning": "a warning",
    }


def test_the_smallest_image():
    (row,) = measure(np.ones((1, 1), int), np.full((1, 1, 1), 9), np.ones(1)).to_dict("records")
    assert (row["area_px"], row["intensity_mean"], row["intensity_std"]) == (1, 9, 0)
    assert row["perimeter_px"] == 0 and np.isnan(row["circularity"])


def test_a_square_of_nine_pixels():
    """Its perimeter runs through the centres of the border pixels: 4 times 2."""
    labels = np.pad(np.ones((3, 3), int), 2)
    (row,) = measure(labels, np.arange(49).reshape(7, 7, 1), np.ones(1)).to_dict("records")
    assert row["perimeter_px"] == 8 and row["circularity"] == pytest.approx(4 * np.pi * 9 / 64)
    assert row["equivalent_diameter_px"] == pytest.approx(2 * np.sqrt(9 / np.pi))
    assert row["major_axis_px"] == row["minor_axis_px"] == pytest.approx(4 * np.sqrt(2 / 3))
    values = [16, 17, 18, 23, 24, 25, 30, 31, 32]
    assert (row["intensity_median"], row["intensity_std"]) == (24, pytest.approx(np.std(values)))


def test_pixels_that_are_not_square():
    """9 by 9 pixels of 1 by 3 micrometres lie along x."""
    labels = np.pad(np.ones((9, 9), int), 2)
    (row,) = measure(labels, np.zeros((13, 13, 1)), np.ones(1), (1, 3)).to_dict("records")
    assert (row["area_px"], row["area_um2"]) == (81, 243)
    assert (row["centroid_y_um"], row["centroid_x_um"]) == (6, 18)
    assert row["major_axis_um"] == pytest.approx(3 * row["minor_axis_um"])
    assert row["equivalent_diameter_um"] == pytest.approx(2 * np.sqrt(243 / np.pi))
    assert row["eccentricity"] == pytest.approx(np.sqrt(1 - 1 / 9)) and row["orientation_deg"] == 0
    assert np.isnan(row["perimeter_um"]) and np.isnan(row["circularity"])
    assert row["major_axis_px"] == pytest.approx(row["minor_axis_px"])
