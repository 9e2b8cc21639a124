"""Random changes of a training image and its labels: crop, flip, colour jitter, and stronger ones.

An augmentation takes an (H, W, 3) uint8 image, (H, W) integer labels with 0 = background, and a random number
generator; it returns an image and labels of the same shapes and dtypes.
"""

from collections.abc import Callable

import numpy as np
from skimage.measure import label

from nuclei.images.resizing import resize_image, resize_labels
from nuclei.segmentation.scale import median_diameter
from nuclei.training import image_changes as change

Random = np.random.Generator
Pair = tuple[np.ndarray, np.ndarray]
Augment = Callable[[np.ndarray, np.ndarray, Random], Pair]


def crop(
    image: np.ndarray,
    labels: np.ndarray,
    size: int,
    rng: Random,
    scale_range: tuple[float, float] = (1, 1),
    diameters: tuple[float, float, float] | None = None,
) -> Pair:
    """Cut out a random square, and rescale it by a random factor to `size` pixels a side.

    The factor's logarithm is uniform over `scale_range`; or `diameters` decide, see `scale_to_diameter`, and
    a square without any nucleus is drawn once more. Smaller images are mirrored at the lower and right edge;
    mirror images of a nucleus get numbers of their own unless they touch it.
    """
    if diameters:
        scale = scale_to_diameter(labels, diameters, rng)
    else:
        scale = np.exp(rng.uniform(*np.log(scale_range)))
    side = round(size / scale)
    for _ in range(2 if diameters else 1):
        top, left = (rng.integers(max(length - side, 0) + 1) for length in labels.shape)
        window = np.s_[top : top + side, left : left + side]
        if labels[window].any():
            break
    missing = [(0, max(side - length, 0)) for length in labels.shape]
    image = np.pad(image[window], [*missing, (0, 0)], "symmetric")
    labels = np.pad(labels[window], missing, "symmetric")
    if missing != [(0, 0), (0, 0)]:  # a nucleus and its mirror image are two
        labels = label(labels).astype(labels.dtype)
    if side == size:
        return image, labels
    return resize_image(image, (size, size)), resize_labels(labels, (size, size))


def scale_to_diameter(labels: np.ndarray, diameters: tuple[float, float, float], rng: Random) -> float:
    """Draw the factor that brings the median nucleus of (H, W) `labels` to a random diameter.

    The diameter's logarithm has a triangular distribution over `diameters`: least, most frequent (which an
    image without nuclei counts as) and largest, in pixels. The factor is 0.25 to 2.5.
    """
    wanted = np.exp(rng.triangular(*np.log(diameters)))
    return float(np.clip(wanted / (median_diameter(labels) or diameters[1]), 0.25, 2.5))


def flip(image: np.ndarray, labels: np.ndarray, rng: Random) -> Pair:
    """Rotate and mirror image and labels alike, to one of the eight orientations of a square."""
    turns = int(rng.integers(4))
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    return (image[:, ::-1], labels[:, ::-1]) if rng.integers(2) else (image, labels)


def colour_jitter(image: np.ndarray, labels: np.ndarray, rng: Random) -> Pair:
    """Flip, change brightness, contrast, gamma and colours; at times also blur, noise and uneven light."""
    image, labels = flip(image, labels, rng)
    x = image.astype(np.float32) / 255
    if rng.random() < 0.1:
        x = change.grey(x)
    if rng.random() < 0.25:
        x = change.defocus(x, 12, rng)
    x = change.contrast(change.gamma(x, rng, 0.4), rng, 0.6)
    if rng.random() < 0.5:
        x = change.white_balance(x, rng)
    if rng.random() < 0.5:
        x = change.hue(x, rng)
    if rng.random() < 0.15:  # another dye or a coloured lamp: channels permuted, some of them weak
        weights = rng.random(3, np.float32)
        x = x[..., rng.permutation(3)] * (weights / weights.max())
    if rng.random() < 0.3:  # light falls off to one side
        rows, columns = (np.linspace(-1, 1, length, dtype=np.float32) for length in labels.shape)
        down, across = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
        x = x * (1 + down * rows[:, None, None] + across * columns[:, None])
    if rng.random() < 0.4:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0, 0.06))
    return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8), labels


def colour_jitter_half(image: np.ndarray, labels: np.ndarray, rng: Random) -> Pair:
    """Apply `colour_jitter` to a random half of the images and `flip` to the others."""
    return (colour_jitter if rng.random() < 0.5 else flip)(image, labels, rng)


def strong(image: np.ndarray, labels: np.ndarray, rng: Random) -> Pair:
    """Flip, and change two images of three as other specimens, optics, cameras and files would.

    The image must be square, with stretched grey values (`nuclei.images.intensity.normalize`). Pasted nuclei
    get new labels; all others keep theirs.
    """
    image, labels = flip(image, labels, rng)
    if rng.random() < 1 / 3:
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)
    image = image.astype(np.float32) / 255

    def maybe(probability, step, *arguments):
        nonlocal image
        if rng.random() < probability:
            image = np.clip(step(image, *arguments), 0, 1)

    # in the physical order: specimen, optics, camera, file
    stained = np.mean(np.ptp(image[::4, ::4], axis=2)) > 0.02  # of the strongest and the weakest channel
    if stained:
        maybe(0.6, change.stain, rng)
        maybe(0.3, lambda x: change.white_balance(change.hue(x, rng), rng))
        maybe(0.12, change.grey)
    elif np.median(image) < 0.5:
        if rng.random() < 0.25:
            image, labels = change.crowd(image, labels, rng)
        maybe(0.35, change.dim_some_nuclei, labels, rng)
    diameter = median_diameter(labels) or 16.0
    maybe(0.25, change.haze, rng)
    maybe(0.25, change.uneven_light, rng)
    maybe(0.25, change.defocus, diameter, rng)
    maybe(0.2, change.downsample, diameter, rng)
    maybe(0.15, change.outliers, rng)
    maybe(0.4, change.noise, rng)
    maybe(0.4, change.gamma, rng)
    maybe(0.4, change.contrast, rng)
    if not stained:
        maybe(0.15, change.tint, rng)
    maybe(0.2, change.jpeg, rng)
    maybe(0.4, change.stretch, rng)
    return np.round(image * 255).astype(np.uint8), np.ascontiguousarray(labels)


AUGMENTS: dict[str, Augment | None] = {"none": None}
AUGMENTS |= {each.__name__: each for each in (flip, colour_jitter_half, colour_jitter, strong)}
