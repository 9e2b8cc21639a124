"""Does the audit find labels that are wrong?

    python benchmarks/audit.py [MODEL_FOLDER] [IMAGES]

Spoils known nuclei in the labels of validation images (removed, merged with a neighbour, or moved), audits
the spoiled labels, and writes audit.json beside this file: which share of the first rows name a spoiled
label. Rows about faults that the data set really has count as wrong. Takes all validation images, a minute on
two cores, or the first IMAGES of them by id.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage as ndi
from tqdm import tqdm

import nuclei
from nuclei.data import splits
from nuclei.evaluation.audit import audit, ranked

EVERY, SEED = 12, 0  # one nucleus of so many is spoiled
FIRST = (20, 50, 100)  # numbers of rows that are checked


def spoil(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict[int, str]]:
    """Return the labels with some nuclei spoiled, and what was done to each, by its original number."""
    spoiled, done = labels.copy(), {}
    numbers = np.unique(labels[labels > 0])
    count = len(numbers) // EVERY + (rng.random() < len(numbers) % EVERY / EVERY)
    for number in rng.permutation(numbers)[:count].tolist():
        inside = labels == number
        around = labels[ndi.binary_dilation(inside, iterations=3)]
        neighbours = sorted(set(around[around > 0].tolist()) - {number, *done})
        kind = rng.choice(["removed", "moved", "merged"] if neighbours else ["removed", "moved"])
        spoiled[(spoiled == number)] = 0
        if kind == "merged":
            spoiled[inside] = neighbours[0]
            done[neighbours[0]] = "merged"
        elif kind == "moved":
            distance = int(np.sqrt(inside.sum()) * 0.6)
            moved = np.roll(inside, rng.choice([-1, 1]) * distance, axis=rng.integers(2))
            spoiled[moved & (spoiled == 0)] = number
        done[number] = str(kind)
    return spoiled, done


def is_right(row: pd.Series, labels: np.ndarray, predicted: np.ndarray, done: dict[int, str]) -> bool:
    """Return whether a row of the audit names a spoiled label, or a nucleus whose label was spoiled."""
    if row["label"] in done:
        return True
    under = labels[predicted == row["predicted"]] if row["predicted"] else np.zeros(0, int)
    return bool(under.size) and int(np.bincount(under).argmax()) in done


def precision(samples: list[nuclei.Sample], predictions: list, seed: int = SEED) -> dict:
    """Return how many labels were spoiled, and the precision of the first rows of the audit."""
    rng = np.random.default_rng(seed)
    tables, spoiled_kinds = [], []
    for sample, (predicted, confidence) in zip(samples, predictions, strict=True):
        spoiled, done = spoil(sample.labels, rng)
        spoiled_kinds += list(done.values())
        table = audit(sample.id, spoiled, predicted, confidence)
        right = [is_right(row, sample.labels, predicted, done) for _, row in table.iterrows()]
        tables.append(table.assign(right=right))
    rows = ranked(tables)
    first = rows.head(FIRST[1]).groupby("kind")["right"]
    return {
        "nuclei": int(sum(len(np.unique(s.labels)) - 1 for s in samples)),
        "spoiled": pd.Series(spoiled_kinds).value_counts().to_dict(),
        "rows": len(rows),
        "precision_of_first": {str(n): round(float(rows["right"].head(n).mean()), 3) for n in FIRST},
        "by_kind_in_first_50": {kind: {"size": len(right), "sum": int(right.sum())} for kind, right in first},
    }


def main(folder: str = nuclei.DEFAULT_MODEL, images: str = "") -> None:
    segmenter = nuclei.Segmenter.load(folder)
    ids = set(segmenter.split["validation"])
    data = nuclei.load_samples("dsb2018")
    samples = [s for s in data if splits.is_seen(s, ids)][: int(images) if images else None]
    predictions = [segmenter.predict(s.image) for s in tqdm(samples, "segmenting", unit="image")]
    found = precision(samples, [(p.labels, p.confidence) for p in predictions])
    about = {
        "model": folder,
        "seed": SEED,
        "images": [s.id for s in samples],
        "data": nuclei.describe(samples),
    }
    file = Path(__file__).with_suffix(".json")
    nuclei.write_json(file, about | found | {"versions": nuclei.versions()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
