import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nuclei.figures import pictures
from nuclei.figures.colours import BOTH, PREDICTION, TRUTH
from nuclei.figures.style import WIDTH
from nuclei.segmentation.candidates import Candidates


@pytest.fixture
def pair():
    image = np.full((40, 60, 3), 50, np.uint8)
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 20:30], labels[15:25, 20:30] = 1, 2
    return image, labels


def titles(figure):
    return [axis.get_title() for axis in figure.axes]


def test_agreement_speaks_the_colour_language():
    truth, predicted = np.array([[0, 0, 1, 1]], bool), np.array([[0, 1, 0, 1]], bool)
    picture = pictures.agreement(np.zeros((1, 4, 3), np.uint8), truth, predicted)[0]
    assert not picture[0].any()
    for pixel, colour in zip(picture[1:], (PREDICTION, TRUTH, BOTH), strict=True):
        assert np.allclose(pixel / pixel.max(), np.array(to_rgb(colour)) / max(to_rgb(colour)))


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_few_samples_make_rows_many_make_columns(pair, number):
    image, labels = pair
    before = dict(matplotlib.rcParams)
    figure = pictures.examples([image] * number, [labels] * number, list("abcde")[:number], title="t")
    assert matplotlib.rcParams == before, "the reader's own style is left alone"
    axes = np.array(figure.axes).reshape((2, number) if number > 2 else (number, 2))
    names = [axis.get_title() for axis in axes[0]] if number > 2 else [a.get_ylabel() for a in axes[:, 0]]
    assert names == list("abcde")[:number]
    width, height = figure.get_size_inches()
    assert width <= WIDTH and height <= 0.8 * WIDTH


def test_a_frame_shows_where_the_close_up_lies(pair):
    image, labels = np.full((400, 500, 3), 50, np.uint8), np.zeros((400, 500), np.int32)
    labels[300:310, 20:30], labels[300:310, 40:50] = 1, 2
    above, below = pictures.examples([image], [labels], ["a"], predicted=True).axes
    assert below.get_title() == "close-up with\npredicted outlines"
    side = below.images[0].get_size()[0]
    assert {patch.get_width() for patch in above.patches} == {side} and side < 150
    assert not pictures.examples([pair[0]], [pair[1]], ["a"]).axes[0].patches, "all of it is shown"


def test_ticks_mark_where_tiles_meet_and_gaps_are_named(pair):
    image = np.dstack([pair[0], np.full((40, 60), 255, np.uint8)])
    with_gap = image.copy()
    with_gap[20:, :30] = 0
    whole, broken = pictures.mosaics([image, with_gap], [(20, 30)] * 2, ["field", "other"]).axes
    assert whole.get_yticks().tolist() == [19.5] and whole.get_xticks().tolist() == [29.5]
    assert not whole.texts
    (text,) = broken.texts
    assert text.get_text() == "not in the\ndata set"
    assert with_gap[text.get_position()[1], text.get_position()[0], 3] == 0


def test_one_field_is_no_giant_picture():
    field = np.full((512, 512, 4), 255, np.uint8)
    assert max(pictures.mosaics([field], [(256, 256)], ["field"]).get_size_inches()) < 5


def test_predictions_leave_out_samples_without_nuclei(pair):
    image, labels = pair
    foreground, nothing = labels > 0, np.zeros(labels.shape, bool)
    truths = [foreground, nothing, foreground, nothing]
    maps = [0.7 * foreground, 0.1 * foreground, 0.0 * foreground, 0.6 * foreground]
    figure = pictures.predictions([image] * 4, truths, maps, list("abcd"))
    assert len(figure.axes) == 12 and titles(figure)[:3] == ["a", "c", "d"]
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["image", "truth", "prediction", "comparison"]
    assert len(pictures.predictions([image] * 3, [nothing] * 3, [0.0 * nothing] * 3).axes) == 12, "all empty"


def test_a_gallery_has_a_column_for_each_group(pair):
    shown = [(*pair, pair[1], text) for text in ("best: 1.00", "worst: 0.10")]
    figure = pictures.gallery({"a": shown, "b": shown[:1], "c": shown}, title="t")
    assert titles(figure) == ["a\nbest: 1.00", "b\nbest: 1.00", "c\nbest: 1.00", "worst: 0.10", "worst: 0.10"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "true outline", "predicted outline", "both agree",
    ]  # fmt: skip
    one = pictures.gallery({"a": shown})
    assert titles(one) == ["best: 1.00", "worst: 0.10"] and one.axes[0].get_ylabel() == "a"
    assert one.get_size_inches()[1] < 5


def test_a_pipeline_shows_the_steps_that_there_are(pair):
    image, labels = pair
    maps = np.dstack([labels > 0] * 2) * 0.9
    plain = pictures.pipeline(image, maps[..., :1], labels, labels)
    assert [title.split("  ")[1].split(":")[0] for title in titles(plain)] == [
        "image", "foreground map", "nuclei kept", "comparison with the truth",
    ]  # fmt: skip
    pixels = [np.flatnonzero(labels.ravel() == k).astype(np.int32) for k in (1, 2)]
    both = np.concatenate([*pixels, *pixels])  # each alone, and the two as one
    candidates = Candidates(labels.shape, both, np.array([0, 100, 200]), np.array([100, 200, 400]), None)
    rated = (candidates, np.array([0.9, 0.8, 0.3]))
    figure = pictures.pipeline(image, maps, labels, labels, candidates=rated, confidence=np.array([0.9, 0.8]))
    assert [title[:2] for title in titles(figure)] == ["1 ", "2 ", "3 ", "4 ", "5 ", "6 "]
    assert titles(figure)[3] == "4  3 candidates, bright: rated high"
    assert len(figure.axes[3].collections[0].get_segments()) == 3
    assert [text.get_text() for text in figure.axes[4].texts] == ["0.90", "0.80"]
    assert isinstance(figure, Figure)
