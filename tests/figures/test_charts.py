import numpy as np
import pandas as pd
import pytest

from nuclei.evaluation import metrics
from nuclei.figures import charts


def legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def looks(lines):
    return {(line.get_linestyle(), line.get_marker()) for line in lines}


def test_a_data_set_is_counted_by_type_and_size():
    table = pd.DataFrame(
        {
            "type": ["a", "b", "a"],
            "height": [40, 40, 40],
            "width": [60, 80, 60],
            "nuclei": [2, 1, 3],
            "areas": [[100, 90], [80], [70] * 3],
        }
    )
    types, diameters, sizes, counts = charts.data_set(table).axes
    assert [bar.get_width() for bar in types.patches] == [1, 2]
    assert [t.get_text() for t in types.get_yticklabels()] == ["b", "a"]
    assert [t.get_text() for t in diameters.get_yticklabels()] == ["b", "a"]
    assert [t.get_text() for t in sizes.get_yticklabels()] == ["40 × 80", "40 × 60"]
    assert legend(counts) == ["median: 2"]
    many = pd.concat([table.assign(width=width) for width in range(100, 140)], ignore_index=True)
    sizes = charts.data_set(many).axes[2]
    assert len(sizes.patches) == charts.NAMED
    assert sizes.get_yticklabels()[0].get_text() == f"{41 - charts.NAMED} other sizes"


def test_a_history_says_which_epoch_was_kept_and_why():
    log = pd.DataFrame({"epoch": [0, 1, 2], "accuracy": [0.5, 0.8, 0.9], "val_accuracy": [0.6, 0.75, 0.7]})
    for table in (log, log.drop(columns="accuracy")):
        figure = charts.history(table, "accuracy", kept=2, kept_by="val_score", reference=("other", 0.5))
        (axis,) = figure.axes
        assert {"epoch 2, kept: 0.75", "other: 0.5"} <= set(legend(axis))
        assert axis.get_ylabel() == "pixel accuracy"
        title = axis.get_title(loc="left")
        assert title.startswith("Epoch 2 was kept") and "competition score" in title
        assert ("training" in legend(axis)) == ("accuracy" in table)


def test_epochs_are_whole_numbers():
    (axis,) = charts.history(
        pd.DataFrame({"epoch": [0], "val_loss": [0.5]}), "loss", kept=1, kept_by="val_score"
    ).axes
    assert {tick % 1 for tick in axis.get_xticks()} == {0}


def test_precision_curves_are_sorted_and_told_apart_without_colour():
    ap = pd.Series([0.8, 0.4], index=[0.5, 0.75])
    figure = charts.precision_curves(
        {"all": {"model": ap / 2, "best": ap, "worst": ap / 4}, "some": {"other": ap / 4, "model": ap}}
    )
    left, right = figure.axes
    assert legend(left) == ["0.600  best", "0.300  model", "0.150  worst"]
    assert legend(right) == ["0.600  model", "0.150  other"]
    assert [line.get_ydata().tolist() for line in right.lines] == [[0.8, 0.4], [0.2, 0.1]]
    assert len(looks([*left.lines, *right.lines])) == 4, "one look for each name"
    assert left.lines[1].get_color() == right.lines[0].get_color(), "the same name looks the same"


def test_scores_by_type_show_score_and_interval():
    row = {"score": 0.5, "interval": [0.4, 0.7], "images": 3, "fields": 2}
    other = row | {"score": 0.9, "interval": [0.9, 0.9], "images": 1, "fields": 1}
    (axis,) = charts.scores_by_type(pd.DataFrame({"tissue": row, "all culture": other}).T).axes
    assert [bar.get_width() for bar in axis.patches] == [0.9, 0.5]
    assert [t.get_text() for t in axis.get_yticklabels()] == [
        "all culture\n1 image, 1 field of view", "tissue\n3 images, 2 fields of view",
    ]  # fmt: skip
    assert {"0.900", "0.500"} == {t.get_text() for t in axis.texts}
    assert axis.patches[0].get_facecolor() != axis.patches[1].get_facecolor()


def test_recall_by_size_leaves_empty_sizes_out():
    labels = np.zeros((40, 40), int)
    labels[:4, :10], labels[20:, 20:] = 1, 2
    table = metrics.recall_by_area([metrics.match(labels, np.where(labels == 2, 1, 0))])
    (axis,) = charts.recall_by_size(table).axes
    assert [t.get_text() for t in axis.texts] == ["0% of 1", "100% of 1"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["6 to 9", "18 to 26"]


@pytest.mark.parametrize("images", [2, 40])
def test_measurements_of_grey_and_colour_images_are_kept_apart(images):
    summary = pd.DataFrame({"image": [f"image-{k}" for k in range(images)], "nuclei": range(images)})
    grey = pd.DataFrame({"area_px": [100, 200], "intensity_mean": [10.0, 20]})
    colour = pd.DataFrame({"area_px": [100], "intensity_mean_ch0": [3.0], "intensity_mean_ch1": [4.0]})
    titles = [axis.get_title() for axis in charts.measured(pd.concat([grey, colour]), summary).axes]
    assert titles[0] == "Nuclei per image"
    assert titles[2:] == ["Brightness of grey images", "Brightness of images with channels"]
    figure = charts.measured(grey, summary)
    assert len(figure.axes) == 3
    if images == 2:
        assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["image-1", "image-0"]
    assert charts.measured(grey.assign(area_um2=25.0), summary).axes[1].get_xlabel().endswith("µm")
    assert len(charts.measured(grey[:0], summary).axes) == 2, "no nucleus at all"


def test_reliability_compares_confidence_with_matches():
    confidence = np.array([0.1, 0.1, 0.9, 0.9, 0.9, 1.0])
    matched = np.array([0, 1, 1, 1, 1, 0], bool)
    diagram, counts = charts.reliability(confidence, matched, bins=2).axes
    points = diagram.containers[0].lines[0]
    assert np.allclose(points.get_xdata(), [0.1, 0.925]) and np.allclose(points.get_ydata(), [0.5, 0.75])
    assert [bar.get_height() for bar in counts.patches] == [2, 4]
    error = (2 * 0.4 + 4 * 0.175) / 6
    assert diagram.get_title() == f"Expected calibration error {error:.3f}, 6 nuclei"
    empty = charts.reliability(np.zeros(0), np.zeros(0, bool)).axes[0]
    assert empty.get_title().endswith(" 0 nuclei") and not empty.containers[0].lines[0].get_xdata().size
