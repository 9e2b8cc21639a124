"""From samples to batches: crop or resize, augment, target.

The steps are plain functions on arrays. `batches` hands them to tf.data, which only schedules them.
Whatever is drawn at random depends on (seed, epoch, index) alone: the same seed gives the same
batches, and a training that was interrupted goes on with the batches it would have had.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nuclei.data.samples import Sample
from nuclei.images.intensity import normalize
from nuclei.images.resizing import resize_image, resize_labels
from nuclei.training.augmentation import Augment, crop
from nuclei.training.targets import foreground_target


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
        Asked for the current epoch whenever a batch is drawn (`training.callbacks.EpochCounter` knows it).
        The default draws the same epoch again and again: right for validation.
    batch_size, **options
        As for `draw_batch`.

    Returns
    -------
    tf.data.Dataset of (images, targets), see `draw_batch`
    """

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
