"""From samples to batches: crop or resize, augment, compute the target."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nuclei.data.samples import Sample
from nuclei.images.intensity import normalize
from nuclei.images.resizing import resize_image, resize_labels
from nuclei.training.augmentation import Augment, crop
from nuclei.training.targets import foreground_target

if TYPE_CHECKING:
    import tensorflow as tf


def normalize_samples(samples: list[Sample]) -> list[Sample]:
    """Return the samples with their grey values stretched by `nuclei.images.intensity.normalize`."""
    return [replace(s, image=normalize(s.image)) for s in samples]


def draw_batch(
    samples: list[Sample],
    step: int,
    *,
    epoch: int = 0,
    seed: int = 0,
    size: int = 128,
    squeeze: bool = False,
    batch_size: int = 16,
    steps: int | None = None,
    shuffle: bool = True,
    weights: np.ndarray | None = None,
    scale_range: tuple[float, float] = (1, 1),
    diameters: tuple[float, float, float] | None = None,
    augment: Augment | None = None,
    target: Callable[[np.ndarray], np.ndarray] = foreground_target,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw batch number `step` of an epoch; the same arguments give the same arrays, also after a restart.

    With `squeeze` whole images are resized to squares of `size` pixels a side, otherwise random squares are
    cut out: see `nuclei.training.augmentation.crop`. An epoch holds every sample once; or `steps` batches,
    drawn with replacement, as often as the `weights`, (N,) floats of the samples, say.

    Returns images, (B, size, size, 3) float32 0-255, and their `target`, (B, size, size, C) float32 0-1.
    """
    order = np.arange(len(samples))
    if shuffle:
        with_replacement = weights is not None or steps is not None
        chances = None if weights is None else np.asarray(weights) / np.sum(weights)
        count = steps * batch_size if steps else len(samples)
        rng = np.random.default_rng((seed, epoch))
        order = rng.choice(order, count, replace=with_replacement, p=chances)
    images, targets = [], []
    for index, k in enumerate(order[step * batch_size : (step + 1) * batch_size], start=step * batch_size):
        rng = np.random.default_rng((seed, epoch, index))
        image, labels = samples[k].image, samples[k].labels
        if not squeeze:
            image, labels = crop(image, labels, size, rng, scale_range, diameters)
        if augment:
            image, labels = augment(image, labels, rng)
        if squeeze:
            # after augmentation: nearest-neighbour labels are shifted by up to half a pixel, always to the
            # same side; flipping them afterwards would vary the side, which cannot be learned
            image, labels = resize_image(image, (size, size)), resize_labels(labels, (size, size))
        images.append(image)
        targets.append(target(labels))
    return np.stack(images).astype(np.float32), np.stack(targets)


def batches(
    samples: list[Sample],
    *,
    epoch: Callable[[], int] = lambda: 0,
    batch_size: int = 16,
    steps: int | None = None,
    **options,
) -> "tf.data.Dataset":
    """Return the batches of one epoch, prepared during training; for the `options` see `draw_batch`.

    `epoch`, such as an `EpochCounter`, returns the current epoch; the default repeats one, for validation.
    """
    import tensorflow as tf  # only here: `draw_batch` works without it

    def load(step):
        return draw_batch(samples, int(step), epoch=epoch(), batch_size=batch_size, steps=steps, **options)

    shapes = [(None, *array.shape[1:]) for array in load(0)]

    def scheduled(step):
        arrays = tf.numpy_function(load, [step], (tf.float32, tf.float32), stateful=False)
        return tuple(map(tf.ensure_shape, arrays, shapes))

    steps_per_epoch = steps or -(-len(samples) // batch_size)
    return tf.data.Dataset.range(steps_per_epoch).map(scheduled, num_parallel_calls=2).prefetch(2)
