import numpy as np
import pytest

from nuclei.evaluation import calibration
from nuclei.evaluation.calibration import calibration_error, fit_calibration, reliability
from nuclei.evaluation.metrics import match
from nuclei.segmentation.prediction import calibrated


def test_a_predicted_nucleus_matches_above_one_half():
    truth = np.array([[1, 1, 1, 0, 2, 2]])
    predicted = np.array([[7, 7, 0, 8, 0, 9]])
    assert calibration.matched(match(truth, predicted)).tolist() == [True, False, False]


def test_reliability_counts_by_hand():
    table = reliability(np.array([0.1, 0.2, 0.6, 1.0]), np.array([False, True, True, True]), bins=2)
    assert table["nuclei"].tolist() == [2, 2]
    assert table["confidence"].tolist() == pytest.approx([0.15, 0.8])
    assert table["matched"].tolist() == [0.5, 1]
    assert calibration_error(table) == pytest.approx((2 * 0.35 + 2 * 0.2) / 4)


def test_an_empty_bin_has_no_share():
    table = reliability(np.array([0.9]), np.array([True]), bins=3)
    assert table["nuclei"].tolist() == [0, 0, 1] and table["matched"].isna().tolist() == [True, True, False]


def test_calibration_corrects_an_overconfident_model_and_keeps_the_order():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 4000)
    matched = rng.uniform(0, 1, 4000) < confidence**2
    curve = fit_calibration(confidence[::2], matched[::2])
    assert len(curve["confidence"]) == 20
    probability = calibrated(confidence[1::2], curve)
    assert np.abs(probability - confidence[1::2] ** 2).mean() < 0.05
    assert (np.diff(calibrated(np.linspace(0, 1, 99), curve)) >= 0).all()
    before = calibration_error(reliability(confidence[1::2], matched[1::2]))
    assert calibration_error(reliability(probability, matched[1::2])) < before / 3


def test_images_are_warned_of_by_their_mean():
    assert calibration.warning(np.array([0.9, 0.8])) == "" == calibration.warning(np.zeros(0))
    assert "20%" in calibration.warning(np.array([0.1, 0.3]))


@pytest.mark.parametrize(
    "confidence, matched, message",
    [
        ([], [], "no nuclei"),
        ([1.2], [True], "outside 0-1"),
        ([np.nan], [True], "no number"),
        ([0.5], [], "shape"),
    ],
)
def test_bad_input(confidence, matched, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration(np.array(confidence, float), np.array(matched, bool))
