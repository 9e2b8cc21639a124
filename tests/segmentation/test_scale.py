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
        (200, [5 / 64, 5 / 32]),
        (320, [1 / 16, 1 / 8]),
    ],
)
def test_nuclei_are_brought_near_the_working_diameter(diameter, scales):
    assert scales_for(diameter, 20) == scales
    assert scales_for(diameter, 0) == scales_for(diameter, None) == [1]


def found(table):
    """Nuclei of an image: scale -> how many, their side at that scale, confidence."""
    asked = []

    def nuclei_at(scale):
        asked.append(scale)
        count, side, confidence = table.get(scale, (0, 0, 0))
        return np.full(count, side**2), np.full(count, confidence)

    return nuclei_at, asked


TRIED = [1, 1 / 4, 1 / 8, 1 / 16]  # of an image of 1000 x 1000 pixels


@pytest.mark.parametrize(
    "table, side, asked",
    [
        ({1: (50, 20, 0.9), 1 / 2: (50, 10, 0.9)}, 20, TRIED),
        ({1: (20, 60, 0.9), 1 / 4: (20, 18, 0.9)}, 60, TRIED),  # hardly larger
        ({1: (50, 20, 0.9), 1 / 4: (1, 10, 0.9)}, 20, TRIED),  # larger nuclei, but few
        (
            {1: (50, 20, 0.9), 1 / 2: (40, 11, 0.9), 1 / 8: (30, 50, 0.8)},
            20,
            [1, 1 / 4, 1 / 8, 1 / 2],
        ),  # haze
        ({1: (90, 9, 0.9), 1 / 2: (4, 9, 0.9), 1 / 4: (20, 50, 0.9), 1 / 8: (19, 26, 0.9)}, 200, None),
        ({1: (90, 9, 0.9), 1 / 2: (9, 60, 0.9), 1 / 4: (9, 30, 0.9)}, 120, None),  # specks
        ({1: (50, 20, 0.9), 1 / 2: (2, 10, 0.9), 1 / 4: (20, 40, 0.9), 1 / 8: (20, 20, 0.9)}, 160, None),
        ({1: (50, 20, 0.9), 1 / 2: (20, 16, 0.9), 1 / 4: (20, 40, 0.9), 1 / 8: (20, 20, 0.9)}, 160, None),
        ({1: (4, 60, 0.9), 1 / 2: (20, 80, 0.9), 1 / 4: (20, 40, 0.9), 1 / 8: (20, 20, 0.9)}, 160, None),
        ({1: (4, 100, 0.9), 1 / 2: (4, 50, 0.9), 1 / 4: (20, 40, 0.9), 1 / 8: (20, 20, 0.9)}, 160, None),
        ({1: (90, 9, 0.9), 1 / 4: (4, 90, 0.9), 1 / 8: (4, 45, 0.9), 1 / 16: (4, 22, 0.9)}, 360, None),
        ({1 / 8: (9, 40, 0.9), 1 / 16: (9, 20, 0.9)}, 320, None),  # nothing at all at finer scales
        ({1: (99, 9, 0.9), 1 / 4: (20, 50, 0.9)}, 200, None),  # never the same: where they cover most
        ({1: (99, 20, 0.1), 1 / 4: (1, 40, 0.9)}, 160, None),  # the native ones are faint
        ({1: (50, 20, 0.9), 1 / 4: (1, 50, 0.9)}, 20, None),  # a half of it is enough for the finer one
        ({}, 0, TRIED),
    ],
)
def test_the_size_that_two_scales_agree_on_counts(table, side, asked):
    nuclei_at, scales = found(table)
    expected = pytest.approx(side * np.sqrt(4 / np.pi))
    assert find_diameter(nuclei_at, 1000 * 1000, 1000, 80) == expected
    assert sorted(scales) == sorted(asked or set(scales)), "each once"


@pytest.mark.parametrize(
    "shortest, expected",
    [(95, [1]), (96, [1, 1 / 2]), (191, [1, 1 / 2]), (192, [1, 1 / 4]), (384, [1, 1 / 4, 1 / 8])],
)
def test_small_images_are_not_made_smaller_than_the_network_can_use(shortest, expected):
    nuclei_at, scales = found({})
    find_diameter(nuclei_at, shortest**2, shortest)
    assert sorted(scales) == sorted(expected)


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
