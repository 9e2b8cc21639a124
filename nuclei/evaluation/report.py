"""The scores of a set of images, by image type and by data set, with intervals."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from nuclei.data.image_types import IMAGE_TYPES
from nuclei.data.samples import Sample
from nuclei.evaluation import metrics, tuning

RATES = ("ap", "f1", "precision", "recall", "panoptic_quality")


class Result(NamedTuple):
    """What is counted in one image."""

    id: str
    type: str
    field: int  # number of its field of view
    match: metrics.Match
    source: str  # name of its data set


def compare(sample: Sample, labels: np.ndarray, field: int) -> Result:
    """Compare predicted `labels`, (H, W) int, with those of a sample of the field of view `field`."""
    found = metrics.match(sample.labels, labels)
    return Result(sample.id, sample.type, int(field), found, sample.source)


def measures(results: list[Result]) -> dict:
    """Return every score of `evaluation.metrics`, with ``_50`` and ``_75`` for IoU above 0.5 and 0.75."""
    matches = [r.match for r in results]
    merges, splits = np.sum([metrics.merges_and_splits(match) for match in matches], axis=0)
    rates = metrics.score_table(matches, (0.5, 0.75))
    return {
        "images": len(matches),
        "nuclei": sum(match.true_areas.size for match in matches),
        "predicted_nuclei": sum(match.predicted_areas.size for match in matches),
        "score": metrics.competition_score(matches),
        **{f"{name}_{round(100 * t)}": float(rates.loc[t, name]) for t in rates.index for name in RATES},
        "merges": int(merges),
        "splits": int(splits),
        **metrics.pixel_scores(matches),
    }


def measures_with_interval(results: list[Result]) -> dict:
    """Return `measures`, the number of ``fields`` of view, and the 95% ``interval`` of the score over them.

    With a handful of fields the interval means little.
    """
    scores, fields = [metrics.image_score(r.match) for r in results], [r.field for r in results]
    interval = metrics.bootstrap_interval(scores, fields)
    return measures(results) | {"fields": len(set(fields)), "interval": list(interval)}


def measures_by_type(results: list[Result]) -> dict[str, dict]:
    """Return `measures_with_interval` of each image type that there is, in the order of `IMAGE_TYPES`.

    After them come all that are fluorescent, and all that are tissue, where two types or more of these occur.
    """
    groups = _grouped(results, "type", IMAGE_TYPES)
    for word in ("fluorescent", "tissue"):
        kinds = [kind for kind in groups if kind.endswith(word)]
        if len(kinds) > 1:
            groups[f"all {word}"] = [r for kind in kinds for r in groups[kind]]
    return {kind: measures_with_interval(group) for kind, group in groups.items()}


def full_report(results: list[Result]) -> dict:
    """Return all scores of some images, ready for JSON; with several data sets also ``by_source``."""
    matches = [r.match for r in results]
    of_type = _grouped(results, "type", IMAGE_TYPES)
    of_source = _grouped(results, "source", sorted({r.source for r in results}))
    by_source = {source: measures_with_interval(group) for source, group in of_source.items()}
    curves = {kind: metrics.score_table([r.match for r in group])["ap"] for kind, group in of_type.items()}
    return {
        "all": measures_with_interval(results),
        "by_type": measures_by_type(results),
        **({"by_source": by_source} if len(by_source) > 1 else {}),
        "precision_by_type": {kind: curve.round(5).tolist() for kind, curve in curves.items()},
        "by_threshold": metrics.score_table(matches).round(5).reset_index().to_dict("list"),
        "by_size": json.loads(metrics.recall_by_area(matches).round(5).to_json(orient="records")),
        "per_image": [
            {"id": r.id, "type": r.type, "score": round(metrics.image_score(r.match), 5)} for r in results
        ],
    }


def tuned_results(
    samples: list[Sample],
    fields: Sequence[int],
    inputs: Sequence[np.ndarray],
    grid: dict[str, list],
    segment: Callable[..., np.ndarray],
) -> list[Result]:
    """Tune a method on each half of the `fields` of view and apply it to the other: see `tuning.cross_tune`.

    `inputs`, `grid` and `segment` are those of `tuning.tune`.
    """
    _, scores = tuning.tune(inputs, [s.labels for s in samples], grid, segment)
    tuned = tuning.cross_tune(scores, fields)
    labels = (segment(each, **tuned.best[half]) for each, half in zip(inputs, tuned.half, strict=True))
    return [compare(*each) for each in zip(samples, labels, fields, strict=True)]


def best_median_worst(results: list[Result]) -> dict[str, dict[str, int]]:
    """Return of each image type where in `results` the ``best``, the ``median`` and the ``worst`` score are.

    Of two images they are the best and the worst, of one the best.
    """
    places = sorted(range(len(results)), key=lambda k: -metrics.image_score(results[k].match))
    chosen: dict[str, dict[str, int]] = {}
    for kind in IMAGE_TYPES:
        if of_kind := [k for k in places if results[k].type == kind]:
            three = {"best": of_kind[0], "median": of_kind[(len(of_kind) - 1) // 2], "worst": of_kind[-1]}
            chosen[kind] = {name: k for name, k in three.items() if name == "best" or k != of_kind[0]}
    return chosen


def _grouped(results: list[Result], key: str, order: Iterable[str]) -> dict[str, list[Result]]:
    return {name: group for name in order if (group := [r for r in results if getattr(r, key) == name])}
