"""Candidates for nuclei: what is proposed, how it is measured, which are taken."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi
from skimage.segmentation import watershed
from test_watershed import TOUCHING

from nuclei.segmentation.candidates import (
    FEATURES,
    FOREGROUND_LEVELS,
    MARKER_LEVELS,
    Candidates,
    filter_by_iou,
    propose,
    suppress_overlaps,
)
from nuclei.segmentation.segmenter import Maps
from nuclei.training.iou_network import training_examples, true_ious
from nuclei.training.targets import interior_target

maps_of_noise = arrays(np.float32, (12, 11, 2), elements=st.floats(0, 1, width=32))


def black(maps):
    return np.zeros((*maps.shape[:2], 3), np.uint8)


def members(found):
    """The positions of each candidate's pixels, in order."""
    return [np.sort(found.pixels[a:b]) for a, b in zip(found.starts, found.stops, strict=True)]


def column(found, name):
    return found.features[:, FEATURES.index(name)]


def candidates_of(*positions, shape=(4, 4)):
    ends = np.cumsum([0, *map(len, positions)])
    features = np.zeros((len(positions), len(FEATURES)))
    return Candidates(shape, np.concatenate(positions), ends[:-1], ends[1:], features)


def test_both_a_nucleus_and_what_it_touches_are_proposed():
    maps = interior_target(TOUCHING)
    found = propose(maps, black(maps))
    pixels = {tuple(each) for each in members(found)}
    first, second = (tuple(np.flatnonzero(TOUCHING == k)) for k in (1, 2))
    assert tuple(np.flatnonzero(np.isin(TOUCHING, (1, 2)))) in pixels, "the pair as one"
    ious = true_ious(found, TOUCHING)
    assert all(max(ious[[p[0] in own for p in members(found)]]) > 0.9 for own in (first, second))
    labels, expected = suppress_overlaps(found, ious, 0.5)
    assert labels.max() == TOUCHING.max() and (expected > 0.9).all()
    assert np.mean((labels > 0) == (TOUCHING > 0)) == 1


def test_every_level_of_the_foreground_proposes():
    cone = np.maximum(0, 1 - np.hypot(*np.indices((41, 41)) - 20) / 19.7)
    found = propose(np.stack([cone, 0 * cone], axis=-1), black(cone))
    assert sorted(found.stops - found.starts) == sorted((cone > level).sum() for level in FOREGROUND_LEVELS)
    assert set(column(found, "foreground_level")) == set(np.float32(FOREGROUND_LEVELS))
    assert set(column(found, "marker_level")) == {0}, "there is nothing to part"


def test_features_of_a_rectangle_by_hand():
    maps = np.zeros((20, 20, 2), np.float32)
    maps[5:9, 5:11] = 0.9, 0.4
    image = np.full((20, 20, 3), 51, np.uint8)
    image[5:9, 5:11] = 204
    image[5:9, 4] = image[5:9, 11] = 102  # 8 of the 20 steps out
    found = propose(maps, image)
    expected = {
        "foreground_mean": 0.9,
        "foreground_std": 0,
        "foreground_edge": 0.9,
        "foreground_outside": 0,
        "grey_mean": 0.8,
        "grey_std": 0,
        "grey_edge": 0.8,
        "grey_outside": (12 * 0.2 + 8 * 0.4) / 20,
        "log_area": np.log(24),
        "log_roundness": np.log(20**2 / 24),
        "log_ellipse": np.log(24 / (np.pi * 4 * 6 / 3)),  # semi-axes of 4 / sqrt(3) and 6 / sqrt(3)
        "axis_ratio": 4 / 6,
        "border": 0,
        "foreground_level": 0.3,
        "marker_level": 0,
    }
    row = dict(zip(FEATURES, found.features[0], strict=True))
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    smoothed = ndi.gaussian_filter(maps[..., 1], 1)[5:9, 5:11]
    assert row["inner_mean"] == pytest.approx(smoothed.mean(), abs=1e-6)
    assert row["inner_std"] == pytest.approx(smoothed.std(), abs=1e-6)


def noise(seed, size=64):
    maps = ndi.gaussian_filter(np.random.default_rng(seed).random((size, size, 2)), (2, 2, 0))
    return ((maps - maps.min()) / np.ptp(maps)).astype(np.float32)


def test_features_pixel_by_pixel():
    maps = noise(0, 48)
    image = np.random.default_rng(1).integers(0, 256, (48, 48, 1), np.uint8).repeat(3, axis=-1)
    found = propose(maps, image)
    assert len(set(column(found, "marker_level"))) > 2
    smooth = ndi.gaussian_filter(maps[..., 1], 1)
    planes = {"foreground": maps[..., 0], "inner": smooth, "grey": image[..., 0] / 255}
    for own, features in zip(members(found), found.features, strict=True):
        row = dict(zip(FEATURES, features, strict=True))
        mask = np.zeros((50, 50), bool)
        mask[1:-1, 1:-1] = np.isin(np.arange(48 * 48), own).reshape(48, 48)
        pixels = [tuple(p) for p in np.argwhere(mask)]
        steps = [(p, (p[0] + v, p[1] + h)) for p in pixels for v, h in ((-1, 0), (0, -1), (0, 1), (1, 0))]
        out = [(p, q) for p, q in steps if not mask[q]]
        edge = [(p, q) for p, q in out if 0 < min(q) and max(q) < 49]
        for name, plane in planes.items():
            padded = np.pad(plane, 1)
            assert row[f"{name}_mean"] == pytest.approx(padded[mask].mean(), abs=1e-5)
            assert row[f"{name}_std"] == pytest.approx(padded[mask].std(), abs=1e-5)
            assert row[f"{name}_edge"] == pytest.approx(np.mean([padded[p] for p, _ in edge]), abs=1e-5)
            assert row[f"{name}_outside"] == pytest.approx(np.mean([padded[q] for _, q in edge]), abs=1e-5)
        assert row["log_area"] == pytest.approx(np.log(own.size))
        assert row["log_roundness"] == pytest.approx(np.log(len(out) ** 2 / own.size), abs=1e-5)
        assert row["border"] == pytest.approx(1 - len(edge) / len(out))


@pytest.mark.parametrize("seed", range(5))
def test_every_marker_level_cuts_as_a_watershed_does(seed):
    maps = noise(seed, 160) * np.float32([0.6, 1])  # many parts, some of them with many peaks
    inner, mask = ndi.gaussian_filter(maps[..., 1], 1), maps[..., 0] > FOREGROUND_LEVELS[0]
    components, count = ndi.label(mask)
    found = propose(maps, black(maps))
    lowest = column(found, "foreground_level") == np.float32(FOREGROUND_LEVELS[0])
    before, total = set(), 0
    for level in (0, *MARKER_LEVELS):
        markers, count = ndi.label(mask & (inner > level)) if level else (components, count)
        regions = watershed(-inner, markers, mask=mask)
        owners = [components[markers == k][0] for k in range(1, count + 1)]
        several = [k for k, owner in enumerate(owners, start=1) if not level or owners.count(owner) > 1]
        cut = {tuple(np.flatnonzero(regions == k)) for k in several}
        at_level = np.flatnonzero(lowest & (column(found, "marker_level") == np.float32(level)))
        proposed = [tuple(members(found)[k]) for k in at_level]
        assert sorted(proposed) == sorted(own for own in cut - before if len(own) >= 10)
        before, total = cut, total + len(proposed)
    assert total > 50


def test_what_stays_as_it_was_is_not_proposed_again():
    maps = np.zeros((16, 44, 2), np.float32)
    y, x = np.indices((16, 44))
    for centre, peak in ((8, 1), (23, 1), (36, 0.85)):  # the third has no marker at 0.9
        disc = np.maximum(0, 1 - np.hypot(y - 8, x - centre) / 9)
        maps[..., 0] = np.maximum(maps[..., 0], disc > 0)
        maps[..., 1] = np.maximum(maps[..., 1], peak * np.minimum(1, 2 * disc))
    found = propose(maps, black(maps))
    lowest = column(found, "foreground_level") == np.float32(0.3)
    levels = column(found, "marker_level")[lowest].tolist()
    assert levels == pytest.approx([0, 0.7, 0.7, 0.7, 0.9]), "last, the second with what was the third"
    areas = (found.stops - found.starts)[lowest]
    assert areas[4] == areas[2] + areas[3]


def test_the_share_of_an_edge_on_the_border():
    maps = np.zeros((20, 20, 2), np.float32)
    maps[:5, 16:] = 1
    assert set(column(propose(maps, black(maps)), "border")) == {np.float32(9 / 18)}
    maps[:] = 1
    assert set(column(propose(maps, black(maps)), "border")) == {1}


def test_what_is_far_away_does_not_count(sample):
    image, maps = sample[0].image, interior_target(sample[0].labels)
    height, width = (side - 32 for side in maps.shape[:2])
    whole, part = propose(maps, image), propose(maps[:height, :width], image[:height, :width])

    def clear_of_the_cut(found):
        ends = [np.max(np.divmod(own, found.shape[1]), axis=1) for own in members(found)]
        return found.features[(np.array(ends) < (height - 12, width - 12)).all(axis=1)]

    assert len(clear_of_the_cut(whole)) > 50
    np.testing.assert_allclose(clear_of_the_cut(whole), clear_of_the_cut(part), atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_those_taken_are_the_best_that_do_not_overlap(seed):
    maps = noise(seed)
    found = propose(maps, black(maps))
    ious = np.random.default_rng(seed).uniform(0.6, 0.9, len(found.features))
    labels, taken = suppress_overlaps(found, ious, 0.7)
    sets, cuts = [frozenset(own.tolist()) for own in members(found)], column(found, "marker_level")
    free, expected = set(range(labels.size)), {}
    for k in sorted(range(len(ious)), key=lambda k: -ious[k]):
        own = sets[k]
        if ious[k] > 0.7 and own <= free:
            votes = {}
            for other, iou, cut in zip(sets, ious, cuts, strict=True):
                nested = (other <= own or own <= other) and cut == cuts[k]
                if nested and max(len(own), len(other)) <= 2 * min(len(own), len(other)):
                    votes[other] = votes.get(other, 0) + iou**8
            # the pixels that candidates of at least half of the weight hold
            median = {
                x
                for x in frozenset().union(*votes)
                if 2 * sum(v for each, v in votes.items() if x in each) >= sum(votes.values())
            }
            outline = median if median <= free else own
            free -= outline
            expected[min(outline)] = outline, ious[k]
    assert labels.max() == len(expected) > 0
    for number, first in enumerate(sorted(expected), start=1):
        assert set(np.flatnonzero(labels == number)) == expected[first][0]
        assert taken[number - 1] == expected[first][1]
    for limit in (0.7, 0.8, 0.9):
        np.testing.assert_array_equal(
            filter_by_iou((labels, taken), limit), suppress_overlaps(found, ious, limit)[0]
        )


@pytest.mark.parametrize(
    "stops, ious, expected",
    [
        ([8, 7, 5], [0.7, 0.7, 0.71], "111111100000"),  # the second
        ([8, 7, 5], [0.4, 0.4, 0.7], "111110000000"),  # the others weigh little
        ([4, 8], [0.7, 0.7], "111111110000"),  # of two, the larger
        ([4, 9], [0.7, 0.7], "111100000000"),  # more than twice as large
    ],
)
def test_the_outline_is_the_median_of_nested_candidates(stops, ious, expected):
    found = Candidates((1, 12), np.arange(12), np.zeros(len(stops), int), np.array(stops), np.zeros(0))
    assert "".join(map(str, suppress_overlaps(found, np.array(ious), 0.3)[0][0])) == expected


def test_no_median_takes_pixels_of_a_better_candidate():
    found = Candidates((1, 8), np.arange(8), np.array([0, 4, 0]), np.array([4, 8, 8]), np.zeros(0))
    labels, ious = suppress_overlaps(found, np.array([0.9, 0.7, 0.7]), 0.3)
    assert labels.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]] and ious.tolist() == [0.9, 0.7]


@settings(deadline=None, max_examples=50)
@given(maps_of_noise, arrays(np.int32, (12, 11), elements=st.integers(0, 3)))
def test_true_ious_pixel_by_pixel(maps, labels):
    found = propose(maps, black(maps))
    flat = labels.ravel()
    for own, iou in zip(members(found), true_ious(found, labels), strict=True):
        mask = np.zeros(flat.size, bool)
        mask[own] = True
        each = [(mask & (flat == k)).sum() / (mask | (flat == k)).sum() for k in np.unique(flat[flat > 0])]
        assert iou == pytest.approx(max(each, default=0))


def test_labels_may_be_of_the_smallest_type():
    labels = TOUCHING.astype(np.uint8)
    labels[labels == 2] = 255
    maps = interior_target(TOUCHING)
    found = propose(maps, black(maps))
    np.testing.assert_array_equal(true_ious(found, labels), true_ious(found, TOUCHING))


def test_candidates_are_connected_and_no_specks():
    maps = noise(0)
    found = propose(maps, black(maps))
    assert len(found.features) > 50 and np.isfinite(found.features).all()
    for own in members(found):
        mask = np.zeros(64 * 64, bool)
        mask[own] = True
        assert own.size >= 10 and ndi.label(mask.reshape(64, 64))[1] == 1


def test_an_image_without_nuclei():
    maps = np.zeros((9, 12, 2), np.float32)
    found = propose(maps, black(maps))
    assert found.features.shape == (0, len(FEATURES)) and true_ious(found, black(maps)[..., 0]).shape == (0,)
    labels, ious = suppress_overlaps(found, np.zeros(0), 0.5)
    assert labels.shape == (9, 12) and labels.dtype == np.int32 and not labels.any() and not ious.size


def test_of_equals_the_first_is_taken():
    found = candidates_of([0, 1], [1, 2], [5])
    labels, ious = suppress_overlaps(found, np.array([0.7, 0.7, 0.5]), 0.5)
    assert labels.ravel().tolist() == [1, 1] + [0] * 14 and ious.tolist() == [0.7]


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected .4, 4."):
        true_ious(candidates_of([0]), np.zeros((3, 4), int))


class Brightness:
    """A segmenter whose two maps are the brightness."""

    def __init__(self):
        self.seen = []

    def prepared(self, image):
        return image

    def predict_maps(self, image):
        self.seen.append(image)
        warnings.warn("an unknown size", stacklevel=2)
        return Maps(image, np.repeat(image[..., :1] / np.float32(255), 2, axis=-1))


def test_training_examples_are_of_the_image_and_of_a_changed_piece(squares):
    def darker(image, labels, rng):
        return image - image // 8, labels

    segmenter = Brightness()
    features, ious = training_examples(segmenter, squares, darker, seed=3)
    assert len(features) == len(ious) == len(segmenter.seen) == 2 * len(squares)
    for k, s in enumerate(squares):
        with pytest.warns(UserWarning, match="an unknown size"):
            found = propose(segmenter.predict_maps(s.image).maps, s.image)
        np.testing.assert_array_equal(features[2 * k], found.features)
        np.testing.assert_array_equal(ious[2 * k], true_ious(found, s.labels))
    whole = {s.image.tobytes() for s in squares}
    pieces = [image for image in segmenter.seen if image.tobytes() not in whole]
    assert len(pieces) == len(squares) and all(21 <= a == b <= 192 for a, b, _ in (p.shape for p in pieces))
    assert max(piece.max() for piece in pieces) < min(s.image.max() for s in squares)
    assert np.concatenate(ious[1::2]).max() > 0.9, "labels are cut and magnified alike"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = training_examples(Brightness(), squares, darker, seed=3)
    other = training_examples(Brightness(), squares, darker, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(features, again[0], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(features, other[0], strict=True))
    assert len(training_examples(Brightness(), squares[:1])[0]) == 2, "without a change it is magnified only"
