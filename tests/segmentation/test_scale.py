"""How large nuclei are, and at which scales to run the network."""

import numpy as np
import pytest

from nuclei.segmentation.scale import boxes_near, find_diameter, scales_for


@pytest.mark.parametrize(
    "diameter, scales",
    [
        (0, [1]),
        (6.6, [5 / 2]),
        (6.7, [3 / 2]),
        (9.9, [3 / 2]),
        (10, [1, 4 / 3]),
        (20, [3 / 4, 1]),
        (39, [3 / 4, 1]),
        (40, [3 / 8, 3 / 4]),
        (50, [1 / 4, 1 / 2]),
        (100, [3 / 16, 3 / 8]),
        (160, [1 / 8, 1 / 4]),
        (320, [1 / 16, 1 / 8]),
    ],
)
def test_nuclei_are_brought_near_the_working_diameter(diameter, scales):
    assert scales_for(diameter, 20) == scales
    assert scales_for(diameter, 0) == scales_for(diameter, None) == [1]


def found(table):
    """Nuclei of an image of 800 x 800 pixels: scale -> how many, their side at that scale, confidence."""
    asked = []

    def nuclei_at(scale):
        asked.append(scale)
        count, side, confidence = table.get(scale, (0, 0, 0))
        return np.full(count, side**2), np.full(count, confidence)

    return nuclei_at, asked


@pytest.mark.parametrize(
    "table, side, asked",
    [
        ({1: (50, 20, 0.9), 0.5: (50, 10, 0.9)}, 20, [1, 0.25]),  # nothing is gained
        ({1: (4, 60, 0.9), 0.5: (20, 50, 0.9), 0.25: (20, 25, 0.9)}, 100, [1, 0.25, 0.5, 0.125]),
        ({1: (20, 60, 0.9), 0.5: (20, 100, 0.9), 0.25: (20, 25, 0.9)}, 60, [1, 0.25, 0.5]),  # of unknown size
        ({0.125: (20, 30, 0.9)}, 240, [1, 0.25, 0.5, 0.125]),  # nothing at all at finer scales
        ({1: (90, 9, 0.9), 0.5: (20, 9, 0.9), 0.25: (20, 50, 0.9)}, 200, [1, 0.25, 0.5, 0.125]),  # fragments
        ({1: (90, 9, 0.9), 0.25: (9, 60, 0.9), 0.125: (9, 30, 0.9)}, 240, [1, 0.25, 0.5, 0.125]),
        ({1: (90, 9, 0.9), 0.25: (4, 90, 0.9), 0.125: (4, 45, 0.9)}, 360, [1, 0.25, 0.5, 0.125]),  # too large
        ({1: (50, 20, 0.9), 0.5: (50, 10, 0.9), 0.125: (30, 50, 0.8)}, 20, [1, 0.25]),  # haze, far off
        ({}, 0, [1, 0.25, 0.5, 0.125]),
    ],
)
def test_the_scale_at_which_known_nuclei_cover_most_tells_their_size(table, side, asked):
    nuclei_at, scales = found(table)
    expected = pytest.approx(side * np.sqrt(4 / np.pi))
    assert find_diameter(nuclei_at, 800 * 800, 800, (5, 80)) == expected
    assert scales == asked


def test_small_images_are_not_made_smaller_than_the_network_can_use():
    for shortest, expected in ((100, [1]), (130, [1, 0.5]), (250, [1, 0.25, 0.5])):
        nuclei_at, scales = found({})
        find_diameter(nuclei_at, shortest**2, shortest)
        assert scales == expected


def test_another_pass_is_for_the_surroundings_of_what_is_shown():
    shown = np.zeros((1000, 900), bool)
    assert boxes_near(shown, 2) == []
    shown[400:420, 500:510] = True
    ((box, near),) = boxes_near(shown, 2)
    assert box == np.s_[336:496, 432:576], "64 pixels more, from 16 to 16"
    assert near.all()
    shown[0, 0] = True
    assert [box for box, _ in boxes_near(shown, 2)] == [np.s_[0:80, 0:80], box]
    assert [box for box, _ in boxes_near(shown, 1)] == [np.s_[0:160, 0:160], np.s_[256:576, 352:640]]
    shown[::40, ::40] = True
    ((box, near),) = boxes_near(shown, 2)
    assert box == np.s_[:1000, :900] and near.shape == shown.shape and near.all()
