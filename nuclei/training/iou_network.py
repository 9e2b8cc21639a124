"""The IoU network, which rates candidates: its architecture, its training examples, its training."""

import warnings
from itertools import chain

import keras
import numpy as np
from keras import layers, ops
from tqdm.contrib.concurrent import thread_map
from tqdm.keras import TqdmCallback

from nuclei.data.labels import check_labels
from nuclei.data.samples import Sample
from nuclei.images.resizing import rescale_image, resize_labels
from nuclei.segmentation.candidates import Candidates, propose
from nuclei.segmentation.inference import StoredNetwork, as_keras
from nuclei.segmentation.segmenter import AT_A_TIME, Segmenter
from nuclei.training.augmentation import Augment, Pair, Random

EPOCHS, BATCH = 20, 512
MEMBERS = 4  # networks in one, see `iou_network`


def true_ious(found: Candidates, labels: np.ndarray) -> np.ndarray:
    """Return each candidate's IoU with the true nucleus that it overlaps most: (N,) float64, 0-1.

    `labels` are (H, W) integers, 0 = background. Raises TypeError or ValueError, see `check_labels`.
    """
    labels = check_labels(labels, "true labels", shape=found.shape).ravel().astype(np.int64)
    numbers = labels.max() + 1
    areas = found.stops - found.starts
    candidate = np.repeat(np.arange(areas.size), areas)
    ranges = [slice(0), *map(slice, found.starts, found.stops)]  # the first for no candidates
    truth = labels[np.concatenate([found.pixels[each] for each in ranges])]
    inside = truth > 0
    pairs, shared = np.unique(candidate[inside] * numbers + truth[inside], return_counts=True)
    candidate, truth = np.divmod(pairs, numbers)
    ious = np.zeros(areas.size)
    np.maximum.at(ious, candidate, shared / (areas[candidate] + np.bincount(labels)[truth] - shared))
    return ious


def training_examples(
    segmenter: Segmenter, samples: list[Sample], augment: Augment | None = None, seed: int = 0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return two lists, on which an IoU network is trained: features of candidates, and their true IoUs.

    Each has two arrays per sample, (N, len(FEATURES)) float32 or (N,) float64 in 0-1: one of the whole image,
    and one of a random crop, rescaled and augmented.
    """

    def of_pair(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        predicted = segmenter.predict_maps(image)
        found = propose(predicted.maps, predicted.image)
        return found.features, true_ious(found, labels)

    def of_sample(k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        image, labels, rng = samples[k].image, samples[k].labels, np.random.default_rng((seed, k))
        crop = rescaled_crop(segmenter.prepared(image), labels, rng)
        return [of_pair(image, labels), of_pair(*(augment(*crop, rng) if augment else crop))]

    with warnings.catch_warnings(action="ignore"):  # of outliers, which augmentation adds
        numbers = range(len(samples))
        found = thread_map(of_sample, numbers, max_workers=AT_A_TIME, desc="candidates", unit="image")
    features, ious = zip(*chain.from_iterable(found), strict=True)
    return list(features), list(ious)


def rescaled_crop(image: np.ndarray, labels: np.ndarray, rng: Random) -> Pair:
    """Rescale a random square of both by 1/3 to 3, to 256 pixels a side, or fewer in a small image."""
    factor = np.exp(rng.uniform(*np.log((1 / 3, 3))))
    side = min(round(256 / factor), *labels.shape)
    top, left = (rng.integers(length - side + 1) for length in labels.shape)
    window = np.s_[top : top + side, left : left + side]
    image = rescale_image(image[window], factor)
    return image, resize_labels(labels[window], image.shape[:2])


def iou_network(features: np.ndarray, members: int = MEMBERS) -> keras.Model:
    """Build the network that predicts IoUs of candidates: (B, F) float32 -> (B, M) float32 0-1.

    It standardises each feature to the mean and variance of `features`, (N, F) float of training candidates,
    and clips it at 5 standard deviations. Its M `members` share nothing else, and their mean counts: a deep
    ensemble (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017).
    """
    inputs = keras.Input((features.shape[1],), name="features")
    normalization = layers.Normalization()
    normalization.adapt(features)
    standardised, ious = ops.clip(normalization(inputs), -5, 5), []
    for _ in range(members):
        x = standardised
        for _ in range(3):
            x = layers.Dropout(0.1)(layers.Dense(128, activation="gelu")(x))
        ious.append(layers.Dense(1, activation="sigmoid")(x))
    return keras.Model(inputs, ops.concatenate(ious, axis=-1), name="iou_network")


def fit_iou_network(
    features: list, ious: list, *, network: keras.Model | StoredNetwork | None = None, seed: int = 0
) -> keras.Model:
    """Train an IoU network, by default a new one, on `training_examples`.

    The loss is the mean over members of the binary cross-entropy with the IoU as target; an image of N
    candidates has the weight of the square root of N, so that crowded images do not dominate. Raises
    ValueError for no candidates.
    """
    keras.utils.set_random_seed(seed)
    counts = np.array([len(each) for each in ious])
    inputs, targets = (np.concatenate(each).astype(np.float32) for each in (features, ious))
    if not targets.size:
        raise ValueError("no candidates to train on: the model finds no nuclei in any of the images")
    weights = 1 / np.sqrt(np.repeat(counts, counts))
    model = as_keras(network) if network else iou_network(inputs)
    decay = keras.optimizers.schedules.CosineDecay(0.002, EPOCHS * -(-targets.size // BATCH))
    model.compile(keras.optimizers.AdamW(decay, weight_decay=0.001), "binary_crossentropy")
    model.fit(
        inputs,
        np.repeat(targets[:, None], model.output_shape[-1], axis=1),
        sample_weight=(weights / weights.mean()).astype(np.float32),
        batch_size=BATCH,
        epochs=EPOCHS,
        callbacks=[TqdmCallback(verbose=0, desc="IoU network")],
        verbose=0,
    )
    return model
