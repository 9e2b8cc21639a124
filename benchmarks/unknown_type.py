"""What helps with images of a kind that the model has never seen: augmentation, or fine-tuning?

    python benchmarks/unknown_type.py ENCODER_WEIGHTS

trains recipes/dsb2018.yml for six epochs without one image type, once for each way to augment (a quarter of
an hour each on two cores), lets recipes/fine_tune.yml go on from the recipe's own with twelve images of
that type, and writes unknown_type.json beside this file: the scores on the type's other fields of view,
each half of them with a threshold that the other half chose. The epoch of the model fine-tuned was chosen
on these fields too. Runs that are there already, in runs/unknown_type/, are not repeated. One seed:
differences of 0.01 mean little.
"""

import sys
from pathlib import Path

import numpy as np
import papermill
import yaml

import nuclei
from nuclei import candidates, instances, scoring, splits
from nuclei.image_types import image_type

GRID = {"min_iou": [0.2, 0.3, 0.4, 0.5, 0.6]}
TYPE, IMAGES, SEED = "purple tissue", 10, 0
SHORT = {"epochs": 6, "warmup_epochs": 1, "monitor": "val_accuracy", "figure_epochs": []}
AUGMENTS = ("disturb", "flip", "disturb_half")  # the first is the recipe's own
FOLDER = Path("runs/unknown_type")


def train(stage: str, recipe: str, train: list, validation: list, **changed) -> nuclei.Segmenter:
    """Run 02_train with a recipe on samples that are named one by one, or find that it was done."""
    folder = FOLDER / stage
    nuclei.write_json(folder / "split.json", splits.split_ids(train, validation))
    if not (folder / "model").exists():
        folders = {"out": str(folder), "model_folder": f"{folder}/model", "plot_folder": f"{folder}/plot"}
        parameters = yaml.safe_load(Path(f"notebooks/recipes/{recipe}.yml").read_text())
        parameters |= {"data": "dsb2018", "split_by": f"{folder}/split.json"} | folders | changed
        papermill.execute_notebook(
            "notebooks/02_train.ipynb", f"{folder}/02_train.ipynb", parameters, kernel_name="python3", cwd="."
        )
    return nuclei.Segmenter.load(folder / "model")


def score(segmenter: nuclei.Segmenter, samples: list) -> dict:
    """Score a model with a threshold tuned on one half of the fields for the other."""
    fields = splits.fields(samples)
    rated = (segmenter.candidates(segmenter.maps(s.image), segmenter.prepare(s.image)) for s in samples)
    chosen = [candidates.choose(*each, min(GRID["min_iou"])) for each in rated]
    _, scores = instances.tune(chosen, [s.labels for s in samples], GRID, candidates.surer)
    tuned = instances.cross_tune(scores, fields)
    guesses = [candidates.surer(c, **tuned.best[h]) for c, h in zip(chosen, tuned.half, strict=True)]
    results = [scoring.compare(*each) for each in zip(samples, guesses, fields, strict=True)]
    return scoring.measures_with_interval(results)


if __name__ == "__main__":
    samples = nuclei.load_samples("dsb2018")
    known, judges = splits.split(samples, 0.2, seed=SEED)
    of_type = [s for s in samples if image_type(s.image) == TYPE]
    fields = splits.fields(of_type)
    order = np.random.default_rng(SEED).permutation(fields.max() + 1)
    few = []
    for field in order:  # whole fields, until there are enough
        if len(few) < IMAGES:
            few += [s for s, f in zip(of_type, fields, strict=True) if f == field]
    taught = {s.id for s in few}
    rest = [s for s in of_type if s.id not in taught]
    ids = {s.id for s in of_type}
    stages = {
        augment: train(
            augment,
            "dsb2018",
            [s for s in known if s.id not in ids],
            [s for s in judges if s.id not in ids],
            encoder_weights=sys.argv[1],
            augment=augment,
            **SHORT,
        )
        for augment in AUGMENTS
    }
    before = f"{FOLDER}/{AUGMENTS[0]}/model"
    stages["fine-tuned"] = train("fine-tuned", "fine_tune", few, rest, start_from=before)
    about = {"type": TYPE, "images_to_learn_from": len(few), "seed": SEED, "short": SHORT}
    about |= {"data": nuclei.describe(samples, "dsb2018"), "versions": nuclei.versions()}
    found = {name: score(segmenter, rest) for name, segmenter in stages.items()}
    nuclei.write_json(Path(__file__).with_suffix(".json"), about | {"models": found})
    print({name: round(each["score"], 3) for name, each in found.items()})
