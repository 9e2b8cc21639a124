"""What does each idea in recipes/dsb2018.yml bring? Short runs of the recipe, with one changed in each.

    python benchmarks/ideas.py ENCODER_WEIGHTS

trains four epochs for each idea (about ten minutes on two cores, and some more for the candidates) and writes
ideas.json beside this file after each: the competition score on the validation fields, looked at once, each
half of them with what the other half chose. (The file that is there was written when thresholds found the
nuclei, not candidates.) Runs that are there already, in runs/ideas/, are not repeated. One seed: differences
of 0.01 mean little.
"""

import json
import sys
from pathlib import Path

import papermill
import yaml

import nuclei

IDEAS = {
    "the recipe": {},
    "distance for a second map": {"target": "distance"},
    "half of the crops undisturbed": {"augment": "disturb_half"},
    "no skip at full resolution": {"detail_filters": 0},
    "edges weigh no more": {"edge_weight": 0.0},
    "grey values not stretched": {"normalize": False},
}
SHORT = {
    "epochs": 4,
    "warmup_epochs": 1,
    "monitor": "val_accuracy",
    "working_diameter": 0,
    "figure_epochs": [],
}


def run(idea: str, changed: dict, weights: str) -> dict:
    """Train with what is `changed`, or find that it was done, and return its scores."""
    folder = Path("runs/ideas") / idea.replace(" ", "_")
    folders = {"out": str(folder), "model_folder": f"{folder}/model", "plot_folder": f"{folder}/plot"}
    recipe = yaml.safe_load(Path("notebooks/recipes/dsb2018.yml").read_text())
    if not (folder / "model").exists():
        folder.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            "notebooks/02_train.ipynb",
            f"{folder}/02_train.ipynb",
            recipe | SHORT | folders | changed | {"encoder_weights": weights},
            kernel_name="python3",
            cwd=".",
        )
    settings = json.loads((folder / "model" / "settings.json").read_text())
    scores = {name: round(settings[name], 4) for name in ("val_score", "val_accuracy")}
    return {"changed": changed, **scores, "data": settings["data"], "versions": settings["versions"]}


if __name__ == "__main__":
    found = {}
    for idea, changed in IDEAS.items():
        found[idea] = run(idea, changed, sys.argv[1])
        nuclei.write_json(Path(__file__).with_suffix(".json"), {"short": SHORT, "ideas": found})
