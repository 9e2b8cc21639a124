"""The network that rates candidates: how it is built, what it learns from, how it is trained."""

import warnings

import keras
import numpy as np
from keras import layers, ops
from tqdm.auto import tqdm

from nuclei.data.labels import check_labels
from nuclei.images.resizing import resize_image, resize_labels
from nuclei.segmentation.candidates import propose

PIECE = 256  # pixels, the side of what the IoU network learns from beside whole images

MAGNIFICATIONS = (1 / 3, 3)  # of such pieces, least and largest


def true_ious(found, labels):
    """Return each candidate's IoU with the true nucleus that it overlaps most.

    Parameters
    ----------
    found : Candidates
    labels : (H, W) integer array
        The truth, 0 is background.

    Returns
    -------
    (N,) float64, in 0..1

    Raises
    ------
    TypeError, ValueError
        See `nuclei.data.labels.check_labels`.
    """
    labels = check_labels(labels, "true labels", shape=found.shape).ravel().astype(np.int64)
    numbers = labels.max() + 1
    areas = found.stops - found.starts
    candidate = np.repeat(np.arange(areas.size), areas)
    steps = np.arange(candidate.size) - (np.cumsum(areas) - areas)[candidate]
    truth = labels[found.pixels[found.starts[candidate] + steps]]
    inside = truth > 0
    pairs, shared = np.unique(candidate[inside] * numbers + truth[inside], return_counts=True)
    candidate, truth = np.divmod(pairs, numbers)
    ious = np.zeros(areas.size)
    np.maximum.at(ious, candidate, shared / (areas[candidate] + np.bincount(labels)[truth] - shared))
    return ious


def lessons(segmenter, samples, change=None, seed=0):
    """Return what an IoU network learns from.

    Parameters
    ----------
    segmenter : nuclei.segmentation.segmenter.Segmenter
        Of its methods, `maps` and `prepare` are used.
    samples : list of Sample
    change : function (image, labels, rng) -> (image, labels), optional
        One of `nuclei.training.augmentation.AUGMENTS`.
    seed : int

    Returns
    -------
    features : list of (N, len(FEATURES)) float32
        Two of each sample: of all of it, and of a random piece of it, magnified by 1/3 to 3 and changed, as
        other microscopes give other sizes, and other edges.
    ious : list of (N,) float64, 0-1
    """
    features, ious = [], []
    for k, s in enumerate(tqdm(samples, desc="candidates", unit="image")):
        rng = np.random.default_rng((seed, k))
        piece = _magnified(s.image, s.labels, rng)
        for image, labels in ((s.image, s.labels), change(*piece, rng) if change else piece):
            with warnings.catch_warnings():  # of sizes that the model does not know: they are meant here
                warnings.simplefilter("ignore")
                maps = segmenter.maps(image)
            found = propose(maps, segmenter.prepare(image))
            features.append(found.features)
            ious.append(true_ious(found, labels))
    return features, ious


def _magnified(image, labels, rng):
    """Cut a random square of both and magnify it to 256 pixels a side, or fewer in a small image."""
    factor = np.exp(rng.uniform(*np.log(MAGNIFICATIONS)))
    side = min(round(PIECE / factor), *labels.shape)
    top, left = (rng.integers(length - side + 1) for length in labels.shape)
    window, shape = np.s_[top : top + side, left : left + side], 2 * (max(round(side * factor), 1),)
    return resize_image(image[window], shape), resize_labels(labels[window], shape)


IOU_EPOCHS, IOU_BATCH = 10, 256  # of the IoU network, which has ten thousand weights


def iou_network(features, width: int = 64) -> keras.Model:
    """Build the network that tells how well a candidate for a nucleus will match a true one.

    Parameters
    ----------
    features : (N, F) float array
        Candidates to learn from; the network brings each feature to their mean 0 and variance 1, and cuts it
        off at 5, so that what is far from all it knows does not lead it further astray.
    width : int
        Neurons of each of its three hidden layers.

    Returns
    -------
    keras.Model
        (B, F) float32 -> (B, 1) float32 0-1.
    """
    inputs = keras.Input((features.shape[1],), name="features")
    normalization = layers.Normalization()
    normalization.adapt(features)
    x = ops.clip(normalization(inputs), -5, 5)
    for _ in range(3):
        x = layers.Dropout(0.1)(layers.Dense(width, activation="gelu")(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="iou")(x), name="iou_network")


def fit_iou_network(
    features: list, ious: list, *, network: keras.Model | None = None, seed: int = 0
) -> keras.Model:
    """Train an IoU network on the candidates of some images.

    Parameters
    ----------
    features : list of (N, F) float arrays, one an image
    ious : list of (N,) float arrays
        Their true IoUs, 0-1.
    network : keras.Model, optional
        One to go on from; by default a new one.
    seed : int
        Of the network's first weights, and of the order in which it sees the candidates.

    Returns
    -------
    keras.Model
        See `iou_network`.

    Raises
    ------
    ValueError
        There are no candidates.

    Notes
    -----
    An image of N candidates weighs as the root of N: neither does a crowded one drown the others, nor do a
    few candidates count as much as thousands. The loss is the binary cross-entropy with the IoU as a target.
    """
    keras.utils.set_random_seed(seed)
    counts = np.array([len(each) for each in ious])
    inputs, targets = (np.concatenate(each).astype(np.float32) for each in (features, ious))
    if not targets.size:
        raise ValueError("no candidates to learn from: the model sees no nuclei in any of the images")
    weights = 1 / np.sqrt(np.repeat(counts, counts))
    network = network or iou_network(inputs)
    decay = keras.optimizers.schedules.CosineDecay(0.002, IOU_EPOCHS * -(-targets.size // IOU_BATCH))
    network.compile(keras.optimizers.AdamW(decay, weight_decay=0.001), "binary_crossentropy")
    network.fit(
        inputs,
        targets,
        sample_weight=(weights / weights.mean()).astype(np.float32),
        batch_size=IOU_BATCH,
        epochs=IOU_EPOCHS,
        verbose=0,
    )
    return network
