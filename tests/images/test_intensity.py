import numpy as np
import pytest

from nuclei.images.intensity import as_rgb8, normalize, rgb8_converter
from nuclei.images.reading import Image


def opened(array):
    """The image as if read from a file."""
    array = np.atleast_3d(array)
    return Image(array[..., : 1 if array.shape[2] < 3 else 3], ())


RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 60000, (150, 230)).astype(np.uint16)
RGB = RNG.integers(0, 255, (150, 230, 3)).astype(np.uint8)


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize(
    "image",
    [
        RGB,
        RGB // 4 + 30,
        GREY,
        (GREY // 3).astype(np.int16) - 9000,
        GREY[..., None].repeat(2, axis=-1) // [1, 70000],
        GREY.astype(np.float32) / 7,
        np.dstack([RGB, np.full((150, 230), 255, np.uint8)]),
        np.full((150, 230), 700, np.uint16),
        np.random.default_rng(1).gamma(2, 900, (1500, 1100)).astype(np.uint16),
    ],
    ids=["RGB", "dim", "grey 16", "signed", "grey + alpha", "float", "RGBA", "constant", "many windows"],
)
def test_grey_levels_are_those_of_the_whole_image(image, stretch):
    expected = normalize(as_rgb8(image)) if stretch else as_rgb8(image)
    converted = rgb8_converter(opened(image), stretch)(image[30:77, 60:130])
    assert converted.dtype == np.uint8 and converted.shape == (47, 70, 3)
    assert np.array_equal(converted, expected[30:77, 60:130])


def test_grey_levels_of_many_floats_are_nearly_those_of_the_whole_image():
    image = np.random.default_rng(1).gamma(2, 900, (2000, 2000)).astype(np.float32)
    difference = rgb8_converter(opened(image), True)(image).astype(int) - normalize(as_rgb8(image))
    assert np.abs(difference).max() <= 3
