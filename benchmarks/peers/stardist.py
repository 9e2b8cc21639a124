"""How good is StarDist, trained on the same images, and how fast is its network?

    .venv/bin/python benchmarks/peers/stardist.py images
    STARDIST/bin/python -P benchmarks/peers/stardist.py train 60
    STARDIST/bin/python -P benchmarks/peers/stardist.py outline
    .venv/bin/python benchmarks/peers/stardist.py score

STARDIST is an environment of its own, of Python 3.11 (``-P``, as this file has the name of the package):

    pip install "tensorflow-cpu==2.15.1" "numpy<2" "protobuf<5" stardist

The first writes the training and validation images of the Data Science Bowl to runs/stardist/. The second
trains StarDist's default 2D network (Schmidt et al., MICCAI 2018) for so many minutes of all processors, with
three channels and, as its example notebook does, outlines from every second pixel, which is four times as
fast. The third outlines the validation images, each half of their fields with the thresholds that StarDist
finds best on the other half. The fourth scores these outlines and writes stardist.json beside this file. By
``speed``, `benchmarks/speed.py` runs the network.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np

FOLDER = Path("runs/stardist")
DRAW = np.random.default_rng(0)
PACKAGES = ("stardist", "csbdeep", "tensorflow-cpu", "numpy")


def images() -> None:
    """Write images and their labels, and of validation images in which half of the fields they are."""
    from nuclei import DEFAULT_MODEL, Segmenter, load_samples
    from nuclei.common import ROOT
    from nuclei.data.splits import load_split
    from nuclei.notebook import recipe

    samples = load_samples(["dsb2018"])
    known = load_samples(recipe("general")["data"])
    sides = load_split(ROOT / recipe("general")["split_by"], known)
    halves = [set(half["images"]) for half in Segmenter.load(DEFAULT_MODEL).settings["cross_tuned"]]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, side in zip(("train", "validation"), sides, strict=True):
        chosen = [s for s in side if s.source == samples[0].source]
        arrays = {f"image{k}": s.image for k, s in enumerate(chosen)}
        arrays |= {f"labels{k}": s.labels for k, s in enumerate(chosen)}
        half = [s.id in halves[1] for s in chosen]
        np.savez_compressed(FOLDER / f"{name}.npz", ids=[s.id for s in chosen], half=half, **arrays)
        print(f"{len(chosen)} images, {name}")


def read(name: str) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return images with grey values stretched as StarDist's example does, labels, and halves."""
    from csbdeep.utils import normalize

    with np.load(FOLDER / f"{name}.npz") as file:
        count = len(file["ids"])
        stretched = [normalize(file[f"image{k}"], 1, 99.8, axis=(0, 1, 2)) for k in range(count)]
        return stretched, [file[f"labels{k}"] for k in range(count)], file["half"]


def augment(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, turn and change the brightness at random, as StarDist's example notebook does."""
    turns, mirror = DRAW.integers(4), DRAW.random() < 0.5
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if mirror:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return image * DRAW.uniform(0.6, 2) + DRAW.uniform(-0.2, 0.2), labels


def default_model(folder: Path | None, **options):
    """Build StarDist's default network for colour images; its weights will be saved in the folder."""
    from stardist.models import Config2D, StarDist2D

    return StarDist2D(Config2D(n_channel_in=3, **options), name="model", basedir=folder and str(folder))


def train(minutes: str) -> None:
    import tensorflow as tf

    cores = len(os.sched_getaffinity(0))
    tf.keras.utils.set_random_seed(0)
    model = default_model(FOLDER, grid=(2, 2))
    model.prepare_for_training()

    class Stop(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = time.process_time() > 60 * cores * float(minutes)

    model.callbacks.append(Stop())
    history = model.train(
        *read("train")[:2], validation_data=read("validation")[:2], augmenter=augment, epochs=400
    )
    about = {"minutes": round(time.process_time() / 60 / cores, 1), "cores": cores}
    about |= {"epochs": len(history.epoch), "versions": {p: version(p) for p in PACKAGES}}
    (FOLDER / "about.json").write_text(json.dumps(about))


def outline() -> None:
    with get_context("spawn").Pool(2) as pool:
        thresholds, outlines = zip(*pool.map(outline_half, (False, True)), strict=True)
    np.savez_compressed(FOLDER / "outlines.npz", **outlines[0], **outlines[1])
    about = json.loads((FOLDER / "about.json").read_text())
    (FOLDER / "about.json").write_text(json.dumps(about | {"thresholds": thresholds}))


def outline_half(scored: bool) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the thresholds tuned on one half of the validation images, and the outlines of the other."""
    from stardist.models import StarDist2D

    model = StarDist2D(None, name="model", basedir=str(FOLDER))
    images, true, half = read("validation")
    others = np.flatnonzero(half != scored)
    found = model.optimize_thresholds([images[k] for k in others], [true[k] for k in others])
    labels = {
        f"labels{k}": model.predict_instances(images[k])[0].astype(np.int32)
        for k in np.flatnonzero(half == scored)
    }
    return {name: round(float(value), 3) for name, value in found.items()}, labels


def score() -> None:
    from nuclei import describe, load_samples, write_json
    from nuclei.evaluation.metrics import match, score_table

    with np.load(FOLDER / "validation.npz") as known, np.load(FOLDER / "outlines.npz") as found:
        pairs = [(known[f"labels{k}"], found[f"labels{k}"]) for k in range(len(known["ids"]))]
    ap = score_table([match(*pair) for pair in pairs])["ap"]
    scores = {"score": ap.mean(), "ap_50": ap[0.5], "ap_75": ap[0.75]}
    scores = {name: round(float(value), 4) for name, value in scores.items()}
    about = json.loads((FOLDER / "about.json").read_text())
    about |= {"seed": 0, "data": describe(load_samples("dsb2018"))}
    write_json(Path(__file__).with_suffix(".json"), {"images": len(pairs)} | scores | about)


def speed() -> None:
    """For each line of the input, run the network on an image of so many pixels a side, and say so."""
    network = default_model(None).keras_model
    for line in sys.stdin:
        network.predict_on_batch(np.zeros((1, int(line), int(line), 3), np.float32))
        print("done", flush=True)


if __name__ == "__main__":
    parts = {part.__name__: part for part in (images, train, outline, score, speed)}
    parts[sys.argv[1]](*sys.argv[2:])
