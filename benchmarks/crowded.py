"""How long does it take to separate 10,000 crowded nuclei, given the network's maps?

    python benchmarks/crowded.py [MODEL_FOLDER]

Draws the maps of 10,000 touching nuclei in 2048 x 2048 pixels, labels them, and writes crowded.json beside
this file: the best of three times. Half a minute on two cores.
"""

import os
import platform
import sys
import timeit
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import expand_labels

import nuclei
from nuclei.segmentation.prediction import Maps
from nuclei.training.targets import interior_target

SIDE, ROWS, RADIUS, SEED = 2048, 100, 8, 0  # pixels, rows (and nuclei in each), pixels
NOISE = 0.02  # standard deviation, in maps of 0-1


def crowd() -> np.ndarray:
    """Return (SIDE, SIDE) int32 labels: nuclei grown until they touch or reach RADIUS."""
    rng = np.random.default_rng(SEED)
    seeds = np.zeros((SIDE, SIDE), np.int32)
    grid = np.linspace(RADIUS, SIDE - RADIUS - 1, ROWS)
    y, x = (np.stack(np.meshgrid(grid, grid)) + rng.integers(-4, 5, (2, ROWS, ROWS))).astype(int)
    seeds[y, x] = np.arange(1, ROWS**2 + 1).reshape(ROWS, ROWS)
    return expand_labels(seeds, RADIUS)


def main(model_folder: str = nuclei.DEFAULT_MODEL) -> None:
    labels = crowd()
    maps = ndi.gaussian_filter(interior_target(labels), (1, 1, 0))
    maps += np.random.default_rng(SEED).normal(0, NOISE, maps.shape)
    maps = maps.clip(0, 1)
    predicted = Maps(np.repeat((255 * maps[..., :1]).astype(np.uint8), 3, axis=-1), maps)
    segmenter = nuclei.Segmenter.load(model_folder)
    seconds = min(timeit.repeat(lambda: segmenter.label(predicted), number=1, repeat=3))
    report = {
        "side": SIDE,
        "nuclei": int(labels.max()),
        "nuclei_found": int(segmenter.label(predicted).labels.max()),
        "seconds": round(seconds, 2),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "versions": nuclei.versions(),
    }
    out = Path(__file__).with_suffix(".json")
    nuclei.write_json(out, report)
    print(out.read_text(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
