"""From samples to batches: crop or resize, augment, target.

The steps are plain functions on arrays. `batches` hands them to tf.data, which only schedules them.
Whatever is drawn at random depends on (seed, epoch, index) alone: the same seed gives the same
batches, and a training that was interrupted goes on with the batches it would have had.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage as ndi

from nuclei.data import Sample
from nuclei.instances import foreground_target

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def normalize(image: np.ndarray) -> np.ndarray:
    """Stretch the grey values of a whole image, so that a dim one looks like a bright one.

    Parameters
    ----------
    image : (H, W, 3) uint8

    Returns
    -------
    (H, W, 3) uint8
        The 1 and 99.8 percentiles over all pixels and colours together, so that colours keep their tone, have
        become 0 and 255; what lies beyond is cut off. A constant image becomes 0.
    """
    low, high = np.percentile(image, (1, 99.8))
    table = np.clip((np.arange(256) - low) / max(high - low, 1e-6), 0, 1)
    return np.round(table * 255).astype(np.uint8)[image]


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize an (H, W, 3) uint8 image to `shape`: bilinear, and anti-aliased where it shrinks."""
    height, width = shape
    picture = Image.fromarray(np.ascontiguousarray(image))
    for size in ((width, picture.height), (width, height)):  # Pillow's own order depends on its version
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) labels to `shape` by the nearest neighbour, so that no number is invented."""
    nearest = [
        ((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(shape, labels.shape, strict=True)
    ]
    return labels[np.ix_(*nearest)]


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


def normalize_samples(samples: list[Sample]) -> list[Sample]:
    """Return the samples with their images stretched by `normalize`."""
    return [Sample(s.id, normalize(s.image), s.labels) for s in samples]


def draw_batch(
    samples: list[Sample],
    step: int,
    *,
    epoch: int = 0,
    seed: int = 0,
    size: int = 128,
    squeeze: bool = False,
    batch_size: int = 16,
    shuffle: bool = True,
    weights: np.ndarray | None = None,
    scale_range: tuple[float, float] = (1, 1),
    augment: Augment | None = None,
    target: Callable[[np.ndarray], np.ndarray] = foreground_target,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one batch; the same arguments give the same arrays.

    Parameters
    ----------
    samples : list of Sample
    step : int
        Which batch of the epoch, from 0. An epoch goes through all samples in a new order (in the
        given order without `shuffle`); the last batch may be smaller.
    epoch, seed : int
        With the place in the epoch, all that the random draws depend on.
    size : int
        Side of the squares that come out, in pixels.
    squeeze : bool
        Whether images are squeezed to the square whole, instead of a random crop being cut at native scale.
    weights : (N,) float, optional
        How often each sample is drawn in relation to others; by default each once an epoch.
    scale_range : two floats
        See `crop`.
    augment : function (image, labels, rng) -> (image, labels), or None
    target : function (size, size) int labels -> (size, size, C) float32 in 0-1

    Returns
    -------
    images : (B, size, size, 3) float32, 0-255
    targets : (B, size, size, C) float32, 0-1
    """
    order = np.arange(len(samples))
    if shuffle:
        chances = None if weights is None else np.asarray(weights) / np.sum(weights)
        replace = weights is not None
        order = np.random.default_rng((seed, epoch)).choice(order, len(order), replace=replace, p=chances)
    images, targets = [], []
    for index in range(step * batch_size, min((step + 1) * batch_size, len(samples))):
        rng = np.random.default_rng((seed, epoch, index))
        sample = samples[order[index]]
        image, labels = sample.image, sample.labels
        if not squeeze:
            image, labels = crop(image, labels, size, rng, scale_range)
        if augment:
            image, labels = augment(image, labels, rng)
        if squeeze:
            # Last, as the nearest neighbour is up to half a pixel off, always to the same side: flipped
            # afterwards, labels would be off to this side and that, and none of it could be learned.
            image, labels = resize_image(image, (size, size)), resize_labels(labels, (size, size))
        images.append(image)
        targets.append(target(labels))
    return np.stack(images).astype(np.float32), np.stack(targets)


def batches(samples: list[Sample], *, epoch: Callable[[], int] = lambda: 0, batch_size: int = 16, **options):
    """Return a tf.data.Dataset of the batches of one epoch, drawn ahead while the model trains.

    Parameters
    ----------
    samples : list of Sample
    epoch : function () -> int
        Asked for the current epoch whenever a batch is drawn (`nuclei.callbacks.EpochCounter` knows it).
        The default draws the same epoch again and again: right for validation.
    batch_size, **options
        As for `draw_batch`.

    Returns
    -------
    tf.data.Dataset of (images, targets), see `draw_batch`
    """
    import tensorflow as tf  # here, so that all else in this module works without it

    def load(step):
        return draw_batch(samples, int(step), epoch=epoch(), batch_size=batch_size, **options)

    images, targets = load(0)

    def scheduled(step):
        image, target = tf.numpy_function(load, [step], (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(image, (None, *images.shape[1:])), tf.ensure_shape(
            target, (None, *targets.shape[1:])
        )

    steps = -(-len(samples) // batch_size)
    return tf.data.Dataset.range(steps).map(scheduled, num_parallel_calls=2).prefetch(2)
