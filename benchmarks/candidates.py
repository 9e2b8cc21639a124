"""What do candidates bring, and does the IoU network hold for images of a kind that it has not learned from?

    python benchmarks/candidates.py [MODEL_FOLDER]

looks at all training and validation images (twenty minutes on two cores), trains the IoU network anew, with
all training images, without some of its features, and without one image type after the other, and writes
candidates.json beside this file: the competition score on the validation images, or on those of the type that
was left out; and beside each what thresholds reach, tuned on the validation images of the other types. The
U-Net has learned from all types.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nuclei
from nuclei import candidates, instances, metrics, model
from nuclei.image_types import image_type

GRID = {
    "foreground_threshold": [0.4, 0.5, 0.6],
    "marker_threshold": [0.5, 0.6, 0.7, 0.8],
    "min_confidence": [0.0, 0.8, 0.9],
    "min_area": [0, 0.1, 0.2],
    "smoothing": [1.0],
}
MIN_IOU, SEED = 0.5, 2
TYPES = [
    ("small fluorescent",),
    ("large fluorescent",),
    ("purple tissue", "pink-and-purple tissue"),
    ("grayscale tissue",),
]
FEATURES = {"grey values": ["grey"], "second map": ["inner"]}


def scores(taught: list, found: list, samples: list, used=slice(None)) -> np.ndarray:
    """Train on (features, ious) of images, and score the candidates `found` in samples: (N,) float."""
    features, ious = zip(*taught, strict=True)
    network = model.fit_iou_network([each[:, used] for each in features], ious, seed=SEED)
    column = []
    for each, s in zip(found, samples, strict=True):
        expected = np.asarray(network(each.features[:, used], training=False))[:, 0]
        labels, _ = candidates.choose(each, expected, MIN_IOU)
        column.append(metrics.image_score(metrics.match(s.labels, labels)))
    return np.array(column)


def compare(train: list, validation: list, maps: list, proposed: list) -> dict:
    """Return the scores; `proposed` are the candidates in both, `maps` those of the validation images."""
    types, judges = (np.array([image_type(s.image) for s in group]) for group in (train, validation))
    taught = [(c.features, candidates.true_ious(c, s.labels)) for c, s in zip(proposed, train, strict=False)]
    found = proposed[len(train) :]
    _, tuning = instances.tune(tqdm(maps, desc="thresholds"), [s.labels for s in validation], GRID)
    by_threshold = tuning.to_numpy()
    names = list(candidates.FEATURES)
    all_of_them = scores(taught, found, validation)
    report = {"candidates": all_of_them.mean(), "best thresholds": by_threshold.mean(axis=1).max()}
    for what, planes in FEATURES.items():
        used = [k for k, name in enumerate(names) if name.split("_")[0] not in planes]
        report[f"candidates, told nothing of the {what}"] = scores(taught, found, validation, used).mean()
    report["types"] = {}
    for held_out in TYPES:
        known = [each for each, kind in zip(taught, types, strict=True) if kind not in held_out]
        judged = np.isin(judges, held_out)
        best = by_threshold[:, ~judged].mean(axis=1).argmax()
        report["types"][" and ".join(held_out)] = {
            "images": int(judged.sum()),
            "candidates": all_of_them[judged].mean(),
            "candidates, type left out": scores(known, found, validation)[judged].mean(),
            "thresholds of the other types": by_threshold[best, judged].mean(),
        }
    return report


def main(folder: str = "saved_model/dsb2018") -> None:
    segmenter = nuclei.Segmenter.load(folder)
    data = nuclei.load_samples("dsb2018")
    train, validation = (
        [s for s in data if s.id in set(segmenter.split[k])] for k in ("train", "validation")
    )
    maps = [segmenter.maps(s.image) for s in tqdm([*train, *validation], desc="maps", unit="image")]
    proposed = [
        candidates.propose(m, segmenter.prepare(s.image))
        for m, s in zip(tqdm(maps, desc="candidates"), [*train, *validation], strict=True)
    ]
    report = compare(train, validation, maps[len(train) :], proposed)
    about = {"model": folder, "min_iou": MIN_IOU, "seed": SEED, "data": nuclei.describe(data, "dsb2018")}
    rounded = json.loads(json.dumps(report), parse_float=lambda text: round(float(text), 4))
    file = Path(__file__).with_suffix(".json")
    nuclei.write_json(file, about | rounded | {"versions": nuclei.versions()})
    print(file.read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
