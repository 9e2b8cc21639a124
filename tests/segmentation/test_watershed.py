"""Targets from labels, labels from maps, the classical baseline, and the search for thresholds."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.draw import disk

from nuclei.data.labels import smallest_area
from nuclei.evaluation import metrics, tuning
from nuclei.segmentation.scale import circle_diameter, median_diameter
from nuclei.segmentation.watershed import classical_labels, labels_from_maps
from nuclei.training.targets import distance_target, foreground_target, interior_target

THRESHOLDS = {"foreground_threshold": 0.5, "marker_threshold": 0.5}
label_images = arrays(np.int32, (9, 8), elements=st.integers(0, 3))
probabilities = arrays(np.float32, (12, 11, 2), elements=st.floats(0, 1, width=32))


def discs(*circles, shape=(64, 64)):
    """Labels of discs (row, column, radius); a later one takes pixels from an earlier one."""
    labels = np.zeros(shape, np.int32)
    for number, (row, column, radius) in enumerate(circles, start=1):
        labels[disk((row, column), radius, shape=shape)] = number
    return labels


TOUCHING = discs((20, 20, 10), (20, 37, 10), (45, 30, 12), (58, 58, 4))


def slow_distance(labels):
    """Normalised distance by comparing every pixel with every other one."""
    pixels = np.indices(labels.shape).reshape(2, -1).T
    away = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(axis=-1))
    away[labels.ravel()[:, None] == labels.ravel()[None]] = np.inf
    distance = away.min(axis=1).reshape(labels.shape)
    if np.isinf(distance).any():  # one nucleus, or background, everywhere
        return (labels > 0).astype(float)
    for number in np.unique(labels):
        own = labels == number
        distance[own] *= (number > 0) / distance[own].max()
    return distance


# --- targets ------------------------------------------------------------------------------------------


def test_foreground_target():
    target = foreground_target(np.array([[0, 7], [2, 0]]))
    assert target.shape == (2, 2, 1) and target.dtype == np.float32
    assert target[..., 0].tolist() == [[0, 1], [1, 0]]


def test_distance_target_by_hand():
    labels = np.pad(np.full((3, 3), 4), 1)
    labels[1:4, 4] = 2  # a neighbour that touches
    target = distance_target(labels)
    assert target.shape == (5, 5, 2) and target.dtype == np.float32
    np.testing.assert_array_equal(target[..., 0], labels > 0)
    expected = [[0, 0, 0, 0, 0], [0, 0.5, 0.5, 0.5, 1], [0, 0.5, 1, 0.5, 1], [0, 0.5, 0.5, 0.5, 1], [0] * 5]
    np.testing.assert_array_equal(target[..., 1], expected)


@settings(max_examples=60)
@given(label_images)
def test_distance_is_exact_between_touching_nuclei(labels):
    np.testing.assert_allclose(distance_target(labels)[..., 1], slow_distance(labels), atol=1e-6)


def test_the_border_of_a_crop_is_no_edge():
    """A nucleus cut by it rises to its highest there; one that fills the crop is 1 everywhere."""
    assert distance_target(np.array([[0, 0, 5, 5, 5, 5]]))[0, :, 1].tolist() == [0, 0, 0.25, 0.5, 0.75, 1]
    assert (distance_target(np.full((4, 4), 3)) == 1).all()
    assert (distance_target(np.zeros((4, 4), int)) == 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_target_takes_integers_of_any_size_and_gaps_in_the_numbers(dtype):
    gaps = np.array([0, 200, 3, 90, 17])[TOUCHING].astype(dtype)
    np.testing.assert_array_equal(distance_target(gaps), distance_target(TOUCHING))


@pytest.mark.parametrize("function", [distance_target, foreground_target])
def test_targets_refuse_what_is_no_label_image(function):
    with pytest.raises(TypeError, match="labels are float64, expected integers"):
        function(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="labels hold the negative number -1"):
        function(np.full((4, 4), -1))
    with pytest.raises(ValueError, match=r"shape \(4,\), expected \(H, W\)"):
        function(np.zeros(4, int))


# --- labels -------------------------------------------------------------------------------------------


def test_touching_nuclei_come_back_from_their_target():
    labels = labels_from_maps(distance_target(TOUCHING), **THRESHOLDS)
    assert labels.dtype == np.int32 and labels.max() == 4
    assert metrics.counts_at(metrics.match(TOUCHING, labels), 0.95)[0] == 4
    np.testing.assert_array_equal(labels > 0, TOUCHING > 0)


def test_one_channel_separates_by_the_shape_of_the_foreground():
    foreground = foreground_target(TOUCHING)
    labels = labels_from_maps(foreground, 0.5, 0.6)
    assert labels.max() == 4 and metrics.counts_at(metrics.match(TOUCHING, labels), 0.8)[0] == 4
    assert labels_from_maps(foreground, 0.5, 0.05).max() < 4  # so low that markers join


def test_a_component_without_a_marker_is_one_nucleus_or_none():
    maps = distance_target(TOUCHING)
    maps[TOUCHING == 4, 1] = 0.2
    assert labels_from_maps(maps, **THRESHOLDS)[58, 58] == 4


def test_small_nuclei_are_dropped_and_numbers_stay_consecutive():
    area = np.count_nonzero(TOUCHING == 4)
    maps = distance_target(TOUCHING)
    assert labels_from_maps(maps, **THRESHOLDS, min_area=area).max() == 4
    labels = labels_from_maps(maps, **THRESHOLDS, min_area=area + 1)
    assert np.unique(labels).tolist() == [0, 1, 2, 3] and labels[58, 58] == 0


@pytest.mark.parametrize("magnification", [1, 2, 3])
def test_a_share_of_the_median_nucleus_means_the_same_at_any_magnification(magnification):
    labels = np.kron([[1, 1, 0, 2, 2, 0, 3], [1, 1, 0, 2, 2, 0, 0]], np.ones((5 * magnification,) * 2, int))
    maps = np.dstack([labels > 0, labels > 0]).astype(float)
    assert labels_from_maps(maps, 0.5, 0.5, min_area=0.2).max() == 3
    assert labels_from_maps(maps, 0.5, 0.5, min_area=0.3).max() == 2  # the third has a quarter


def test_nuclei_that_are_not_sure_are_dropped():
    maps = np.zeros((10, 30, 2))
    for left, sure in ((2, 0.9), (12, 0.7), (22, 0.6)):
        maps[2:8, left : left + 6] = sure
    maps[2:5, 22:28, 0] = 0.9  # 0.75 on average
    for limit, columns in ((0, [2, 12, 22]), (0.83, [2, 22]), (0.9, [2]), (1.1, [])):  # of 0.87
        labels = labels_from_maps(maps, 0.5, 0.5, min_confidence=limit)
        assert [np.argmax((labels == k).any(axis=0)) for k in range(1, labels.max() + 1)] == columns


@pytest.mark.parametrize("dimmed", [1, 0.8])
def test_confidence_is_relative_to_the_most_confident_nuclei_of_the_image(dimmed):
    confidences = np.arange(0.8, 1, 0.01)  # of 20 nuclei; a tenth exceed 0.971
    maps = np.zeros((5, 80, 1))
    maps[1:4, 1::4, 0] = maps[1:4, 2::4, 0] = maps[1:4, 3::4, 0] = dimmed * confidences
    maps = np.repeat(maps, 2, axis=-1)
    maps[:, 76:, 1] *= 0.2  # the last has no marker
    for share, kept in ((0, 20), (0.82, 20), (0.9, 12), (0.99, 3), (1.1, 0)):
        assert labels_from_maps(maps, 0.5, 0.5, min_confidence=share).max() == kept
    assert labels_from_maps(0 * maps, 0.5, 0.5, min_confidence=0.9).max() == 0
    assert labels_from_maps(0.7 / dimmed * maps, 0.5, 0.5, min_confidence=0.9).max() == 3, "sure of few"


def test_specks_do_not_tell_how_large_nuclei_are():
    assert smallest_area(np.array([1, 2, 3, 4, 9, 40, 80]), 0.5) == 30
    assert smallest_area(np.array([3, 9]), 0.5) == 10 == smallest_area(np.array([]), 0.5)
    assert circle_diameter(np.array([3, 9, 9, 16])) == pytest.approx(2 * np.sqrt(16 / np.pi))
    assert smallest_area(np.array([40, 80]), 7) == 7


def test_smoothing_joins_the_specks_of_a_noisy_distance():
    maps = distance_target(TOUCHING)
    maps[..., 1] += np.random.default_rng(0).normal(0, 0.1, TOUCHING.shape) * (TOUCHING > 0)
    assert labels_from_maps(maps, **THRESHOLDS).max() > 10
    assert labels_from_maps(maps, **THRESHOLDS, smoothing=1.5).max() == 4


@given(probabilities, st.floats(0, 1), st.floats(0, 1), st.integers(0, 20), st.sampled_from([1, 2]))
def test_labels_fill_the_foreground_and_nothing_else(maps, foreground, marker, min_area, channels):
    maps = maps[..., :channels]
    labels = labels_from_maps(maps, foreground, marker, min_area)
    inside = maps[..., 0] > foreground
    assert not labels[~inside].any()
    areas = np.bincount(labels.ravel())[1:]
    assert (areas >= max(min_area, 1)).all()  # so the numbers have no gaps, either
    if not min_area:
        np.testing.assert_array_equal(labels > 0, inside)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_maps_of_any_float_type_give_the_same_labels(dtype):
    maps = distance_target(TOUCHING)
    labels = labels_from_maps(maps, **THRESHOLDS, smoothing=1)
    np.testing.assert_array_equal(labels_from_maps(maps.astype(dtype), **THRESHOLDS, smoothing=1), labels)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_maps(channels, value):
    labels = labels_from_maps(np.full((8, 8, channels), value), **THRESHOLDS)
    assert (labels == value).all()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (2, 8, 8, 2)])
def test_maps_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(H, W, 1\) or \(H, W, 2\)"):
        labels_from_maps(np.zeros(shape), **THRESHOLDS)


# --- the classical baseline ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nucleus", "background"), [((90, 90, 90), (10, 10, 12)), ((90, 50, 140), (235, 220, 230))]
)
def test_classical_labels_bright_on_dark_and_dark_on_bright(nucleus, background):
    image = np.where(TOUCHING[..., np.newaxis] > 0, nucleus, background)
    image = (image + np.random.default_rng(0).integers(-8, 9, image.shape)).astype(np.uint8)
    labels = classical_labels(image, sigma=1, marker_threshold=0.75, min_area=10)
    assert labels.dtype == np.int32 and labels.max() == 4
    assert metrics.counts_at(metrics.match(TOUCHING, labels), 0.75)[0] == 4


def test_classical_labels_of_a_blank_image():
    image = np.full((32, 32, 3), 17, np.uint8)
    assert not classical_labels(image, sigma=1, marker_threshold=0.6).any()


# --- tuning -------------------------------------------------------------------------------------------

GRID = {"foreground_threshold": [0.2, 0.5, 0.8], "marker_threshold": [0.3, 0.6], "min_area": [0, 30, 2000]}


def pale_maps(shift):
    """Maps of TOUCHING that are too pale, and a speck of 4 pixels: they want 0.2 and a minimum area."""
    maps = distance_target(TOUCHING)
    maps[..., 0] *= 0.4
    maps[shift : shift + 2, :2] = 1
    return maps


def test_tune_finds_what_the_maps_want():
    maps = [pale_maps(0), pale_maps(5)]
    best, scores = tuning.tune(iter(maps), [TOUCHING] * 2, GRID)
    assert best["foreground_threshold"] == 0.2 and best["min_area"] == 30
    assert scores.shape == (18, 2) and scores.index.names == list(GRID)
    assert json.loads(json.dumps(best)) == best
    row = scores.loc[tuple(best.values())]
    for one, score in zip(maps, row, strict=True):
        labels = labels_from_maps(one, **best)
        assert score == metrics.image_score(metrics.match(TOUCHING, labels))


@pytest.mark.parametrize("parameters", [(0.2, 0.3, 0), (0.2, 0.6, 30), (0.2, 0.3, 2000), (0.8, 0.6, 0)])
def test_tune_scores_as_if_every_combination_were_drawn(parameters):
    maps = pale_maps(0)
    _, scores = tuning.tune([maps], [TOUCHING], GRID)
    labels = labels_from_maps(maps, *parameters)
    assert scores.loc[parameters, 0] == metrics.image_score(metrics.match(TOUCHING, labels))


def test_tune_takes_another_way_to_segment_and_a_grid_without_areas():
    image = np.repeat((TOUCHING > 0)[..., np.newaxis] * np.uint8(200), 3, axis=-1)
    grid = {"sigma": [0.5, 8], "marker_threshold": [0.6]}
    best, _ = tuning.tune([image], [TOUCHING], grid, segment=classical_labels)
    assert best == {"sigma": 0.5, "marker_threshold": 0.6}


def test_tune_needs_a_truth_for_every_input():
    with pytest.raises(ValueError, match="shorter"):
        tuning.tune([pale_maps(0)] * 2, [TOUCHING], GRID)


def test_cross_tune_never_scores_a_field_with_what_it_chose():
    """Each combination suits one field alone: whoever tunes on a field scores 1 there, and 0.5 elsewhere."""
    index = pd.MultiIndex.from_tuples([(0.25, 0), (0.5, 0)], names=["marker_threshold", "min_area"])
    scores = pd.DataFrame([[1, 1, 0.5], [0.4, 0.4, 1]], index=index)
    result = tuning.cross_tune(scores, ["a", "a", "b"])
    assert result.half[0] == result.half[1] != result.half[2]
    assert result.scores.tolist() == [0.4, 0.4, 0.5]
    assert result.best[result.half[0]] == {"marker_threshold": 0.5, "min_area": 0}
    assert result.best[result.half[2]] == {"marker_threshold": 0.25, "min_area": 0}


def test_cross_tune_halves_are_equal_and_seeded():
    index = pd.MultiIndex.from_tuples([(0,)], names=["min_area"])
    scores = pd.DataFrame(np.ones((1, 40)), index=index)
    groups = np.arange(40) // 2
    one, again, other = (tuning.cross_tune(scores, groups, seed).half for seed in (0, 0, 1))
    assert one.sum() == 20 and (one == again).all() and (one != other).any()
    assert (one[::2] == one[1::2]).all()


def test_cross_tune_needs_two_fields():
    index = pd.MultiIndex.from_tuples([(0,)], names=["min_area"])
    with pytest.raises(ValueError, match="expected two or more"):
        tuning.cross_tune(pd.DataFrame([[1, 1]], index=index), ["a", "a"])


def test_median_diameter_is_that_of_the_median_area():
    labels = np.zeros((20, 20), int)
    labels[0, :12], labels[4:8, 4:8], labels[10:20, 10:20] = 1, 3, 4  # areas 12, 16, 100; no nucleus 2
    assert median_diameter(labels) == pytest.approx(2 * np.sqrt(16 / np.pi))
    assert median_diameter(np.zeros((4, 4), int)) == 0


def test_the_interior_is_two_pixels_from_the_edge_or_the_middle_of_what_is_small():
    labels = np.zeros((12, 20), int)
    labels[1:11, 1:11], labels[1:11, 11:14] = 1, 2  # a square and, touching it, a strip of three pixels
    foreground, interior = np.moveaxis(interior_target(labels), -1, 0)
    assert np.array_equal(foreground, labels > 0)
    expected = np.zeros(labels.shape)
    expected[3:9, 3:9] = expected[2:10, 12] = 1
    assert np.array_equal(interior, expected)
