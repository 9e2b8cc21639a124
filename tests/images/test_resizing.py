"""Images, maps and labels at another size."""

import numpy as np
from skimage.transform import resize

from nuclei.images.resizing import resize_maps


def test_maps_are_resized_between_the_centres_of_pixels():
    row = np.array([0, 1, 2, 5], np.float32).reshape(1, 4, 1)
    assert resize_maps(row, (1, 2)).ravel().tolist() == [0.5, 3.5]
    assert resize_maps(row[:, :2], (2, 4))[..., 0].tolist() == [[0, 0.25, 0.75, 1]] * 2
    assert resize_maps(row, (1, 4)) is row


def test_smaller_maps_are_those_of_scikit_image():
    maps = np.random.default_rng(0).random((40, 36, 2), np.float32)
    expected = resize(maps, (30, 27), order=1, anti_aliasing=False)
    np.testing.assert_allclose(resize_maps(maps, (30, 27)), expected, atol=1e-6)
