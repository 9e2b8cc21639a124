import numpy as np
import pytest

from nuclei.evaluation import calibration
from nuclei.evaluation.calibration import fit_calibration
from nuclei.evaluation.metrics import match


def test_a_predicted_nucleus_matches_above_one_half():
    truth = np.array([[1, 1, 1, 0, 2, 2]])
    predicted = np.array([[7, 7, 0, 8, 0, 9]])
    assert calibration.matched(match(truth, predicted)).tolist() == [True, False, False]


def test_calibration_corrects_an_overconfident_model_and_keeps_the_order():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 4000)
    matched = rng.uniform(0, 1, 4000) < confidence**2
    curve = fit_calibration(confidence[::2], matched[::2])
    assert len(curve["confidence"]) == 20
    probability = np.interp(confidence[1::2], curve["confidence"], curve["probability"])
    assert np.abs(probability - confidence[1::2] ** 2).mean() < 0.05
    assert (np.diff(curve["probability"]) >= 0).all()


@pytest.mark.parametrize("nuclei, groups", [(1, 1), (49, 1), (100, 2), (1000, 20)])
def test_few_nuclei_are_calibrated_in_few_groups(nuclei, groups):
    confidence = np.linspace(0.5, 0.9, nuclei)
    right = np.arange(nuclei) % 5 > 0
    curve = fit_calibration(confidence, right)
    assert len(curve["confidence"]) == groups
    assert np.allclose(
        np.interp(confidence, curve["confidence"], curve["probability"]), right.mean(), atol=0.01
    )


def test_images_are_warned_of_by_their_mean():
    assert calibration.warning(np.array([0.9, 0.6])) == "" == calibration.warning(np.zeros(0))
    assert "74%" in calibration.warning(np.array([0.9, 0.58]))
    assert "20%" in calibration.warning(np.array([0.1, 0.3]))


def test_nothing_to_calibrate_with():
    with pytest.raises(ValueError, match="no nuclei"):
        fit_calibration(np.zeros(0), np.zeros(0, bool))


def test_the_calibration_error_is_the_distance_to_the_diagonal_weighted_by_nuclei():
    confidence, right = np.array([0.95, 0.95, 0.35, 0.35]), np.array([True, False, False, False])
    assert np.isclose(calibration.calibration_error(confidence, right), 0.5 * 0.45 + 0.5 * 0.35)
    assert calibration.calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert np.isnan(calibration.calibration_error(np.zeros(0), np.zeros(0, bool)))
