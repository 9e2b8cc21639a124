"""The scores of a set of images, by image type and by data set, with intervals."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from nuclei.data.image_types import IMAGE_TYPES, image_type
from nuclei.data.samples import Sample
from nuclei.evaluation import metrics

RATES = ("ap", "f1", "precision", "recall", "panoptic_quality")


class Result(NamedTuple):
    """What is counted in one image; `field` is the number of its field of view, `source` its data set."""

    id: str
    type: str
    field: int
    match: metrics.Match
    pixels: metrics.PixelCounts
    source: str = ""


def compare(sample: Sample, labels: np.ndarray, field: int) -> Result:
    """Compare predicted `labels`, (H, W) int, with those of a sample of the field of view `field`."""
    match = metrics.match(sample.labels, labels)
    pixels = metrics.pixel_counts(sample.labels, labels)
    return Result(sample.id, image_type(sample.image), int(field), match, pixels, sample.source)


def measures(results: list[Result]) -> dict:
    """Return every score of `evaluation.metrics`, with ``_50`` and ``_75`` for IoU above 0.5 and 0.75."""
    matches = [r.match for r in results]
    merges, splits = np.sum([metrics.merges_and_splits(match) for match in matches], axis=0)
    pixels = metrics.pixel_scores(sum((r.pixels for r in results), start=metrics.PixelCounts(0, 0, 0, 0)))
    rates = metrics.score_table(matches, (0.5, 0.75))
    return {
        "images": len(matches),
        "nuclei": sum(match.true_areas.size for match in matches),
        "predicted_nuclei": sum(match.predicted_areas.size for match in matches),
        "score": metrics.competition_score(matches),
        **{f"{name}_{round(100 * t)}": float(rates.loc[t, name]) for t in rates.index for name in RATES},
        "merges": int(merges),
        "splits": int(splits),
        "pixel_accuracy": pixels["accuracy"],
        "dice": pixels["dice"],
        "iou": pixels["iou"],
    }


def measures_with_interval(results: list[Result]) -> dict:
    """Return `measures`, the number of ``fields`` of view, and the 95% ``interval`` of the score over them.

    With a handful of fields the interval means little.
    """
    scores, fields = [metrics.image_score(r.match) for r in results], [r.field for r in results]
    interval = metrics.bootstrap_interval(scores, groups=fields)
    return measures(results) | {"fields": len(set(fields)), "interval": list(interval)}


def measures_by_type(results: list[Result]) -> dict[str, dict]:
    """Return `measures_with_interval` of each image type that there is, in the order of `IMAGE_TYPES`.

    After them come all that are fluorescent, and all that are tissue, where two types or more of these occur.
    """
    groups = _grouped(results, lambda r: r.type, IMAGE_TYPES)
    for word in ("fluorescent", "tissue"):
        kinds = [kind for kind in groups if kind.endswith(word)]
        if len(kinds) > 1:
            groups[f"all {word}"] = [r for kind in kinds for r in groups[kind]]
    return {kind: measures_with_interval(group) for kind, group in groups.items()}


def measures_by_source(results: list[Result]) -> dict[str, dict]:
    """Return `measures_with_interval` of each data set, by its name."""
    groups = _grouped(results, lambda r: r.source, sorted({r.source for r in results}))
    return {source: measures_with_interval(group) for source, group in groups.items()}


def _grouped(
    results: list[Result], key: Callable[[Result], str], order: Iterable[str]
) -> dict[str, list[Result]]:
    groups = {name: [r for r in results if key(r) == name] for name in order}
    return {name: group for name, group in groups.items() if group}
