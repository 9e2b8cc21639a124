"""What does each saving of time cost in score, on validation images and on changed ones?

    python benchmarks/savings.py [IMAGES]

The default model looks at fewer pixels than it could: at the second scale only near nuclei, at one scale
alone where nuclei are small, and at coarse scales to judge their size. Each is undone in turn, on some of the
images of robustness.py, and after its changes. Thresholds stay as they are. Writes savings.json beside this
file. Four minutes for each on two cores.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from robustness import CHANGES, SEED, third_of_validation
from tqdm import tqdm

import nuclei
from nuclei.data.samples import Sample
from nuclei.evaluation.metrics import image_score, match
from nuclei.segmentation import segmenter as module
from nuclei.segmentation.scale import median_diameter, scales_for

VARIANTS = (
    "none",
    "second scale everywhere",
    "two scales for small nuclei",
    "size of the true nuclei",
    "all three",
)


def everywhere(shown: np.ndarray, scale: float) -> list:
    """Return the whole image, as `boxes_near` does where nuclei are all over it."""
    return [(np.s_[: shown.shape[0], : shown.shape[1]], np.ones(shown.shape, bool))]


def two_scales(diameter: float, working_diameter: float) -> list[float]:
    """Return the scales of `scales_for`, but two also where nuclei are small."""
    scales = scales_for(diameter, working_diameter)
    return {3 / 2: [1, 2], 5 / 2: [3 / 2, 5 / 2]}.get(scales[0], scales)


def replaced(variant: str, sample: Sample, seen: list[int]) -> dict[str, Callable]:
    """Return the functions of a variant; the pixels that the network sees are added to `seen`."""

    def counted(predict, image, tiled_maps=module.tiled_maps):
        seen[0] += image.shape[0] * image.shape[1]
        return tiled_maps(predict, image)

    changes = {
        "second scale everywhere": {"boxes_near": everywhere},
        "two scales for small nuclei": {"scales_for": two_scales},
        "size of the true nuclei": {"find_diameter": lambda *_: median_diameter(sample.labels)},
    }
    changes["all three"] = {name: new for change in changes.values() for name, new in change.items()}
    return {"tiled_maps": counted} | changes.get(variant, {})


def measured(segmenter: nuclei.Segmenter, samples: list[Sample], variant: str) -> dict:
    """Return the score, the mean score after changes, and how many times the network sees a pixel."""
    seen, means = [0], []
    for name, change in CHANGES.items():
        scores = []
        for s in tqdm(samples, f"{variant}; {name}", unit="image"):
            with mock.patch.multiple(module, **replaced(variant, s, seen)):
                maps = segmenter.predict_maps(change(s.image))
            scores.append(image_score(match(s.labels, segmenter.unbiased(maps, s.id).labels)))
        means.append(np.mean(scores))
    pixels = sum(s.labels.size for s in samples) * len(CHANGES)
    found = {"score": means[0], "changed": np.mean(means[1:]), "passes": seen[0] / pixels}
    return {name: round(float(value), 4) for name, value in found.items()}


def main(images: str = "11") -> None:
    segmenter = nuclei.Segmenter.load(nuclei.DEFAULT_MODEL)
    data = nuclei.load_samples("dsb2018")
    samples = third_of_validation(segmenter, data)[: int(images)]
    found = {variant: measured(segmenter, samples, variant) for variant in VARIANTS}
    about = {"model": nuclei.DEFAULT_MODEL, "images": len(samples), "changes": len(CHANGES) - 1, "seed": SEED}
    about |= {"undone": found, "data": nuclei.describe(data), "versions": nuclei.versions()}
    nuclei.write_json(Path(__file__).with_suffix(".json"), about)


if __name__ == "__main__":
    main(*sys.argv[1:])
