"""What do candidates contribute, and does the IoU network generalise to image types it was not trained on?

    python benchmarks/candidates.py [MODEL_FOLDER]

Runs the U-Net on all training and validation images (twenty minutes on two cores), then trains the IoU
network on all training images, and with one image type after the other left out. Writes candidates.json
beside this file: the competition score on the validation images, or on those of the type that was left out,
beside the score of thresholds tuned on the validation images of the other types. The U-Net itself was trained
on all types.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nuclei
from nuclei.data import splits
from nuclei.evaluation import metrics, tuning
from nuclei.segmentation import candidates
from nuclei.training import augmentation
from nuclei.training.iou_network import fit_iou_network, training_examples

GRID = tuning.GRID | {"smoothing": [1.0]}
MIN_IOU, SEED = 0.5, 2
TYPES = [
    ("small fluorescent",),
    ("large fluorescent",),
    ("purple tissue", "pink-and-purple tissue"),
    ("grayscale tissue",),
]


def scores(features: list, ious: list, found: list, samples: list) -> np.ndarray:
    """Train an IoU network, and score the candidates `found` in samples: (N,) float."""
    network = fit_iou_network(features, ious, seed=SEED)
    column = []
    for each, s in zip(found, samples, strict=True):
        expected = np.asarray(network(each.features, training=False)).mean(axis=1)
        labels, _ = candidates.suppress_overlaps(each, expected, MIN_IOU)
        column.append(metrics.image_score(metrics.match(s.labels, labels)))
    return np.array(column)


def compare(train: list, features: list, ious: list, validation: list, maps: list, found: list) -> dict:
    """Return the scores; `features` and `ious` are the training examples from `train`."""
    types, validation_types = (np.array([s.type for s in group]) for group in (train, validation))
    types = np.repeat(types, len(features) // len(train))
    _, table = tuning.tune(tqdm(maps, desc="thresholds"), [s.labels for s in validation], GRID)
    by_threshold = table.to_numpy()
    all_of_them = scores(features, ious, found, validation)
    report = {"candidates": all_of_them.mean(), "thresholds": by_threshold.mean(axis=1).max()}
    report["types"] = {}
    for held_out in TYPES:
        known = np.flatnonzero(~np.isin(types, held_out))
        without = scores([features[k] for k in known], [ious[k] for k in known], found, validation)
        scored = np.isin(validation_types, held_out)
        best = by_threshold[:, ~scored].mean(axis=1).argmax()
        report["types"][" and ".join(held_out)] = {
            "images": int(scored.sum()),
            "candidates": all_of_them[scored].mean(),
            "candidates, type left out": without[scored].mean(),
            "thresholds tuned on the other types": by_threshold[best, scored].mean(),
        }
    return report


def main(folder: str = nuclei.DEFAULT_MODEL) -> None:
    segmenter = nuclei.Segmenter.load(folder)
    data = nuclei.load_samples("dsb2018")
    ids = segmenter.split
    train, validation = (
        [s for s in data if splits.is_seen(s, ids[part])] for part in ("train", "validation")
    )
    features, ious = training_examples(segmenter, train, augmentation.colour_jitter_half, SEED)
    predicted = [segmenter.predict_maps(s.image) for s in tqdm(validation, desc="maps", unit="image")]
    maps = [each.maps for each in predicted]
    found = [candidates.propose(each.maps, each.image) for each in predicted]
    report = compare(train, features, ious, validation, maps, found)
    about = {"model": folder, "min_iou": MIN_IOU, "seed": SEED, "data": nuclei.describe(data)}
    rounded = json.loads(json.dumps(report), parse_float=lambda text: round(float(text), 4))
    file = Path(__file__).with_suffix(".json")
    nuclei.write_json(file, about | rounded | {"versions": nuclei.versions()})
    print(file.read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
