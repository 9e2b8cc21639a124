"""How much does a random split inflate the score? The baseline's recipe under a random and a grouped split.

    papermill notebooks/02_train.ipynb runs/leak_audit.ipynb -k python3 -f notebooks/recipes/base.yml \
        -f notebooks/recipes/baseline.yml -f notebooks/recipes/leak_audit.yml -p encoder_weights WEIGHTS
    python benchmarks/leak_audit.py saved_model/baseline runs/leak_audit/model

Reads the two models (the first is shipped, the recipe trains the second) and writes leak_audit.json beside
this file.
"""

import sys
from pathlib import Path

import numpy as np

import nuclei
from nuclei.data.fields import field_numbers

MAY_DIFFER = {"split_by", "figure_epochs", "out", "model_folder", "plot_folder"}


def check_recipes(random: dict, grouped: dict) -> None:
    """Raise ValueError unless the parameters of two models differ in nothing but the split."""
    names = (random.keys() | grouped.keys()) - MAY_DIFFER
    # a model from before there was a parameter lacks it, which is as if it were off
    if different := sorted(name for name in names if (random.get(name) or 0) != (grouped.get(name) or 0)):
        raise ValueError(f"the models differ in more than their split: {', '.join(different)}")


def audit(folder: str, samples: list, fields: dict[str, int]) -> dict:
    """Return the split and the scores in a model's folder."""
    segmenter = nuclei.Segmenter.load(folder)
    settings, ids = segmenter.settings, segmenter.split
    in_training = {fields[i] for i in ids["train"]}
    return {
        "split_by": settings["parameters"]["split_by"],
        "seed": settings["parameters"]["seed"],
        "epochs": len(segmenter.history),
        "best_epoch": settings["best_epoch"],
        "validation_images": len(ids["validation"]),
        "with_sibling_in_training": round(
            float(np.mean([fields[i] in in_training for i in ids["validation"]])), 4
        ),
        "val_accuracy": round(settings["val_accuracy"], 5),
        "val_score": round(settings["val_score"], 5),
        "data": settings["data"],
        "versions": settings["versions"],
    }


if __name__ == "__main__":
    check_recipes(*(nuclei.Segmenter.load(folder).settings["parameters"] for folder in sys.argv[1:]))
    samples = nuclei.load_samples("dsb2018")
    fields = dict(zip((s.id for s in samples), field_numbers(samples).tolist(), strict=True))
    found = {
        name: audit(folder, samples, fields)
        for name, folder in zip(("random", "grouped"), sys.argv[1:], strict=True)
    }
    print(nuclei.write_json(Path(__file__).with_suffix(".json"), found).read_text())
