"""What does each idea in recipes/dsb2018.yml bring? Short runs of the recipe, with one taken out in each.

    python benchmarks/ideas.py ENCODER_WEIGHTS

trains six epochs for each idea (seven minutes on two cores) and writes ideas.json beside this file: the
competition score on the validation fields, each half of them with thresholds that the other half chose. Runs
that are there already, in runs/ideas/, are not repeated. One seed: differences of 0.01 mean little.
"""

import json
import sys
from pathlib import Path

import papermill
import yaml

import nuclei

IDEAS = {
    "all ideas": {},
    "grey values not stretched": {"normalize": False},
    "edges weigh no more": {"edge_weight": 0.0},
    "distance for a second map": {"target": "distance"},
    "no skip at full resolution": {"detail_filters": 0},
    "light and colour unchanged": {"augment": "flip"},
}
SHORT = {"epochs": 6, "warmup_epochs": 1, "monitor": "val_accuracy", "figure_epochs": []}


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
    found = {idea: run(idea, changed, sys.argv[1]) for idea, changed in IDEAS.items()}
    nuclei.write_json(Path(__file__).with_suffix(".json"), {"short": SHORT, "ideas": found})
