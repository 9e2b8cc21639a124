"""Does the model hold at magnifications that it has not learned from?

    python benchmarks/magnification.py [MODEL_FOLDER]

makes validation images smaller and larger, labels them, looking once as they are and at the scales that the
model chooses, and writes magnification.json beside this file: the competition score of both ways. Thresholds
are those that the other half of the validation images chose, at their own size. Seven minutes on two cores.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nuclei
from nuclei.evaluation import metrics
from nuclei.images.resizing import resize_image, resize_labels

MAGNIFICATIONS = [0.35, 0.5, 1, 2, 3]
IMAGES, LARGEST, SEED = 36, 400 * 400, 0  # so many images, of up to so many pixels
WAYS = {"one look": 1, "scales as the model chooses": "auto"}


def magnify(sample: nuclei.Sample, factor: float) -> nuclei.Sample:
    """Return an image and its labels, resized."""
    shape = tuple(round(side * factor) for side in sample.labels.shape)
    image = resize_image(sample.image, shape)
    return nuclei.Sample(sample.id, image, resize_labels(sample.labels, shape))


def main(folder: str = "saved_model/dsb2018") -> None:
    segmenter = nuclei.Segmenter.load(folder)
    segmenter.settings.pop("diameters", None)  # no warnings of sizes: they are the question
    ids = set(segmenter.split["validation"])
    data = nuclei.load_samples("dsb2018")
    samples = [s for s in data if s.id in ids and s.labels.size <= LARGEST]
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(samples))[:IMAGES])
    found = {}
    for factor in MAGNIFICATIONS:
        resized = [magnify(samples[k], factor) for k in chosen]
        for way, scale in WAYS.items():
            bar = tqdm(resized, desc=f"x {factor}, {way}", unit="image")
            maps = ((s, segmenter.maps(s.image, scale=scale)) for s in bar)
            matches = [metrics.match(s.labels, segmenter.unbiased_labels(m, s)) for s, m in maps]
            score = np.mean([metrics.image_score(m) for m in matches])
            found.setdefault(way, {})[str(factor)] = round(float(score), 4)
    about = {"model": folder, "images": IMAGES, "seed": SEED, "data": nuclei.describe(data, "dsb2018")}
    file = Path(__file__).with_suffix(".json")
    nuclei.write_json(file, about | {"scores": found, "versions": nuclei.versions()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
