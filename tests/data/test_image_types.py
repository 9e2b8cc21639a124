import numpy as np
import pytest

from nuclei.data.image_types import IMAGE_TYPES, image_type


def discs(radius, background, nucleus, size=256):
    """Discs on a grid, painted in one colour on another."""
    y, x = np.mgrid[:size, :size] % (4 * radius) - 2 * radius
    image = np.full((size, size, 3), background, np.uint8)
    image[x**2 + y**2 < radius**2] = nucleus
    return image


@pytest.mark.parametrize(
    "image, expected",
    [
        (discs(7, 8, 90), "small fluorescent"),
        (discs(24, 8, 90), "large fluorescent"),
        (discs(7, 228, 120), "grayscale tissue"),
        (discs(12, (190, 170, 215), (80, 20, 160)), "purple tissue"),
        (discs(12, (215, 216, 216), (120, 40, 110)), "pink-and-purple tissue"),
        (np.zeros((64, 64, 3), np.uint8), "small fluorescent"),
    ],
)
def test_each_look_has_its_type(image, expected):
    assert image_type(image) == expected and expected in IMAGE_TYPES


def test_noise_does_not_change_the_type():
    noise = np.random.default_rng(0).normal(0, 3, (256, 256, 1))
    noisy = np.clip(discs(24, 8, 90) + noise, 0, 255).astype(np.uint8)
    assert image_type(noisy) == "large fluorescent"
