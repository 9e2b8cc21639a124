"""Counts and scores of pixels and nuclei, by hand, by property, and against another implementation."""

import tracemalloc
from fractions import Fraction

import cellseg_metrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nuclei.data.labels import smallest_area
from nuclei.evaluation import metrics
from nuclei.evaluation.metrics import THRESHOLDS, counts_at, match

label_images = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def image_pair(seed, count=12, size=48):
    """Random rectangles, and the same ones shifted, cut, dropped and with invented ones among them."""
    rng = np.random.default_rng(seed)
    truth, predicted = np.zeros((2, size, size), np.int32)
    for number in range(1, count + 1):
        y, x = rng.integers(0, size - 8, 2)
        height, width = rng.integers(3, 9, 2)
        truth[y : y + height, x : x + width] = number
        dy, dx = rng.integers(0, 2, 2)
        if rng.random() < 0.8:
            predicted[y + dy : y + height, x + dx : x + width] = 3 * number + 5
    return truth, predicted


def row_of(*areas, start=0):
    """A row of pixels: nucleus 1 with areas[0] pixels, nucleus 2 ..., after `start` pixels of background."""
    return np.concatenate([np.zeros(start, int), np.repeat(np.arange(len(areas)) + 1, areas)])[np.newaxis]


# --- pixels -------------------------------------------------------------------------------------------


def test_pixel_scores_by_hand():
    truth = np.array([[0, 0, 5], [5, 7, 7]])
    predicted = np.array([[1, 0, 0], [1, 1, 2]])
    found = [match(truth, predicted)]
    expected = {"pixel_accuracy": 4 / 6, "dice": 6 / 8, "iou": 3 / 5}
    assert metrics.pixel_scores(found) == pytest.approx(expected)
    assert metrics.pixel_scores(found * 2) == metrics.pixel_scores(found)


@given(label_images, label_images)
def test_pixel_scores_count_pixels(truth, predicted):
    tp, wrong = np.sum((truth > 0) & (predicted > 0)), np.sum((truth > 0) != (predicted > 0))
    found = metrics.pixel_scores([match(truth, predicted)])
    assert found["pixel_accuracy"] == (truth.size - wrong) / truth.size
    assert found["iou"] == (tp / (tp + wrong) if tp + wrong else 1)


def test_pixel_scores_of_empty_images():
    nothing, something = np.zeros((2, 2), int), np.eye(2, dtype=int)
    assert metrics.pixel_scores([match(nothing, nothing)]) == {"pixel_accuracy": 1, "dice": 1, "iou": 1}
    assert metrics.pixel_scores([match(something, nothing)]) == {"pixel_accuracy": 0.5, "dice": 0, "iou": 0}


# --- bad labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "predicted", "error", "text"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), int), TypeError, "true labels are float64, expected integers"),
        (np.zeros((2, 2), int), np.zeros((2, 2), bool), TypeError, "predicted labels are bool"),
        (
            np.zeros((2, 2), int),
            np.full((2, 2), -3),
            ValueError,
            "predicted labels hold the negative number -3",
        ),
        (
            np.zeros((2, 2), int),
            np.zeros((2, 3), int),
            ValueError,
            r"predicted labels have shape \(2, 3\), expected \(2, 2\)",
        ),
        (
            np.zeros((0, 2), int),
            np.zeros((0, 2), int),
            ValueError,
            r"\(0, 2\), expected \(H, W\) with at least one",
        ),
    ],
)
def test_bad_labels_are_refused(truth, predicted, error, text):
    with pytest.raises(error, match=text):
        match(truth, predicted)


# --- matching -----------------------------------------------------------------------------------------


def test_match_by_hand():
    truth = np.array([[4, 4, 4, 0, 9, 9], [0, 0, 0, 0, 9, 9]])
    predicted = np.array([[0, 2, 2, 2, 8, 8], [1, 0, 0, 0, 8, 0]])
    found = match(truth, predicted)
    assert found.true_areas.tolist() == [3, 4]
    assert found.predicted_areas.tolist() == [1, 3, 3]
    assert found.pairs.tolist() == [[0, 1], [1, 2]]
    assert found.intersections.tolist() == [2, 3]
    assert found.ious.tolist() == [2 / 4, 3 / 4]
    tp, fp, fn = counts_at(found, [0.5, 0.7, 0.75])
    assert tp.tolist() == [1, 1, 0] and fp.tolist() == [2, 2, 3] and fn.tolist() == [1, 1, 2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
def test_match_takes_any_integers_however_large_or_sparse(dtype):
    top = np.iinfo(dtype).max
    truth = np.array([[top, top, 0, 3]], dtype=dtype)
    found = match(truth, truth)
    assert found.true_areas.tolist() == [1, 2] and found.pairs.tolist() == [[0, 0], [1, 1]]


def test_match_without_any_background():
    found = match(np.array([[1, 1, 2]]), np.array([[5, 5, 5]]))
    assert found.pairs.tolist() == [[0, 0], [1, 0]]
    assert found.true_areas.tolist() == [2, 1] and found.predicted_areas.tolist() == [3]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("scale", [1, 3, 7, 50])
def test_iou_equal_to_a_threshold_is_no_match(threshold, scale):
    """Every threshold is a number of twentieths: draw that very IoU, and the next larger one."""
    part = Fraction(threshold).limit_denominator(20)
    union = 20 * scale
    inside = int(part * union)
    equal = match(row_of(union), row_of(inside, start=union - inside))
    assert counts_at(equal, threshold)[0] == 0
    above = match(row_of(union), row_of(inside + 1, start=union - inside - 1))
    assert counts_at(above, threshold)[0] == 1


@pytest.mark.parametrize("sloppy", [np.arange(0.5, 1, 0.05), np.nextafter(THRESHOLDS, 0)])
def test_thresholds_a_rounding_error_away_mean_the_same(sloppy):
    assert (sloppy != THRESHOLDS).any()
    found = match(row_of(10), row_of(6, start=4))
    assert (
        counts_at(found, sloppy)[0].tolist() == counts_at(found, THRESHOLDS)[0].tolist() == [1, 1] + [0] * 8
    )
    assert metrics.score_table([found], sloppy).loc[0.6, "tp"] == 0


@pytest.mark.parametrize("threshold", [0.3, 1.2, np.nan])
def test_thresholds_where_matches_are_ambiguous_are_refused(threshold):
    with pytest.raises(ValueError, match="expected 0.5..1"):
        counts_at(match(row_of(2), row_of(2)), threshold)


@given(label_images, label_images)
def test_counts_add_up(truth, predicted):
    tp, fp, fn = counts_at(match(truth, predicted))
    assert (tp + fn == np.unique(truth[truth > 0]).size).all()
    assert (tp + fp == np.unique(predicted[predicted > 0]).size).all()
    assert (np.diff(tp) <= 0).all() and (tp >= 0).all()


@given(label_images, label_images, st.permutations(range(1, 5)))
def test_numbers_do_not_matter(truth, predicted, order):
    renumbered = np.array([0, *order])[predicted] * 1000
    one, other = match(truth, predicted), match(truth, renumbered)
    assert metrics.image_score(one) == metrics.image_score(other)
    assert metrics.merges_and_splits(one) == metrics.merges_and_splits(other)


@given(label_images, label_images, st.integers(0, 12) | st.floats(0, 0.9))
def test_drop_small_equals_dropping_before_matching(truth, predicted, min_area):
    areas = np.bincount(predicted.ravel())
    large = np.isin(predicted, np.flatnonzero(areas >= smallest_area(areas[1:], min_area)))
    direct = match(truth, np.where(large, predicted, 0))
    later = metrics.drop_small(match(truth, predicted), min_area)
    for one, other in zip(direct, later, strict=True):
        np.testing.assert_array_equal(one, other)


def test_thousands_of_nuclei_stay_sparse():
    """71 x 71 nuclei of 4 x 4 pixels; a table of all pairs would take 25 million cells."""
    squares = np.arange(1, 71 * 71 + 1).reshape(71, 71)
    truth = np.pad(np.kron(squares, np.ones((4, 4), np.int32)), 2)
    predicted = np.roll(truth, 1, axis=1)
    tracemalloc.start()
    found = match(truth, predicted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.true_areas.size == found.predicted_areas.size == 5041
    assert counts_at(found, 0.55)[0] == 5041 and counts_at(found, 0.6)[0] == 0  # 12 of 20 pixels
    assert peak < 25e6, f"{peak / 1e6:.0f} MB; a dense table of bytes alone takes 25"


# --- scores -------------------------------------------------------------------------------------------


def test_competition_score_by_hand():
    # One nucleus with IoU 0.8 (a match at 0.50 ... 0.75, six of ten thresholds) and one that is missed.
    found = match(np.array([[1] * 10 + [0, 2]]), np.array([[3] * 8 + [0] * 4]))
    assert metrics.image_score(found) == pytest.approx(6 / 10 * 1 / 2)
    perfect = match(row_of(4), row_of(4))
    assert metrics.competition_score([found, perfect]) == pytest.approx((0.3 + 1) / 2)


def test_empty_images_score_one_together_and_zero_alone():
    nothing, something = np.zeros((1, 4), int), row_of(4)
    assert metrics.image_score(match(nothing, nothing)) == 1
    assert metrics.image_score(match(something, nothing)) == 0
    assert metrics.image_score(match(nothing, something)) == 0
    table = metrics.score_table([match(nothing, nothing)])
    assert (table[["ap", "precision", "recall", "f1", "panoptic_quality"]] == 1).all(axis=None)
    table = metrics.score_table([match(something, nothing)])
    assert (table[["ap", "precision", "recall", "f1", "panoptic_quality"]] == 0).all(axis=None)


@given(label_images)
def test_truth_against_itself_scores_one(truth):
    assert metrics.image_score(match(truth, truth)) == 1


def test_score_table_by_hand():
    # IoU 0.8 and a miss in the first image; a hit with IoU 1 and two inventions in the second.
    first = match(np.array([[1] * 10 + [0, 2]]), np.array([[3] * 8 + [0] * 4]))
    second = match(np.array([[1, 1, 0, 0]]), np.array([[1, 1, 2, 3]]))
    row = metrics.score_table([first, second]).loc[0.5]
    assert row[["tp", "fp", "fn"]].tolist() == [2, 2, 1]
    assert row["ap"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert row["precision"] == pytest.approx(2 / 4)
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["f1"] == pytest.approx(4 / 7)
    assert row["panoptic_quality"] == pytest.approx((0.8 + 1) / (2 + 1 + 0.5))


@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_cellseg_metrics(seed):
    """Its IoU is strict too, and its average_precision is TP / (TP + FP) of one image."""
    matches, ap = [], []
    for image in range(3):
        truth, predicted = image_pair(10 * seed + image)
        matches.append(match(truth, predicted))
        row = metrics.score_table(matches[-1:])
        ap.append([])
        for threshold in THRESHOLDS:
            theirs = cellseg_metrics.panoptic_quality(truth, predicted, threshold)
            ours = row.loc[threshold]
            assert ours["panoptic_quality"] == pytest.approx(theirs["pq"], abs=1e-6)
            assert ours["f1"] == pytest.approx(theirs["dq"], abs=1e-6)
            precision = cellseg_metrics.average_precision(truth, predicted, threshold)
            assert ours["precision"] == pytest.approx(precision, abs=1e-6)
            ap[-1].append(theirs["dq"] / (2 - theirs["dq"]))  # Dice to Jaccard: TP / (TP + FP + FN)
    table = metrics.score_table(matches)
    assert table["ap"].to_numpy() == pytest.approx(np.mean(ap, axis=0), abs=1e-6)
    assert metrics.competition_score(matches) == pytest.approx(np.mean(ap), abs=1e-6)
    assert 0.1 < np.mean(ap) < 0.9  # the images are neither trivial nor hopeless


def test_merges_and_splits_by_hand():
    truth = np.array([[1, 1, 2, 2, 0, 3, 3, 3, 3, 0, 4, 4]])
    merged = np.array([[7, 7, 7, 7, 0, 8, 8, 9, 9, 0, 5, 5]])
    assert metrics.merges_and_splits(match(truth, merged)) == (1, 1)
    assert metrics.merges_and_splits(match(truth, truth)) == (0, 0)
    half = np.array([[7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]])  # only half of nucleus 2
    assert metrics.merges_and_splits(match(truth, half)) == (0, 0)


def test_recall_by_area_by_hand():
    truth = np.array([[1, 1, 0, 2, 2, 0, 3, 3, 3, 3]])
    predicted = np.array([[1, 1, 0, 0, 0, 0, 3, 3, 3, 0]])
    table = metrics.recall_by_area([match(truth, predicted)] * 2, edges=(2, 4, 8, 16))
    assert table["nuclei"].tolist() == [4, 2, 0]
    assert table["found"].tolist() == [2, 2, 0]
    assert table["recall"].tolist()[:2] == [0.5, 1] and np.isnan(table["recall"][2])


# --- bootstrap ----------------------------------------------------------------------------------------


def test_bootstrap_interval_is_seeded_and_near_the_normal_one():
    values = np.random.default_rng(1).normal(5, 2, 400)
    (low, high), again, other = (metrics.bootstrap_interval(values, range(400), seed) for seed in (3, 3, 4))
    assert (low, high) == again != other
    width = 2 * 1.96 * values.std() / np.sqrt(values.size)
    assert low < values.mean() < high and high - low == pytest.approx(width, rel=0.1)


def test_bootstrap_of_groups_is_wider():
    values = np.repeat(np.random.default_rng(1).normal(size=50), 8)  # eight equal tiles a field
    single = np.ptp(metrics.bootstrap_interval(values, range(400)))
    assert np.ptp(metrics.bootstrap_interval(values, np.arange(400) // 8)) > 2 * single
    assert metrics.bootstrap_interval([2.0, 2.0], ["a", "a"]) == (2, 2)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_bootstrap_stays_within_the_values(values):
    low, high = metrics.bootstrap_interval(values, range(len(values)), repeats=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
