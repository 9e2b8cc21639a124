"""Images, maps and labels at another size."""

import numpy as np
import pytest
from skimage.transform import resize

from nuclei.images.resizing import resize_maps


def test_maps_are_resized_between_the_centres_of_pixels():
    row = np.array([0, 1, 2, 5], np.float32).reshape(1, 4, 1)
    assert resize_maps(row, (1, 2)).ravel().tolist() == [0.5, 3.5]
    assert resize_maps(row[:, :2], (2, 4))[..., 0].tolist() == [[0.25, 0.25, 0.75, 0.75]] * 2
    assert resize_maps(row, (1, 4)) is row


@pytest.mark.parametrize("shape", [(30, 27), (80, 90), (7, 100)])
def test_resized_maps_are_those_of_scikit_image(shape):
    maps = np.random.default_rng(0).random((40, 36, 2), np.float32)
    expected = resize(maps, shape, order=1, anti_aliasing=False)
    np.testing.assert_allclose(resize_maps(maps, shape), expected, atol=1e-6)
