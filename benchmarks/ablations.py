"""What does each part of recipes/dsb2018.yml contribute? Short runs with one part changed in each.

    python benchmarks/ablations.py ENCODER_WEIGHTS

Trains each variant for four epochs (about ten minutes on two cores) and writes ablations.json beside this
file: the competition score on the validation fields with single-scale inference, where each half of the
fields is scored with thresholds tuned on the other half. The committed file was measured with thresholds
and a watershed instead of candidates. Runs found in runs/ablations/ are not repeated. One seed: differences
of 0.01 mean little.
"""

import json
import sys
from pathlib import Path

import papermill

import nuclei
from nuclei.notebook import recipe

VARIANTS = {
    "the recipe": {},
    "distance map as second output": {"target": "distance"},
    "colour jitter on half of the crops": {"augment": "colour_jitter_half"},
    "no skip connection at full resolution": {"detail_filters": 0},
    "no edge-weighted loss": {"edge_weight": 0.0},
    "no grey-value stretch": {"normalize": False},
}
SHORT = {
    "epochs": 4,
    "warmup_epochs": 1,
    "monitor": "val_accuracy",
    "working_diameter": 0,
    "figure_epochs": [],
}


def train(folder: Path, parameters: dict) -> None:
    """Run 02_train with these parameters, unless its model is in the folder already."""
    if not (folder / "model").exists():
        folder.mkdir(parents=True, exist_ok=True)
        places = {"out": str(folder), "model_folder": f"{folder}/model", "plot_folder": f"{folder}/plot"}
        papermill.execute_notebook(
            "notebooks/02_train.ipynb",
            f"{folder}/02_train.ipynb",
            parameters | places,
            kernel_name="python3",
            cwd=".",
        )


def run(name: str, changed: dict, weights: str) -> dict:
    """Train with the `changed` parameters, and return the scores."""
    folder = Path("runs/ablations") / name.replace(" ", "_")
    train(folder, recipe("dsb2018") | SHORT | changed | {"encoder_weights": weights})
    settings = json.loads((folder / "model" / "settings.json").read_text())
    scores = {name: round(settings[name], 4) for name in ("val_score", "val_accuracy")}
    return {"changed": changed, **scores, "data": settings["data"], "versions": settings["versions"]}


if __name__ == "__main__":
    runs = {}
    for name, changed in VARIANTS.items():
        runs[name] = run(name, changed, sys.argv[1])
        nuclei.write_json(Path(__file__).with_suffix(".json"), {"short": SHORT, "runs": runs})
