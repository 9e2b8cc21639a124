"""Does the model cope with nuclei that are smaller or larger than those of its training images?

    python benchmarks/rescaling.py [MODEL_FOLDER]

Rescales validation images, segments them at native scale and at the scale that the model chooses, and
writes rescaling.json beside this file: the competition score of both. Thresholds were tuned on the other
half of the validation images, before rescaling. Seven minutes on two cores.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nuclei
from nuclei.data import splits
from nuclei.evaluation import metrics
from nuclei.images.resizing import resize_image, resize_labels

FACTORS = [0.35, 0.5, 1, 2, 3]
IMAGES, LARGEST, SEED = 36, 400 * 400, 0  # number of images, pixels of the largest one
WAYS = {"native scale": 1, "scale chosen by the model": "auto"}


def rescale(sample: nuclei.Sample, factor: float) -> nuclei.Sample:
    """Return an image and its labels, resized."""
    shape = tuple(round(side * factor) for side in sample.labels.shape)
    image = resize_image(sample.image, shape)
    return nuclei.Sample(sample.id, image, resize_labels(sample.labels, shape))


def main(folder: str = nuclei.DEFAULT_MODEL) -> None:
    segmenter = nuclei.Segmenter.load(folder)
    segmenter.settings.pop("diameters", None)  # unusual sizes are the question here: no warning
    ids = set(segmenter.split["validation"])
    data = nuclei.load_samples("dsb2018")
    samples = [s for s in data if splits.is_seen(s, ids) and s.labels.size <= LARGEST]
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(samples))[:IMAGES])
    found = {}
    for factor in FACTORS:
        resized = [rescale(samples[k], factor) for k in chosen]
        for way, scale in WAYS.items():
            bar = tqdm(resized, desc=f"x {factor}, {way}", unit="image")
            predicted = ((s, segmenter.predict_maps(s.image, scale=scale)) for s in bar)
            matches = [metrics.match(s.labels, segmenter.unbiased_labels(p, s.id)) for s, p in predicted]
            score = np.mean([metrics.image_score(m) for m in matches])
            found.setdefault(way, {})[str(factor)] = round(float(score), 4)
    about = {"model": folder, "images": IMAGES, "seed": SEED, "data": nuclei.describe(data)}
    file = Path(__file__).with_suffix(".json")
    nuclei.write_json(file, about | {"scores": found, "versions": nuclei.versions()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
