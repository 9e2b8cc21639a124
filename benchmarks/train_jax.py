"""Train the network of recipes/general_longer.yml on one GPU with JAX, and make a model of it.

    KERAS_BACKEND=jax python benchmarks/train_jax.py train START_MODEL OUT
    python benchmarks/train_jax.py finish START_MODEL OUT

The first does what 02_train does up to its curves: the same batches, loss, optimizer and learning rates. But
all processors draw batches, and the network computes in bfloat16. It needs ``jax[cuda13]``, no TensorFlow.
Interrupted and given again, it resumes after the last epoch that ended. The second does what remains, from
candidates to thresholds, in half an hour on two CPU cores, and writes OUT/model.

The shipped model comes from the first version of this script. Its learning rate depended on time: it was
constant for 55 % of 508 seconds, in which 6,605 batches were learned, and then fell along a cosine. This
version has been run on a CPU only, for a few steps, killed and resumed.
"""

import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from nuclei.common import ROOT, versions
from nuclei.data.fields import field_numbers
from nuclei.data.samples import Sample, describe, fingerprint, load_samples
from nuclei.data.splits import balanced_weights, load_split, split_ids
from nuclei.notebook import recipe
from nuclei.training import unet
from nuclei.training.augmentation import AUGMENTS
from nuclei.training.batches import draw_batch, normalize_samples
from nuclei.training.callbacks import delete_backup, past_epochs, training_callbacks
from nuclei.training.targets import TARGETS

PARAMETERS = recipe("general", "general_longer")
COMMON = {"size": PARAMETERS["crop"], "target": TARGETS[PARAMETERS["target"]], "seed": PARAMETERS["seed"]}
drawing: dict = {}  # the samples and their weights, in each process that draws batches


def batch(epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a batch of the recipe, as uint8 arrays, which are quickly passed on."""
    images, targets = draw_batch(
        **drawing,
        **COMMON,
        step=step,
        epoch=epoch,
        batch_size=PARAMETERS["batch_size"],
        steps=PARAMETERS["steps_per_epoch"],
        diameters=PARAMETERS["crop_diameters"],
        augment=AUGMENTS[PARAMETERS["augment"]],
    )
    return images.astype(np.uint8), targets.astype(np.uint8)


def batches(samples: list[Sample], done: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the batches of all epochs but the first `done`, drawn ahead by all processors but one."""
    drawing.update(samples=samples, weights=balanced_weights(samples))
    processes = max((os.cpu_count() or 2) - 1, 1)
    coming = ((e, s) for e in range(done, PARAMETERS["epochs"]) for s in range(PARAMETERS["steps_per_epoch"]))
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        ahead: deque = deque()
        for epoch, step in coming:
            ahead.append(pool.submit(batch, epoch, step))
            if len(ahead) > 3 * processes:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def train(start: Path, out: Path, samples: list[Sample], validation: list[Sample]) -> None:
    """Train the network of the model in `start`; an interrupted training resumes from its backup."""
    p = PARAMETERS
    each = batches(normalize_samples(samples), done=len(past_epochs(out)))
    first = next(each)  # the processes are there before JAX starts its threads
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = unet.unet(
        channels=first[1].shape[-1],
        detail_filters=p["detail_filters"],
        encoder_weights=None,
        encoder_trainable=True,
    )
    network.set_weights(keras.saving.load_model(start / "model.keras", compile=False).get_weights())
    unet.set_momentum(network, p["momentum"])
    schedule = ("steps_per_epoch", "epochs", "learning_rate", "warmup_epochs", "decay_epochs")
    loss = ("weight_average", "weight_decay", "edge_weight")
    unet.compile_unet(network, **{name: p[name] for name in (*schedule, *loss)})
    network.fit(
        (pair for pair in chain([first], each)),  # Keras knows generators, and no other iterators
        steps_per_epoch=p["steps_per_epoch"],
        epochs=p["epochs"],
        validation_data=draw_batch(
            normalize_samples(validation), 0, shuffle=False, batch_size=len(validation), **COMMON
        ),
        callbacks=training_callbacks(
            out,
            monitor=p["monitor"],
            patience=p["patience"],
            average=True,
            parameters=p | {"images": [fingerprint(side) for side in (samples, validation)]},
        ),
        verbose=2,
    )
    delete_backup(out)


def finish(start: Path, out: Path, train: list[Sample], validation: list[Sample], data: dict) -> None:
    """Train the IoU network, tune, and save the model; `data` describes all images, see `describe`."""
    from nuclei.evaluation.tuning import tune_segmenter
    from nuclei.segmentation.segmenter import AT_A_TIME, Segmenter
    from nuclei.training import iou_network
    from nuclei.training.parameters import model_settings
    from nuclei.training.usual import learn_usual

    former, p = Segmenter.load(start), PARAMETERS
    former.model.load_weights(out / "best.weights.h5")
    former.settings |= model_settings(p, train, former.settings)
    former.save(out / "model")  # loaded again, it runs several times faster
    segmenter = Segmenter.load(out / "model", AT_A_TIME)
    learned = iou_network.training_examples(segmenter, train, AUGMENTS[p["augment"]], p["seed"])
    segmenter.iou_network = iou_network.fit_iou_network(*learned, seed=p["seed"])
    tuned = tune_segmenter(segmenter, validation, field_numbers(validation), p["seed"])
    learn_usual(segmenter, train, validation, AUGMENTS[p["augment"]], p["seed"])
    segmenter.split = split_ids(train, validation, former.split)
    segmenter.history = pd.read_csv(out / "history.csv")
    best = segmenter.history["val_accuracy"].idxmax()
    before = {name: former.settings.get(name) for name in ("parameters", "data", "versions", "before")}
    segmenter.settings |= tuned | {
        "best_epoch": int(best) + 1,
        "val_accuracy": float(segmenter.history["val_accuracy"][best]),
        "parameters": p,
        "before": before,
        "data": data,
        "versions": versions(),
    }
    segmenter.save(out / "model")
    print(json.dumps({"val_score": tuned["val_score"], "thresholds": tuned["thresholds"]}))


def main(part: str, start: str, out: str) -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    samples = load_samples(PARAMETERS["data"])
    sides = load_split(ROOT / PARAMETERS["split_by"], samples)
    if part == "train":
        train(Path(start), Path(out), *sides)
    else:
        finish(Path(start), Path(out), *sides, describe(samples))


if __name__ == "__main__":
    main(*sys.argv[1:])
