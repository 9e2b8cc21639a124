"""What helps with an image type missing from the training images: augmentation, or fine-tuning?

    python benchmarks/unknown_type.py ENCODER_WEIGHTS

Trains recipes/dsb2018.yml for six epochs without one image type, once with each augmentation (a quarter of
an hour each on two cores), then fine-tunes the first of these models by recipes/fine_tune.yml on twelve
images of that type. Writes unknown_type.json beside this file: the scores on the type's other fields of
view; the score of "thresholds" in place of candidates, each half of the fields with thresholds tuned on the
other half; and the score on the model's own "validation" images. The same fields also selected the epoch of
the fine-tuned model. Runs found in runs/unknown_type/ are not repeated. One seed: differences of 0.01 mean
little.
"""

import sys
from pathlib import Path

import numpy as np
from ablations import train
from tqdm import tqdm

import nuclei
from nuclei.data import splits
from nuclei.data.fields import field_numbers
from nuclei.evaluation import tuning
from nuclei.evaluation.report import compare, measures_with_interval
from nuclei.notebook import recipe

TYPE, IMAGES, SEED = "purple tissue", 10, 0
SHORT = {"epochs": 6, "warmup_epochs": 1, "monitor": "val_accuracy", "figure_epochs": []}
AUGMENTS = ("colour_jitter", "flip", "colour_jitter_half")  # the first is the recipe's own
FOLDER = Path("runs/unknown_type")


def trained(stage: str, name: str, training: list, validation: list, **changed) -> nuclei.Segmenter:
    """Return a model of a recipe and a given split, trained unless a run is there already."""
    folder = FOLDER / stage
    split = nuclei.write_json(folder / "split.json", splits.split_ids(training, validation))
    train(folder, recipe(name) | {"data": "dsb2018", "split_by": str(split)} | changed)
    return nuclei.Segmenter.load(folder / "model")


def score(segmenter: nuclei.Segmenter, samples: list) -> dict:
    """Score a model on samples outside its training images, and thresholds in place of its candidates."""
    fields, truth = field_numbers(samples), [s.labels for s in samples]
    predicted = [segmenter.predict_maps(s.image) for s in tqdm(samples, desc="maps", unit="image")]
    maps = [each.maps for each in predicted]
    guesses = [segmenter.unbiased(p, s.id).labels for p, s in zip(predicted, samples, strict=True)]
    results = [compare(*each) for each in zip(samples, guesses, fields, strict=True)]
    _, scores = tuning.tune(tqdm(maps, desc="thresholds"), truth, tuning.GRID | {"smoothing": [1.0]})
    by_thresholds = tuning.cross_tune(scores, fields).scores.mean()
    validation = segmenter.settings["val_score"]
    return measures_with_interval(results) | {"thresholds": by_thresholds, "validation": validation}


if __name__ == "__main__":
    samples = nuclei.load_samples("dsb2018")
    training, validation = splits.split(samples, 0.2, seed=SEED)
    of_type = [s for s in samples if s.type == TYPE]
    fields = field_numbers(of_type)
    order = np.random.default_rng(SEED).permutation(fields.max() + 1)
    few = []
    for field in order:  # whole fields, until there are enough
        if len(few) < IMAGES:
            few += [s for s, f in zip(of_type, fields, strict=True) if f == field]
    chosen = {s.id for s in few}
    rest = [s for s in of_type if s.id not in chosen]
    ids = {s.id for s in of_type}
    stages = {
        augment: trained(
            augment,
            "dsb2018",
            [s for s in training if s.id not in ids],
            [s for s in validation if s.id not in ids],
            encoder_weights=sys.argv[1],
            augment=augment,
            **SHORT,
        )
        for augment in AUGMENTS
    }
    before = f"{FOLDER}/{AUGMENTS[0]}/model"
    stages["fine-tuned"] = trained("fine-tuned", "fine_tune", few, rest, start_from=before)
    about = {"type": TYPE, "images_to_learn_from": len(few), "seed": SEED, "short": SHORT}
    about |= {"data": nuclei.describe(samples), "versions": nuclei.versions()}
    found = {name: score(segmenter, rest) for name, segmenter in stages.items()}
    nuclei.write_json(Path(__file__).with_suffix(".json"), about | {"models": found})
    print({name: round(each["score"], 3) for name, each in found.items()})
