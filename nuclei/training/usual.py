"""Which images are usual: what the encoder finds in training images, to recognise images unlike them."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm.contrib.concurrent import thread_map

from nuclei.data.samples import Sample
from nuclei.segmentation.inference import compiled
from nuclei.segmentation.segmenter import AT_A_TIME, Segmenter
from nuclei.segmentation.strangeness import Usual, encoder_features, image_features, strangeness
from nuclei.training.augmentation import Augment, crop

AXES = 100  # directions of large variance, or half the number of images where these are few
LEAST_IMAGES = 5  # training images; fewer say nothing about the variance
SHARE_BELOW = 0.98  # the fraction of the validation images whose strangeness is below 1


def learn_usual(
    segmenter: Segmenter,
    train: list[Sample],
    validation: list[Sample],
    augment: Augment | None = None,
    seed: int = 0,
) -> None:
    """Set the ``encoder`` and the ``usual`` features of a segmenter, see `fit_usual`.

    Every training image counts twice: whole, and as a random crop, rescaled and augmented. With fewer than
    five training images, or where images are resized, both are None.
    """
    segmenter.encoder = segmenter.usual = None
    if len(train) < LEAST_IMAGES or segmenter.settings["resize"]:
        return
    segmenter.encoder = compiled(encoder_features(segmenter.model))
    prepared = [replace(s, image=segmenter.prepared(s.image)) for s in train]
    images = [s.image for s in train] + augmented(prepared, augment, seed)
    features = features_of(segmenter, images + [s.image for s in validation])
    segmenter.usual = fit_usual(*np.split(features, [len(images)]))


def features_of(segmenter: Segmenter, images: Sequence[np.ndarray], name: str = "features") -> np.ndarray:
    """Return what a segmenter's encoder finds in N images, (N, F) float64, see `image_features`.

    images : any that `nuclei.images.intensity.as_rgb8` takes
    name : that of the progress bar
    """

    def features(image: np.ndarray) -> np.ndarray:
        assert segmenter.encoder is not None, "a model that does not know its training images has none"
        image = segmenter.prepared(image)
        return image_features(segmenter.encoder, [image], segmenter.find_scales([image]))

    with warnings.catch_warnings(action="ignore"):  # of outliers, which augmentation adds
        return np.stack(thread_map(features, images, max_workers=AT_A_TIME, desc=name, unit="image"))


def augmented(samples: list[Sample], augment: Augment | None, seed: int) -> list[np.ndarray]:
    """Return a random crop of each sample, rescaled by 1/3 to 3 and augmented: (256, 256, 3) uint8."""
    images = []
    for k, s in enumerate(samples):
        rng = np.random.default_rng((seed, k))
        image, labels = crop(s.image, s.labels, 256, rng, scale_range=(1 / 3, 3))
        images.append(augment(image, labels, rng)[0] if augment else image)
    return images


def fit_usual(train: np.ndarray, validation: np.ndarray) -> Usual:
    """Return where training images are among all images, by their features, (N, F) floats.

    The limit comes from those of validation images, (M, F). N is at least 5, and M at least 1. Of few
    training images only the directions in which they differ are known: fewer others are called strange.
    """
    mean, std = train.mean(axis=0), train.std(axis=0)
    std = np.maximum(std, np.median(std) / 100) + 1e-6  # a nearly constant one would outweigh all others
    standardised = (train - mean) / std
    _, lengths, directions = np.linalg.svd(standardised, full_matrices=False)
    count = min(AXES, len(train) // 2)
    axes = directions[:count] / np.maximum(lengths[:count, None] / np.sqrt(len(train)), 0.01)
    usual = Usual(mean, std, axes, standardised @ axes.T, np.array(1.0))
    distances = [strangeness(each, usual) for each in validation]
    return usual._replace(limit=np.maximum(np.quantile(distances, SHARE_BELOW), 1e-6))
