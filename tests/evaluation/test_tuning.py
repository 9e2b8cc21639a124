"""Thresholds of a segmenter tuned on validation samples, with a network whose maps are the brightness."""

import numpy as np
import pytest

from nuclei.data.samples import Sample
from nuclei.evaluation.tuning import GRID, MIN_IOUS, tune_segmenter
from nuclei.segmentation.candidates import FEATURES
from nuclei.segmentation.segmenter import Segmenter


def bright(batch, training=False):
    return np.repeat(np.asarray(batch)[..., :1] / 255, 2, axis=-1)


def by_area(features, training):
    return 1 - 1 / np.maximum(features[:, [FEATURES.index("log_area")]], 1)


@pytest.fixture
def dim(squares):
    """The squares with nuclei so dim that only the lowest threshold finds them."""
    return [Sample(s.id, (np.uint8(110) * (s.image > 0)).astype(np.uint8), s.labels) for s in squares]


def test_the_thresholds_that_find_the_nuclei_are_chosen(dim):
    tuned = tune_segmenter(Segmenter(bright, {"resize": None}), dim, ["a", "a", "b", "c"], seed=1)
    assert set(tuned["thresholds"]) == set(GRID) and tuned["thresholds"]["foreground_threshold"] == 0.4
    assert tuned["val_score"] == 1
    images = [set(half["images"]) for half in tuned["cross_tuned"]]
    assert set.union(*images) == {s.id for s in dim} and not set.intersection(*images)
    assert any({dim[0].id, dim[1].id} <= half for half in images), "one field is in one half"


def test_with_an_iou_network_only_min_iou_is_tuned(dim):
    segmenter = Segmenter(bright, {"resize": None}, iou_network=by_area)
    tuned = tune_segmenter(segmenter, dim, range(4))
    assert set(tuned["calibration"]["probability"]) == {1}, "all squares are found"
    assert list(tuned["thresholds"]) == ["min_iou"] and tuned["thresholds"]["min_iou"] in MIN_IOUS
    segmenter.settings |= tuned
    assert all(np.array_equal(segmenter(s.image) > 0, s.labels > 0) for s in dim)


def test_each_half_is_calibrated_on_the_other(dim):
    segmenter = Segmenter(bright, {"resize": None}, iou_network=by_area)
    unlabelled = Sample(dim[0].id, dim[0].image, np.zeros_like(dim[0].labels))
    tuned = tune_segmenter(segmenter, [unlabelled, *dim[1:]], range(4))
    for half in tuned["cross_tuned"]:
        own = unlabelled.id in half["images"]
        assert (min(half["calibration"]["probability"]) == 1) == own, "of the other half all are found"
