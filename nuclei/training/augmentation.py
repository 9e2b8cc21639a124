"""Random changes of an image and its labels: crops, flips, and colour jitter."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage as ndi

from nuclei.images.resizing import resize_image, resize_labels

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def crop(
    image: np.ndarray,
    labels: np.ndarray,
    size: int,
    rng: np.random.Generator,
    scale_range: tuple[float, float] = (1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a random square and magnify it by a random scale.

    Parameters
    ----------
    image : (H, W, 3) uint8
    labels : (H, W) int, 0 = background
    size : int, pixels
    rng : numpy.random.Generator
    scale_range : two floats
        Least and largest magnification; 1 keeps the pixels as they are.

    Returns
    -------
    image : (size, size, 3) uint8
    labels : (size, size) int

    Notes
    -----
    An image smaller than the square is first mirrored at its lower and right edge; a mirrored part of a
    nucleus keeps its number. The scale's logarithm is uniform: twice as large is as likely as half.
    """
    side = round(size / np.exp(rng.uniform(*np.log(scale_range))))
    missing = [(0, max(side - length, 0)) for length in labels.shape]
    image, labels = np.pad(image, [*missing, (0, 0)], "symmetric"), np.pad(labels, missing, "symmetric")
    top, left = (rng.integers(length - side + 1) for length in labels.shape)
    window = np.s_[top : top + side, left : left + side]
    if side == size:
        return image[window], labels[window]
    return resize_image(image[window], (size, size)), resize_labels(labels[window], (size, size))


def flip(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turn and mirror image and labels alike, one of the eight ways a square can lie."""
    turns = rng.integers(4)
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    return (image[:, ::-1], labels[:, ::-1]) if rng.integers(2) else (image, labels)


def disturb(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flip, and change the picture as another microscope, stain or camera might; labels keep their values.

    Parameters
    ----------
    image : (H, W, 3) uint8
    labels : (H, W) int
    rng : numpy.random.Generator

    Returns
    -------
    image : (H, W, 3) uint8
        With another brightness, contrast and gamma, and at times blurred, noisy, grey, unevenly lit or in
        other colours. Never inverted: dark holes would be learned as nuclei.
    labels : (H, W) int
    """
    image, labels = flip(image, labels, rng)
    x = image.astype(np.float32) / 255
    if rng.random() < 0.1:
        x = np.repeat(x.mean(axis=-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.25:
        sigma = rng.uniform(0.3, 1.5)
        x = ndi.gaussian_filter(x, (sigma, sigma, 0))
    x = x ** np.exp(rng.uniform(-0.4, 0.4))  # gamma
    mean = x.mean()
    x = (x - mean) * rng.uniform(0.6, 1.4) + mean + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.5:  # another white
        x = x * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.5:  # other hues; grey stays grey, as each new colour's shares add up to 1
        mixing = rng.normal(0, 0.15, (3, 3)).astype(np.float32)
        x = x + x @ (mixing - mixing.mean(axis=0))
    if rng.random() < 0.15:  # another dye, or the light of one lamp: colours in another order, some weak
        tint = rng.random(3, np.float32)
        x = x[..., rng.permutation(3)] * (tint / tint.max())
    if rng.random() < 0.3:  # light from one side
        down, across = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
        x = x * (1 + down * _ramp(x.shape[0])[:, None, None] + across * _ramp(x.shape[1])[:, None])
    if rng.random() < 0.4:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0, 0.06))
    return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8), labels


def disturb_half(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`disturb` half of the pictures, drawn at random, and `flip` the others: nearer to those at hand."""
    return (disturb if rng.random() < 0.5 else flip)(image, labels, rng)


def _ramp(length: int) -> np.ndarray:
    return np.linspace(-1, 1, length, dtype=np.float32)


AUGMENTS: dict[str, Augment | None] = {
    "none": None,
    "flip": flip,
    "disturb_half": disturb_half,
    "disturb": disturb,
}
