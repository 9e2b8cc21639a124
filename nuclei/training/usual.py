"""What training images look like to the encoder, so that images unlike them are recognised."""

import warnings
from collections.abc import Sequence

import numpy as np
from tqdm.auto import tqdm

from nuclei.data.samples import Sample
from nuclei.segmentation.segmenter import Segmenter
from nuclei.segmentation.strangeness import Usual, encoder_features, strangeness
from nuclei.training.augmentation import Augment, crop

AXES = 40  # directions of large variance, or a fifth of the training images where these are few
LEAST = 5  # training images, of fewer no variance is known
BELOW = 0.98  # of the validation images are


def learn_usual(
    segmenter: Segmenter,
    train: list[Sample],
    validation: list[Sample],
    augment: Augment | None = None,
    seed: int = 0,
) -> None:
    """Teach a segmenter which images are usual: those like its training images, see `fit_usual`.

    Every training image counts twice: whole, and as a random crop, rescaled and augmented. With fewer than
    five training images the segmenter does not learn it, nor where images are resized.
    """
    segmenter.encoder = segmenter.usual = None
    if len(train) < LEAST or segmenter.settings["resize"]:
        return
    segmenter.encoder = encoder_features(segmenter.model)
    images = [s.image for s in (*train, *validation)]
    features = features_of(segmenter, images + augmented(train, augment, seed))
    known, new, changed = np.split(features, (len(train), len(images)))
    segmenter.usual = fit_usual(np.concatenate([known, changed]), new)


def features_of(segmenter: Segmenter, images: Sequence[np.ndarray], name: str = "features") -> np.ndarray:
    """Return what the encoder finds in images, (N, F) float64, each at the smallest of its scales."""
    with warnings.catch_warnings():  # of outliers, which augmentation adds
        warnings.simplefilter("ignore")
        prepared = (segmenter.prepared(image) for image in tqdm(images, desc=name, unit="image"))
        return np.stack([segmenter.features([x], min(segmenter.find_scales([x]))) for x in prepared])


def augmented(samples: list[Sample], augment: Augment | None, seed: int) -> list[np.ndarray]:
    """Return a random crop of each sample, rescaled by 1/3 to 3 and augmented: (256, 256, 3) uint8."""
    images = []
    for k, s in enumerate(samples):
        rng = np.random.default_rng((seed, k))
        image, labels = crop(s.image, s.labels, 256, rng, scale_range=(1 / 3, 3))
        images.append(augment(image, labels, rng)[0] if augment else image)
    return images


def fit_usual(train: np.ndarray, validation: np.ndarray) -> Usual:
    """Describe the features of training images, (N, F) floats, with a limit by those of validation images."""
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
    _, lengths, axes = np.linalg.svd((train - mean) / std, full_matrices=False)
    variances, count = lengths**2 / len(train), min(AXES, len(train) // 5)
    rest = variances[count:].sum() / (mean.size - count)
    usual = Usual(mean, std, axes[:count], variances[:count], rest, np.array(1.0))
    return usual._replace(limit=np.quantile([strangeness(each, usual) for each in validation], BELOW))
