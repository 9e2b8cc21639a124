"""Measurements of nuclei that can be counted by hand."""

import numpy as np
import pytest

from nuclei.output.measurements import measure, summarise

LABELS = np.zeros((8, 10), np.int32)
LABELS[1:3, 2:8] = 3  # lies along x, 12 pixels
LABELS[4:8, 9] = 7  # stands along y, at the border, 4 pixels
IMAGE = np.arange(80, dtype=np.uint16).reshape(8, 10, 1) * 100
FOREGROUND = np.where(LABELS == 3, 0.75, 0.5)


def test_by_hand():
    first, second = measure(LABELS, IMAGE, FOREGROUND).to_dict("records")
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
    assert measure(rising, IMAGE[:1].repeat(9, 0)[:, :9], rising)["orientation_deg"].item() == pytest.approx(
        45
    )


def test_micrometres():
    table = measure(LABELS, IMAGE, FOREGROUND, pixel_size=0.5)
    assert table["area_um2"].tolist() == [3, 1]
    assert table["centroid_x_um"].tolist() == [2.25, 4.5]
    np.testing.assert_array_equal(table["perimeter_um"], table["perimeter_px"] / 2)
    assert not [name for name in measure(LABELS, IMAGE, FOREGROUND) if "um" in name]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_every_channel_in_its_own_values(dtype):
    image = np.stack([LABELS, 2 * LABELS], axis=-1).astype(dtype)
    table = measure(LABELS, image, FOREGROUND)
    assert "intensity_mean" not in table
    for k, channel in enumerate(np.moveaxis(image, -1, 0)):
        assert table[f"intensity_max_ch{k}"].tolist() == [channel[1, 2], channel[7, 9]]
        assert table[f"intensity_integrated_ch{k}"].tolist() == [12 * channel[1, 2], 4.0 * channel[7, 9]]


@pytest.mark.parametrize("pixel_size", [None, 0.5])
def test_without_nuclei_the_header_is_the_same(pixel_size):
    none = measure(np.zeros_like(LABELS), IMAGE, FOREGROUND, pixel_size)
    assert len(none) == 0
    assert list(none) == list(measure(LABELS, IMAGE, FOREGROUND, pixel_size))
    row = summarise(none, LABELS.shape, pixel_size)
    assert (row["nuclei"], row["covered"], row["median_area_px"], row["mean_confidence"]) == (
        0,
        0,
        None,
        None,
    )


def test_a_row_per_image():
    assert summarise(measure(LABELS, IMAGE, FOREGROUND, 0.5), LABELS.shape, 0.5) == {
        "width_px": 10,
        "height_px": 8,
        "pixel_size_um": 0.5,
        "nuclei": 2,
        "touching_border": 1,
        "median_area_px": 8,
        "median_area_um2": 2,
        "covered": 16 / 80,
        "mean_confidence": 0.625,
    }


def test_the_smallest_image():
    one = np.ones((1, 1), int)
    assert measure(one, np.full((1, 1, 1), 9), one)["intensity_mean"].tolist() == [9]
