"""Does strong augmentation help on a data set that the network has never met? Short runs that leave one out.

    python benchmarks/left_out.py START_MODEL [SEED ...]

START_MODEL is a model of recipes/dsb2018.yml, which knows the Data Science Bowl alone. Its network is trained
for 320 batches of recipes/general.yml without one of the other four data sets, once with strong augmentation
and once with flips alone, and scored on up to 60 training and validation images of the one left out, and on
12 of them after the changes of robustness.py. Writes left_out.json beside this file; runs that it holds are
not repeated. Ten minutes for each on two cores, eighty for a seed.
"""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
from robustness import CHANGES
from strangers import scores, train

import nuclei
from nuclei.data.splits import load_split
from nuclei.notebook import recipe
from nuclei.training.hardware import use_bfloat16

FILE = Path(__file__).with_suffix(".json")
STEPS, IMAGES, CHANGED = 320, 60, 12
LEFT_OUT = ("nuinsseg", "sbsst265", "tnbc", "aitslab1")
AUGMENTS = ("strong", "flip")


def scored(segmenter: nuclei.Segmenter, samples: list[nuclei.Sample], name: str) -> dict[str, float]:
    """Return the mean score of a data set's images, and of some after the changes."""
    order = np.random.default_rng(0).permutation(len(samples))[:IMAGES]
    chosen = [samples[k] for k in order]
    changed = [
        nuclei.Sample(s.id, change(s.image), s.labels)
        for how, change in CHANGES.items()
        if how != "none"
        for s in chosen[:CHANGED]
    ]
    found = {"score": chosen, "changed": changed}
    return {key: round(float(np.mean(scores(segmenter, each, name))), 4) for key, each in found.items()}


def main(start: str, *seeds: str) -> None:
    use_bfloat16()
    samples = nuclei.load_samples(recipe("general")["data"])
    train_samples, validation = load_split(nuclei.ROOT / recipe("general")["split_by"], samples)
    runs = json.loads(FILE.read_text())["runs"] if FILE.exists() else []
    planned = [*product(LEFT_OUT, [None], [None]), *product(LEFT_OUT, AUGMENTS, map(int, seeds or "0"))]
    for left_out, augment, seed in planned:
        about = {"left_out": left_out, "augment": augment, "seed": seed}
        if any(about.items() <= run.items() for run in runs):
            continue
        segmenter = nuclei.Segmenter.load(start)
        if augment:
            kept = [s for s in train_samples if s.source != left_out]
            train(segmenter.model, kept, STEPS, augment=augment, seed=seed)
            segmenter = nuclei.Segmenter.load(segmenter.save(f"runs/left_out/{left_out}_{augment}_{seed}"))
        unmet = [s for s in train_samples + validation if s.source == left_out]
        runs.append(about | scored(segmenter, unmet, left_out))
        content = {"steps": STEPS, "images": IMAGES, "changed_images": CHANGED, "runs": runs}
        content |= {"data": nuclei.describe(samples), "versions": nuclei.versions()}
        nuclei.write_json(FILE, content)


if __name__ == "__main__":
    main(*sys.argv[1:])
