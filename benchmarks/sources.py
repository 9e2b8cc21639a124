"""How good is a model on each data set, and on test images that decided nothing?

    python benchmarks/sources.py [MODEL_FOLDER ...]

Scores models on the validation and test images of recipes/general_split.json and writes sources.json beside
this file; what it holds of other models is kept. The test images, five organs of NuInsSeg drawn by seed and
the 37 that the authors of S-BSST265 chose, were in no training, and no setting was chosen by them. Needs the
data sets of data/README.md. Ten minutes for each model on two cores.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nuclei
from nuclei.data.fields import field_numbers
from nuclei.evaluation import report
from nuclei.notebook import recipe

FILE = Path(__file__).with_suffix(".json")
KEPT = ("images", "fields", "nuclei", "score", "interval", "ap_50", "ap_75", "merges", "splits")


def area_ratio(results: list[report.Result]) -> float:
    """Return the median of predicted over true area, of nuclei that match at an IoU above 0.5."""
    ratios = []
    for r in results:
        true, predicted = r.match.pairs[r.match.ious > 0.5].T
        ratios.append(r.match.predicted_areas[predicted] / r.match.true_areas[true])
    return round(float(np.median(np.concatenate(ratios))), 3)


def scores(segmenter: nuclei.Segmenter, samples: list[nuclei.Sample], name: str) -> dict[str, dict]:
    """Score a segmenter on the samples of each data set."""
    found: dict[str, list] = {}
    for s, field in zip(tqdm(samples, name, unit="image"), field_numbers(samples), strict=True):
        labels = segmenter.unbiased_labels(segmenter.predict_maps(s.image), s.id)
        found.setdefault(s.source, []).append(report.compare(s, labels, field))
    return {
        source: {key: value for key, value in report.measures_with_interval(results).items() if key in KEPT}
        | {"area_ratio": area_ratio(results)}
        for source, results in found.items()
    }


def main(*folders: str) -> None:
    parameters = recipe("general")
    samples = {s.id: s for s in nuclei.load_samples(parameters["data"])}
    split = json.loads((nuclei.ROOT / parameters["split_by"]).read_text())
    about = json.loads(FILE.read_text()) if FILE.exists() else {"models": {}}
    for folder in folders or [nuclei.DEFAULT_MODEL]:
        segmenter = nuclei.Segmenter.load(folder)
        with warnings.catch_warnings():  # of sizes that a model was not trained on
            warnings.simplefilter("ignore")
            about["models"][folder] = {
                side: scores(segmenter, [samples[id] for id in split[side]], f"{folder}, {side}")
                for side in ("validation", "test")
            }
        about |= {"data": nuclei.describe(list(samples.values())), "versions": nuclei.versions()}
        nuclei.write_json(FILE, about)
    print(json.dumps(about["models"], indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
