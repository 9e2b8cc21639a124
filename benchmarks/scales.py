"""What does inference at two scales contribute, and which map loses most?

    python benchmarks/scales.py [MODEL_FOLDER]

Runs the model on the validation images at native scale and at twice that scale (six minutes on two cores)
and writes scales.json beside this file: the competition score at each scale, of the mean of both, and with
the scale chosen for different working diameters; and the score with the true markers or the true foreground
in place of the predicted ones. Each half of the fields is scored with thresholds tuned on the other half.
Half the scale, for nuclei of twice the working diameter or more, is left out.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import nuclei
from nuclei.data import splits
from nuclei.data.fields import field_numbers
from nuclei.evaluation import tuning
from nuclei.segmentation.scale import SIZING, median_diameter, scales_for
from nuclei.segmentation.watershed import labels_from_maps
from nuclei.training.targets import interior_target

GRID = {
    "foreground_threshold": [0.4, 0.5, 0.6],
    "marker_threshold": [0.7, 0.8],
    "min_confidence": [0.9],
    "smoothing": [1.0],
    "min_area": [0.1, 0.2],
}
DIAMETERS = [20, 25, 30]  # pixels


def predict(segmenter: nuclei.Segmenter, samples: list, scale: float) -> list[np.ndarray]:
    bar = tqdm(samples, desc=f"scale {scale}", unit="image")
    return [segmenter.predict_maps(s.image, scale=scale).maps.astype(np.float16) for s in bar]


def compare(once: list, twice: list, samples: list) -> dict[str, float]:
    """Return the scores; `once` and `twice` are the maps at native and at twice the scale."""
    truth, fields = [s.labels for s in samples], field_numbers(samples)

    def tuned(inputs):
        return tuning.tune(tqdm(inputs), truth, GRID)[1]

    def score(scores):
        return round(float(tuning.cross_tune(scores, fields).scores.mean()), 4)

    both = [(a.astype(np.float32) + b) / 2 for a, b in zip(once, twice, strict=True)]
    first, second, mean = tuned(once), tuned(twice), tuned(both)
    found = {
        "single-scale inference": score(first),
        "single-scale inference at twice the scale": score(second),
    }
    found["mean of both scales"] = score(mean)
    sizes = np.array([median_diameter(labels_from_maps(m, **SIZING)) for m in once])
    seen = {(2,): second, (1, 2): mean}
    for diameter in DIAMETERS:
        columns = [seen.get(tuple(scales_for(size, diameter)), first)[k] for k, size in enumerate(sizes)]
        found[f"scale chosen for a working diameter of {diameter} pixels"] = score(pd.concat(columns, axis=1))
    targets = [interior_target(labels) for labels in truth]
    channels = list(zip(once, targets, strict=True))
    found["foreground map alone"] = score(tuned([m[..., :1] for m in once]))
    found["with true markers"] = score(tuned([np.dstack([m[..., 0], t[..., 1]]) for m, t in channels]))
    found["with the true foreground"] = score(tuned([np.dstack([t[..., 0], m[..., 1]]) for m, t in channels]))
    return found


def main(folder: str = nuclei.DEFAULT_MODEL) -> None:
    segmenter = nuclei.Segmenter.load(folder)
    ids = set(segmenter.split["validation"])
    data = nuclei.load_samples("dsb2018")
    samples = [s for s in data if splits.is_seen(s, ids)]
    found = compare(*(predict(segmenter, samples, scale) for scale in (1, 2)), samples)
    about = {"model": folder, "images": len(samples), "data": nuclei.describe(data)}
    file = Path(__file__).with_suffix(".json")
    nuclei.write_json(file, about | {"scores": found, "versions": nuclei.versions()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
