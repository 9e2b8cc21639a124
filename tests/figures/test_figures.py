import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nuclei.evaluation import metrics
from nuclei.figures import charts, pictures

ORANGE, BLUE = (
    np.round(np.multiply(to_rgb(c), 255)).astype(int).tolist() for c in (pictures.TRUTH, pictures.PREDICTION)
)


@pytest.fixture
def pair():
    image = np.full((40, 60, 3), 50, np.uint8)
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 20:30], labels[15:25, 20:30] = 1, 2
    return image, labels


def colours(picture):
    return {tuple(c) for c in np.asarray(picture).reshape(-1, 3).tolist()}


def test_outlines_run_around_every_nucleus(pair):
    image, labels = pair
    drawn = pictures.outlined(image, {pictures.TRUTH: labels}, scale=1)
    assert colours(drawn) == {(50, 50, 50), tuple(ORANGE)}
    assert drawn[15, 25].tolist() == ORANGE, "also between two that touch"
    assert drawn[10, 25].tolist() == [50] * 3, "the inside stays free"
    assert np.all(image == 50), "the image itself is left alone"


def test_outlines_that_agree_are_white(pair):
    image, labels = pair
    drawn = pictures.outlined(image, {pictures.TRUTH: labels, pictures.PREDICTION: labels}, scale=3)
    assert drawn.shape == (120, 180, 3) and colours(drawn) == {(50, 50, 50), (255, 255, 255)}
    half = pictures.outlined(image, {pictures.TRUTH: labels, pictures.PREDICTION: labels == 1}, scale=3)
    assert colours(half) >= {(50, 50, 50), (255, 255, 255), tuple(ORANGE)}


def test_agreement_speaks_the_colour_language():
    truth, predicted = np.array([[0, 0, 1, 1]], bool), np.array([[0, 1, 0, 1]], bool)
    picture = pictures.agreement(np.zeros((1, 4, 3), np.uint8), truth, predicted)[0]
    assert not picture[0].any()
    for pixel, colour in zip(picture[1:], (pictures.PREDICTION, pictures.TRUTH, pictures.BOTH), strict=True):
        assert np.allclose(pixel / pixel.max(), np.array(to_rgb(colour)) / max(to_rgb(colour)))


def test_dim_images_are_brightened_and_bright_ones_stay():
    dim = np.arange(50, dtype=np.uint8).repeat(20).reshape(25, 40, 1).repeat(3, axis=-1)
    assert pictures.brightened(dim).max() == 255
    bright = np.full((4, 4, 3), 255, np.uint8)
    assert np.array_equal(pictures.brightened(bright), bright)
    assert pictures.brightened(np.full((4, 4, 3), 2, np.uint8)).max() < 20, "noise stays dark"


def test_every_figure_can_be_drawn_and_saved(pair, tmp_path):
    image, labels = pair
    foreground = labels > 0
    table = pd.DataFrame(
        {
            "type": ["a", "b"],
            "height": [40, 40],
            "width": [60, 80],
            "nuclei": [2, 1],
            "areas": [[100, 90], [80]],
        }
    )
    log = pd.DataFrame({"epoch": [0, 1], "loss": [1, 0.5], "val_loss": [1, 0.7]})
    figures = {
        "examples": pictures.examples([image] * 3, [labels] * 3, ["a", "b", "c"]),
        "predictions": pictures.predictions([image] * 2, [foreground] * 2, [foreground * 0.7] * 2, title="t"),
        "gallery": pictures.gallery([image] * 5, [labels] * 5, [labels] * 5, list("abcde"), title="t"),
        "data_set": charts.data_set(table),
        "pipeline": pictures.pipeline(image, foreground[..., None] * 0.9, labels, labels),
        "pipeline of two maps": pictures.pipeline(image, np.dstack([foreground] * 2) * 0.9, labels, labels),
        "mosaics": pictures.mosaics([image] * 2, [(20, 30)] * 2, ["a", "b"]),
        "history": charts.history(log, "loss", label="loss", reference=("published", 0.6)),
    }
    before = dict(matplotlib.rcParams)
    for name, figure in figures.items():
        assert isinstance(figure, Figure)
        pictures.save(figure, tmp_path / "new" / f"{name}.png")
        assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert matplotlib.rcParams == before, "the reader's own style is left alone"
    assert len(list((tmp_path / "new").iterdir())) == len(figures), "no temporary file is left"


def test_a_history_names_the_epoch_that_was_kept():
    log = pd.DataFrame({"epoch": [0, 1, 2], "accuracy": [0.5, 0.8, 0.9], "val_accuracy": [0.6, 0.75, 0.7]})
    for table in (log, log.drop(columns="accuracy")):
        (axis,) = charts.history(table, "accuracy", label="pixel accuracy", kept=2).axes
        texts = [text.get_text() for text in axis.get_legend().get_texts()]
        assert "kept: 0.75000, epoch 2" in texts and axis.get_ylabel() == "pixel accuracy"
        assert ("training" in texts) == ("accuracy" in table)


def test_a_figure_that_cannot_be_saved_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    figure = Figure()
    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError):
        pictures.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_seams_are_marked_where_tiles_meet(pair):
    image, _ = pair
    (axis,) = pictures.mosaics([image], [(20, 30)], ["field"]).axes
    assert axis.get_yticks().tolist() == [19.5] and axis.get_xticks().tolist() == [29.5]


def test_precision_curves_are_what_they_were_given():
    ap = pd.Series([0.8, 0.4], index=[0.5, 0.75])
    figure = charts.precision_curves({"all": {"model": ap, "other": ap / 2}, "some": {"model": ap / 4}})
    for axis, names, values in zip(
        figure.axes,
        [["model: mean 0.600", "other: mean 0.300"], ["model: mean 0.150"]],
        [[[0.8, 0.4], [0.4, 0.2]], [[0.2, 0.1]]],
        strict=True,
    ):
        assert [line.get_ydata().tolist() for line in axis.lines] == values
        assert [t.get_text() for t in axis.get_legend().get_texts()] == names
    colours = [line.get_color() for axis in figure.axes for line in axis.lines]
    assert colours[0] == colours[2] != colours[1]


def test_precision_by_type_is_what_it_was_given():
    ap = pd.Series([0.8, 0.4], index=[0.5, 0.75])
    (axis,) = charts.precision_by_type({"small fluorescent": ap, "purple tissue": ap / 2}).axes
    assert [line.get_ydata().tolist() for line in axis.lines] == [[0.8, 0.4], [0.4, 0.2]]
    names = [t.get_text() for t in axis.get_legend().get_texts()]
    assert names == ["small fluorescent: mean 0.600", "purple tissue: mean 0.300"]


def test_of_a_large_image_the_busiest_square_is_shown():
    labels = np.zeros((500, 300), int)
    labels[420:450, 210:240] = 1
    down, across = pictures._busiest_square(labels, labels, 200)
    assert down.stop - down.start == across.stop - across.start == 200
    assert down.start <= 420 < 450 <= down.stop and across.start <= 210 < 240 <= across.stop
    assert pictures._busiest_square(labels[:7, :5], labels[:7, :5], 200) == np.s_[0:5, 0:5]


def test_scores_by_type_show_score_and_interval():
    row = {"score": 0.5, "interval": [0.4, 0.7], "images": 3, "fields": 2}
    table = pd.DataFrame({"tissue": row, "culture": row | {"score": 0.9, "interval": [0.9, 0.9]}}).T
    (axis,) = charts.scores_by_type(table).axes
    assert [bar.get_width() for bar in axis.patches] == [0.9, 0.5]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["culture (3, 2)", "tissue (3, 2)"]


def test_recall_by_size_leaves_empty_sizes_out():
    labels = np.zeros((40, 40), int)
    labels[:4, :10], labels[20:, 20:] = 1, 2
    table = metrics.recall_by_area([metrics.match(labels, np.where(labels == 2, 1, 0))])
    (axis,) = charts.recall_by_size(table).axes
    assert [t.get_text() for t in axis.texts] == ["0% of 1", "100% of 1"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["6 to 9", "18 to 26"]
