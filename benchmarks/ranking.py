"""Do candidates rank better by other features, or by an IoU network trained on other images?

    python benchmarks/ranking.py

Trains IoU networks of one member on candidates of up to 300 training images of each data set. The features:
those of the library; with those relative to the nuclei that this first network finds in the image; with those
of nested candidates and its own rating. The images: whole ones, each with an augmented crop, as in the
library; whole ones alone; both without the data set that is scored. Writes ranking.json beside this file: the
competition score of the validation images of each data set, and of all of them after one of the changes of
robustness.py each, each half with the least IoU that was tuned on the other half; and the score if candidates
were ranked by their true IoUs. Needs the data sets of data/README.md. Three quarters of an hour on two cores.
"""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from robustness import CHANGES
from sources import some_of_each
from tqdm.contrib.concurrent import thread_map

import nuclei
from nuclei.data.fields import field_numbers
from nuclei.evaluation import tuning
from nuclei.notebook import recipe
from nuclei.segmentation.candidates import FEATURES, Candidates, filter_by_iou, propose, suppress_overlaps
from nuclei.segmentation.segmenter import AT_A_TIME
from nuclei.training.augmentation import AUGMENTS, Augment
from nuclei.training.iou_network import fit_iou_network, iou_network, rescaled_crop, true_ious

PER_SOURCE = 300
MIN_IOU = 0.4  # from which the first network's nuclei count as those of the image
COMPARED = ("log_area", "grey_mean", "grey_std", "foreground_mean", "inner_mean", "log_roundness")
COLUMN = {name: k for k, name in enumerate(FEATURES)}


class Example(NamedTuple):
    """The candidates of an image, and their true IoUs."""

    found: Candidates
    ious: np.ndarray


def examples(segmenter: nuclei.Segmenter, samples: list[nuclei.Sample], name: str) -> list[Example]:
    """Propose candidates for samples."""

    def of_sample(s: nuclei.Sample) -> Example:
        predicted = segmenter.predict_maps(s.image)
        found = propose(predicted.maps, predicted.image)
        return Example(found, true_ious(found, s.labels))

    with warnings.catch_warnings():  # of sizes and outliers in changed images
        warnings.simplefilter("ignore")
        return thread_map(of_sample, samples, max_workers=AT_A_TIME, desc=name, unit="image")


def contrast(features: np.ndarray) -> np.ndarray:
    """Return how much brighter the edge of candidates is than what lies outside: (N,)."""
    return features[:, COLUMN["grey_edge"]] - features[:, COLUMN["grey_outside"]]


def relative(found: Candidates, rated: np.ndarray) -> np.ndarray:
    """Return features minus their median over the nuclei of the image, and how many these are: (N, 9)."""
    features = found.features[:, [COLUMN[name] for name in COMPARED]]
    features = np.column_stack([features, contrast(found.features)])
    kept = kept_candidates(found, rated)
    number, rating = np.log1p(len(kept)), rated[kept].mean() if len(kept) else 0
    median = np.median(features[kept] if len(kept) else features, axis=0) if len(features) else 0
    return np.column_stack([features - median, np.full((len(features), 2), (number, rating))])


def kept_candidates(found: Candidates, rated: np.ndarray) -> list[int]:
    """Return the numbers of the best candidates that share no pixel."""
    free, kept = np.ones(found.shape[0] * found.shape[1], bool), []
    for k in np.argsort(-rated, kind="stable")[: np.count_nonzero(rated > MIN_IOU)]:
        own = found.pixels[found.starts[k] : found.stops[k]]
        if free[own].all():
            free[own] = False
            kept.append(k)
    return kept


def nested(found: Candidates, rated: np.ndarray) -> np.ndarray:
    """Return how a candidate differs from the next larger and the next smaller one in it: (N, 5).

    The logarithms of the ratios of areas and the differences in contrast, 0 without such a one; the rating.
    """
    areas, grey = found.stops - found.starts, contrast(found.features)
    features = np.zeros((len(areas), 5))
    features[:, 4] = rated
    around: list[int] = []
    for k in np.lexsort((-areas, found.starts)):
        while around and found.stops[around[-1]] < found.stops[k]:
            around.pop()
        if around:
            larger, ratio = around[-1], np.log(areas[around[-1]] / areas[k])
            features[k, :2] = ratio, grey[larger] - grey[k]
            if not features[larger, 2] or ratio < features[larger, 2]:
                features[larger, 2:4] = ratio, grey[k] - grey[larger]
        around.append(k)
    return features


def scores(
    samples: list[nuclei.Sample], fields: np.ndarray, made: list[Example], ratings: list[np.ndarray]
) -> dict:
    """Score samples with their candidates ranked by `ratings`, by data set and over all."""
    kept = [
        suppress_overlaps(each.found, rated, min(tuning.MIN_IOUS))
        for each, rated in zip(made, ratings, strict=True)
    ]
    grid = {"min_iou": list(tuning.MIN_IOUS)}
    _, table = tuning.tune(kept, [s.labels for s in samples], grid, filter_by_iou)
    found, sources = tuning.cross_tune(table, fields).scores, np.array([s.source for s in samples])
    groups = {str(source): found[sources == source] for source in np.unique(sources)} | {"all": found}
    return {name: round(float(group.mean()), 4) for name, group in groups.items()}


def crop_of(sample: nuclei.Sample, augment: Augment, rng: np.random.Generator) -> nuclei.Sample:
    """Return a random part of a sample, rescaled and augmented."""
    image, labels = augment(*rescaled_crop(sample.image, sample.labels, rng), rng)
    return replace(sample, image=image, labels=labels)


def changed_once(samples: list[nuclei.Sample]) -> list[nuclei.Sample]:
    """Return samples after one of the changes of robustness.py each, in turn."""
    changes = list(CHANGES.values())[1:]
    return [replace(s, image=changes[k % len(changes)](s.image)) for k, s in enumerate(samples)]


def main() -> None:
    parameters = recipe("general")
    samples = {s.id: s for s in nuclei.load_samples(parameters["data"])}
    split = json.loads((nuclei.ROOT / parameters["split_by"]).read_text())
    segmenter = nuclei.Segmenter.load(nuclei.DEFAULT_MODEL, AT_A_TIME)
    train = some_of_each([samples[id] for id in split["train"]], PER_SOURCE)
    rng, augment = np.random.default_rng(parameters["seed"]), AUGMENTS[parameters["augment"]]
    train += [crop_of(s, augment, rng) for s in train]
    validation = [samples[id] for id in split["validation"]]
    changed = changed_once(validation)
    learned = examples(segmenter, train, "training")
    asked = examples(segmenter, validation + changed, "validation")
    fields, half = field_numbers(validation), len(validation)

    def scored(ratings: list[np.ndarray]) -> dict:
        found = scores(validation, fields, asked[:half], ratings[:half])
        return found | {"changed": scores(changed, fields, asked[half:], ratings[half:])["all"]}

    def trained(features: list[list[np.ndarray]], chosen: np.ndarray) -> list[list[np.ndarray]]:
        """Train on the features of the `chosen` of `learned`; return the ratings of `learned` and `asked`."""
        inputs, ious = zip(*((features[0][k], learned[k].ious) for k in np.flatnonzero(chosen)), strict=True)
        one = iou_network(np.concatenate(inputs).astype(np.float32), members=1)
        network = fit_iou_network(inputs, ious, network=one, seed=parameters["seed"])
        return [[network(x.astype(np.float32)).numpy()[:, 0] for x in side] for side in features]

    own = [[each.found.features for each in side] for side in (learned, asked)]
    every = np.ones(len(train), bool)
    whole = np.arange(len(train)) < len(train) // 2
    first = trained(own, every)
    rows = {"as in the library": scored(first[1])}
    for name, more in {
        "relative to the nuclei of the image": relative,
        "of nested candidates": nested,
    }.items():
        added = [
            [np.column_stack([x, more(each.found, rated)]) for x, each, rated in zip(*side, strict=True)]
            for side in zip(own, (learned, asked), first, strict=True)
        ]
        rows[name] = scored(trained(added, every)[1])
    rows["as in the library, whole images alone"] = scored(trained(own, whole)[1])
    source, asked_source = (np.array([s.source for s in each]) for each in (train, validation + changed))
    for name, chosen in {
        "as in the library, without the data set": every,
        "whole images alone, without the data set": whole,
    }.items():
        without = {left: trained(own, chosen & (source != left))[1] for left in np.unique(source)}
        rows[name] = scored([without[left][k] for k, left in enumerate(asked_source)])
    rows["true IoUs"] = scored([each.ious for each in asked])
    report = {
        "features": rows,
        "images": {"training": len(train) // 2, "validation": len(validation)},
        "seed": parameters["seed"],
        "data": nuclei.describe(list(samples.values())),
        "versions": nuclei.versions(),
    }
    nuclei.write_json(Path(__file__).with_suffix(".json"), report)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
