from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from nuclei.figures import drawing
from nuclei.figures.colours import BOTH, DARK, PREDICTION, TRUTH

BLUE = np.round(np.multiply(to_rgb(PREDICTION), 255)).astype(int).tolist()


@pytest.fixture
def labels():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 20:30], labels[15:25, 20:30] = 1, 2
    return labels


def tenfold(labels):
    """Labels so large that an overlay is not enlarged."""
    return labels.repeat(10, axis=0).repeat(10, axis=1)


def test_overlays_outline_every_nucleus(labels):
    image = np.full((400, 600, 3), 5, np.uint8)
    drawn = drawing.overlay(image, tenfold(labels))
    assert drawn.shape == (400, 600, 3) and drawn[50, 250].tolist() == BLUE
    assert drawn[149, 250].tolist() == drawn[150, 250].tolist() == BLUE, "also between two that touch"
    assert drawn[100, 250].tolist() == drawn[49, 250].tolist() == [39] * 3, "inside and outside stay free"
    assert np.all(image == 5), "the image itself is left alone"


def test_overlays_of_bright_images_have_a_white_line_around_the_outlines(labels):
    drawn = drawing.overlay(np.full((400, 600, 3), (160, 100, 200), np.uint8), tenfold(labels))
    assert drawn[49, 250].tolist() == [255] * 3 and drawn[50, 250].tolist() == BLUE


@pytest.mark.parametrize(("side", "diameter", "scale"), [(400, 8, 4), (150, 40, 4), (900, 8, 1), (40, 0, 15)])
def test_overlays_are_enlarged_until_nuclei_show(side, diameter, scale):
    labels = np.zeros((side, side), np.int32)
    labels[:diameter, :diameter] = 1
    assert drawing.overlay(np.zeros((side, side, 3), np.uint8), labels).shape[0] == side * scale


def test_outlines_that_agree_are_white(labels):
    def length(**drawn):
        axis = Figure().subplots()
        drawing.draw_outlines(axis, **drawn)
        shown = {to_hex(lines.get_color()[0]).upper(): lines for lines in axis.collections}
        return {colour: len(lines.get_segments()) for colour, lines in shown.items() if colour != DARK}

    both = length(truth=labels, predicted=labels)
    assert both[TRUTH] == both[PREDICTION] == 0 < both[BOTH]
    one = length(truth=labels, predicted=labels == 1)
    assert one[TRUTH] > 0 == one[PREDICTION] and one[BOTH] > 0
    alone = length(predicted=labels)
    assert alone[PREDICTION] > 0 == alone[TRUTH] == alone[BOTH]
    assert not any(length(truth=labels * 0).values()), "no nuclei, no outlines"


def test_contours_run_half_a_pixel_outside_of_the_pixels(labels):
    first, second = drawing.contours(labels)
    assert first[:, 0].min() == pytest.approx(19.5, abs=0.1) and first[:, 0].max() == pytest.approx(
        29.5, abs=0.1
    )
    assert first[:, 1].min() == pytest.approx(4.5, abs=0.1) and second[:, 1].max() == pytest.approx(
        24.5, abs=0.1
    )
    assert len(drawing.contours(np.eye(3, dtype=bool)[:1])) == 1, "a single pixel is drawn too"


def test_dim_images_are_brightened_and_bright_ones_stay():
    dim = np.arange(50, dtype=np.uint8).repeat(20).reshape(25, 40, 1).repeat(3, axis=-1)
    assert drawing.brightened(dim).max() == 255
    bright = np.full((4, 4, 3), 255, np.uint8)
    assert np.array_equal(drawing.brightened(bright), bright)
    assert drawing.brightened(np.full((4, 4, 3), 2, np.uint8)).max() < 20, "noise stays dark"


def test_of_a_large_image_the_busiest_square_is_shown():
    labels = np.zeros((500, 300), int)
    labels[420:450, 210:240] = 1
    down, across = drawing.busiest_square([labels, labels], 200)
    assert down.stop - down.start == across.stop - across.start == 200
    assert down.start <= 420 < 450 <= down.stop and across.start <= 210 < 240 <= across.stop
    assert drawing.busiest_square([labels[:7, :5]], 200) == np.s_[0:5, 0:5]


def test_a_close_up_is_nine_nuclei_wide():
    labels = np.zeros((500, 300), int)
    labels[420:440, 210:230] = 1  # a circle of this area is 22.6 pixels wide
    rows, columns = drawing.close_up([labels], 250)
    assert rows.stop - rows.start == columns.stop - columns.start == 203
    assert rows.start <= 420 and rows.stop >= 440
    rows, _ = drawing.close_up([labels], 100)
    assert rows.stop - rows.start == 100


def test_the_most_crowded_sample_of_each_type_is_drawn(squares):
    fewer = squares[0].labels.copy()
    fewer[fewer == 3] = 0
    squares[0] = replace(squares[0], labels=fewer)
    ((kind, shown),) = drawing.most_crowded(squares, 32).items()
    assert kind == "small fluorescent" and shown.id == "square-1" and shown.labels.shape == (32, 32)
    assert drawing.most_crowded(squares)[kind].image.shape == (64, 64, 3)
