"""How good is a model on each data set, and on test images that decided nothing?

    python benchmarks/sources.py [MODEL_FOLDER ...]

Scores models on the validation and test images of recipes/general_split.json, and on thirty training images
of each data set, and writes sources.json beside this file; what it holds of other models is kept. The test
images, five organs of NuInsSeg drawn at random and the 37 that the authors of S-BSST265 chose, were in no
training, and no setting was chosen by them. `thresholds` is the score of the same maps by thresholds instead
of candidates, the best of a grid on a third of the validation images. `holes` counts the nuclei found in
stained validation and test images that are lighter than what is around them, as white holes are. Needs the
data sets of data/README.md. A quarter of an hour for each model on two cores.
"""

import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from skimage.color import rgb2gray
from skimage.segmentation import expand_labels
from tqdm import tqdm

import nuclei
from nuclei.data.fields import field_numbers
from nuclei.data.image_types import image_type
from nuclei.evaluation import calibration, metrics, report, tuning
from nuclei.notebook import recipe
from nuclei.segmentation.scale import median_diameter
from nuclei.segmentation.watershed import labels_from_maps

FILE = Path(__file__).with_suffix(".json")
SIZES = (10, 15, 20, 30, 60)  # pixels, between groups of images by the diameter of their median nucleus
AROUND = 3  # pixels around a nucleus, with which its brightness is compared
KEPT = ("images", "fields", "nuclei", "score", "interval", "ap_50", "ap_75", "merges", "splits")


def specimen(s: nuclei.Sample) -> str:
    """Return the organ or tissue with which names begin in two of the data sets, "" in the others."""
    named = s.source in ("nuinsseg", "sbsst265")
    return f"{s.source}: {re.sub('_[0-9].*', '', s.name).replace('_', ' ')}" if named else ""


def size(s: nuclei.Sample) -> str:
    """Return the group of SIZES that the median nucleus of an image is in; "" without nuclei."""
    if not (diameter := median_diameter(s.labels)):
        return ""
    if diameter < SIZES[0]:
        return f"under {SIZES[0]}"
    above = [low for low in SIZES if low <= diameter]
    return f"{above[-1]} to {SIZES[len(above)]}" if len(above) < len(SIZES) else f"{SIZES[-1]} or more"


def area_ratio(results: list[report.Result]) -> float:
    """Return the median of predicted over true area, of nuclei that match at an IoU above 0.5."""
    ratios = []
    for r in results:
        true, predicted = r.match.pairs[r.match.ious > 0.5].T
        ratios.append(r.match.predicted_areas[predicted] / r.match.true_areas[true])
    return round(float(np.median(np.concatenate(ratios))), 3)


def panoptic_quality(results: list[report.Result]) -> float:
    """Return the mean panoptic quality of images, of nuclei that match at an IoU above 0.5."""
    tables = [metrics.score_table([r.match], 0.5) for r in results]
    return round(float(np.mean([table["panoptic_quality"] for table in tables])), 3)


def holes(image: np.ndarray, labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Count the nuclei of a stained image, those lighter than what is around, and the right ones of these."""
    grey, numbers = rgb2gray(image), np.arange(1, labels.max() + 1)
    if not image_type(image).endswith("tissue"):
        return np.zeros(3, int)
    around = np.where(labels, 0, expand_labels(labels, AROUND))
    inside, outside = (ndi.mean(grey, each, numbers) for each in (labels, around))
    lighter = inside > outside  # not where others surround it: the mean of nothing is NaN
    return np.array([numbers.size, lighter.sum(), right[lighter].sum()])


def scores(
    segmenter: nuclei.Segmenter, samples: list[nuclei.Sample], name: str, thresholds: dict
) -> tuple[dict, list[report.Result], np.ndarray]:
    """Score a segmenter on the samples of each data set, and its maps by `thresholds`.

    Returns the scores by data set, what was counted in each sample, and the sums of `holes`.
    """
    found: dict[str, list] = {}
    counted, light = [], np.zeros(3, int)
    for s, field in zip(tqdm(samples, name, unit="image"), field_numbers(samples), strict=True):
        predicted = segmenter.predict_maps(s.image)
        result = report.compare(s, segmenter.unbiased(predicted, s.id).labels, field)
        nuclei_found = segmenter.label(predicted)
        right = calibration.matched(metrics.match(s.labels, nuclei_found.labels))
        simple = metrics.image_score(metrics.match(s.labels, labels_from_maps(predicted.maps, **thresholds)))
        found.setdefault(s.source, []).append((result, nuclei_found.confidence, right, simple))
        counted.append(result)
        light += holes(s.image, nuclei_found.labels, right)
    about = {}
    for source, rows in found.items():
        results, confidence, right, simple = zip(*rows, strict=True)
        about[source] = measures(results) | {
            "area_ratio": area_ratio(results),
            "panoptic_quality": panoptic_quality(results),
            "calibration_error": calibration.calibration_error(*map(np.concatenate, (confidence, right))),
            "thresholds": float(np.mean(simple)),
        }
    return about, counted, light


def measures(results: list[report.Result]) -> dict:
    """Return the measures of results that are KEPT."""
    measured = report.measures_with_interval(results)
    return {key: value for key, value in measured.items() if key in KEPT}


def grouped(samples: dict[str, nuclei.Sample], results: list[report.Result], group_of: Callable) -> dict:
    """Return the measures of each group of results, by the name that `group_of` returns for a sample."""
    groups: dict[str, list] = {}
    for result in results:
        groups.setdefault(group_of(samples[result.id]), []).append(result)
    return {name: measures(groups[name]) for name in sorted(groups) if name}


def best_thresholds(segmenter: nuclei.Segmenter, samples: list[nuclei.Sample]) -> dict:
    """Return the best thresholds of a grid for the maps of the samples."""
    maps = (segmenter.predict_maps(s.image).maps for s in tqdm(samples, "thresholds", unit="image"))
    return tuning.tune(maps, (s.labels for s in samples), tuning.GRID)[0]


def some_of_each(samples: list[nuclei.Sample], count: int = 30, seed: int = 0) -> list[nuclei.Sample]:
    """Draw up to `count` samples of each data set."""
    shuffled = [samples[k] for k in np.random.default_rng(seed).permutation(len(samples))]
    sources = sorted({s.source for s in samples})
    return [s for source in sources for s in [s for s in shuffled if s.source == source][:count]]


def main(*folders: str) -> None:
    parameters = recipe("general")
    samples = {s.id: s for s in nuclei.load_samples(parameters["data"])}
    split = json.loads((nuclei.ROOT / parameters["split_by"]).read_text())
    about = json.loads(FILE.read_text()) if FILE.exists() else {"models": {}}
    for folder in folders or [nuclei.DEFAULT_MODEL]:
        segmenter = nuclei.Segmenter.load(folder)
        with warnings.catch_warnings():  # of sizes that a model was not trained on
            warnings.simplefilter("ignore")
            sides = {side: [samples[id] for id in ids] for side, ids in split.items()}
            sides["train"] = some_of_each(sides["train"])
            best = best_thresholds(segmenter, sides["validation"][::3])
            scored = {
                side: scores(segmenter, group, f"{folder}, {side}", best) for side, group in sides.items()
            }
        unseen = scored["validation"][1] + scored["test"][1]
        light = scored["validation"][2] + scored["test"][2]
        about["models"][folder] = {side: by_source for side, (by_source, *_) in scored.items()} | {
            "specimen": grouped(samples, unseen, specimen),
            "size": grouped(samples, unseen, size),
            "holes": dict(zip(("nuclei", "lighter", "right"), light.tolist(), strict=True)),
        }
        about |= {"data": nuclei.describe(list(samples.values())), "versions": nuclei.versions()}
        nuclei.write_json(FILE, about)
    print(json.dumps(about["models"], indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
