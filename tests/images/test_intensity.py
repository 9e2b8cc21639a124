import warnings

import numpy as np
import pytest
from scipy import ndimage as ndi

from nuclei.images.intensity import as_rgb8, normalize, rgb8_converter
from nuclei.images.reading import Image


def opened(array):
    """The image as if read from a file."""
    array = np.atleast_3d(array)
    return Image(array[..., : 1 if array.shape[2] < 3 else 3], ())


RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 60000, (150, 230)).astype(np.uint16)
RGB = RNG.integers(0, 255, (150, 230, 3)).astype(np.uint8)


@pytest.mark.filterwarnings("ignore:only one grey value")
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


def cells(dtype=np.uint16):
    """A 12-bit picture: background of 300, discs of 1200."""
    rng = np.random.default_rng(0)
    y, x = np.indices((300, 400))
    image = rng.normal(300, 20, (300, 400))
    for row, column in rng.integers(10, 250, (25, 2)):
        image[(y - row) ** 2 + (x - column) ** 2 < 100] += 900
    return image.clip(0, 4095).astype(dtype)


def with_bar(image, value):
    image = image.copy()
    image[280:288, 300:390] = value  # 0.6 % of the pixels
    return image


def with_hot_pixels(image, value):
    image = image.copy()
    image[np.random.default_rng(1).random(image.shape) < 0.005] = value
    return image


@pytest.mark.parametrize(
    "spoil, value", [(with_bar, 65_535), (with_hot_pixels, 65_535), (with_hot_pixels, 9000)]
)
def test_outliers_do_not_take_the_contrast(spoil, value):
    clean, spoiled = cells(), spoil(cells(), value)
    with pytest.warns(UserWarning, match="left out of the contrast"):
        found = as_rgb8(spoiled)
    kept = clean == spoiled
    assert np.abs(found[kept].astype(int) - as_rgb8(clean)[kept]).max() < 20
    with pytest.warns(UserWarning, match="left out of the contrast"):
        assert np.array_equal(rgb8_converter(opened(spoiled))(spoiled), found)


@pytest.mark.parametrize("dtype, value", [(np.uint16, 0), (np.float32, -9999), (np.float64, 1e300)])
def test_an_edge_without_measurements_does_not_take_the_contrast(dtype, value):
    clean = (cells() + 10_000).astype(dtype)
    spoiled = clean.copy()
    spoiled[:, :8] = value  # 2 % of the pixels
    with pytest.warns(UserWarning, match="2.0% of the values .*left out of the contrast"):
        found = as_rgb8(spoiled)
    kept = clean == spoiled
    assert np.abs(found[kept].astype(int) - as_rgb8(clean)[kept]).max() < 20
    with pytest.warns(UserWarning, match="left out of the contrast"):
        assert np.array_equal(rgb8_converter(opened(spoiled))(spoiled), found)


def rotated(image):
    """Rotated by a registration: the edge, a third of the pixels, is not sharp."""
    return ndi.rotate(image.astype(float), 20, order=1, cval=0).astype(image.dtype)


@pytest.mark.parametrize("edge", [0.08, 0.4, None])
def test_a_large_dark_edge_does_not_take_the_contrast(edge):
    """Around a mosaic whose values have a large offset."""
    clean = cells() + np.uint16(10_000)
    spoiled, whole = clean.copy(), as_rgb8(clean)
    if edge:
        spoiled[:, : int(edge * 400)] = 0
    else:
        spoiled, whole = rotated(clean), rotated(whole[..., 0])
    with pytest.warns(UserWarning, match="of the values are 0, far below .*left out of the contrast"):
        found = as_rgb8(spoiled)[..., 0]
    kept = spoiled > 10_000
    difference = np.abs(found[kept].astype(int) - whole.reshape(*found.shape, -1)[kept][:, 0])
    assert np.quantile(difference, 0.99) < 30
    with pytest.warns(UserWarning, match="left out of the contrast"):
        assert np.array_equal(rgb8_converter(opened(spoiled))(spoiled)[..., 0], found)


def test_where_most_of_an_image_is_dark_edge_a_warning_says_so():
    image = cells() + np.uint16(10_000)
    image[:, 150:] = 0
    with pytest.warns(UserWarning, match="62.5% of the values are 0, .* was not left out"):
        as_rgb8(image)


def test_a_large_white_frame_and_overexposure_are_warned_of():
    framed, overexposed = cells(), np.minimum(cells().astype(int) * 60, 65_535)
    framed[:20] = framed[-20:] = 65_535
    for image in (framed, overexposed.astype(np.uint16)):
        with pytest.warns(UserWarning, match="% of the values are 65535, .* was not left out"):
            as_rgb8(image)


@pytest.mark.parametrize("dtype, offset", [(np.uint32, 2**30), (np.int64, 2**40), (np.float64, 1e9)])
def test_a_large_offset_takes_no_grey_level(dtype, offset):
    image = np.random.default_rng(0).integers(0, 200, (40, 50))
    assert np.array_equal(as_rgb8(image.astype(dtype) + dtype(offset)), as_rgb8(image.astype(np.uint16)))


def test_two_grey_values_are_a_mask():
    mask = cells() > 700
    for image in (mask, mask * np.uint16(40)):
        with pytest.warns(UserWarning, match="only two grey values"):
            assert np.array_equal(as_rgb8(image)[..., 0], mask * np.uint8(255))


@pytest.mark.parametrize("value", [np.uint8(0), np.uint8(255), np.uint16(700), np.float32(0.5)])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_one_grey_value_is_warned_of(value, shape):
    with pytest.warns(UserWarning, match="only one grey value"):
        assert not normalize(as_rgb8(np.full(shape, value))).any()


def test_one_colour_is_no_mask():
    with pytest.warns(UserWarning) as caught:
        normalize(np.full((4, 6, 3), (200, 10, 10), np.uint8))
    assert ["only one grey value" in str(each.message) for each in caught] == [True]


def test_noise_is_not_warned_of():
    noise = np.random.default_rng(0).integers(90, 110, (40, 50, 3)).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalize(noise)


def test_outliers_of_eight_bits_do_not_take_the_contrast_either():
    dim = np.repeat((cells() // 32).astype(np.uint8)[..., None], 3, axis=2)
    for spoiled in (with_bar(dim, 255), with_hot_pixels(dim[..., 0], 255)[..., None].repeat(3, axis=2)):
        with pytest.warns(UserWarning, match="left out of the contrast"):
            found = normalize(spoiled)
        kept = (dim == spoiled).all(axis=2)
        assert np.abs(found[kept].astype(int) - normalize(dim)[kept]).max() < 30


@pytest.mark.parametrize(
    "image",
    [
        cells(),
        np.random.default_rng(0).normal(300, 20, (200, 200)).astype(np.uint16),  # noise alone
        np.random.default_rng(0).poisson(0.05, (200, 200)).astype(np.uint16),
    ],
    ids=["cells", "noise", "few photons"],
)
@pytest.mark.filterwarnings("error")
def test_ordinary_images_are_stretched_by_their_percentiles(image):
    low, high = np.percentile(image.astype(np.float32), (0.1, 99.9))
    expected = np.round(np.clip((image.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1) * 255)
    np.testing.assert_array_equal(as_rgb8(image)[..., 0], expected)
