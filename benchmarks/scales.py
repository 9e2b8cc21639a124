"""At which scales does the default model find nuclei of each size best?

    python benchmarks/scales.py [EVERY]

Segments validation images of all data sets, also reduced and enlarged, at the scales of
`nuclei.segmentation.scale.SCALES` for the nuclei found in them, and at others. Writes scales.json beside this
file: for each range of diameters, the competition score at each choice of scales, how much that is above the
scales in use, the standard error of this difference, and the difference on unchanged images alone. Ten
minutes on two cores; EVERY to take only every so many of the images.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from robustness import resized
from tqdm.contrib.concurrent import thread_map

import nuclei
from nuclei.data.splits import load_split
from nuclei.evaluation.metrics import image_score, match
from nuclei.notebook import recipe
from nuclei.segmentation.scale import SCALES
from nuclei.segmentation.segmenter import AT_A_TIME, Maps

SIZES = (0.25, 0.35, 0.5, 1, 2)
OTHERS: dict[float, list[list[float]]] = {  # by the limit of `SCALES`
    1 / 3: [[3 / 2, 5 / 2], [2, 3], [3]],
    1 / 2: [[1, 3 / 2], [1, 2], [3 / 2, 2]],
    1: [[1], [1, 3 / 2], [1, 2]],
    2: [[1], [1 / 2, 1], [1, 4 / 3]],
    5 / 2: [[1], [1 / 2, 1], [1 / 2, 3 / 4]],
}


def scores(segmenter: nuclei.Segmenter, factor: float, sample: nuclei.Sample) -> dict:
    """Return the range of the nuclei in an image, its limit in `SCALES`, and the score at each of its scales.

    Empty without nuclei, or where they are larger than all of `OTHERS`; `factor` is returned as it is.
    """
    image, passes = segmenter.prepared(sample.image), {}
    used = segmenter.find_scales([image], [passes])
    limit = next((limit for limit, scales in SCALES if scales == used), None)
    if limit not in OTHERS:
        return {}
    found = {}
    for scales in [used, *OTHERS[limit]]:
        maps = segmenter.multiscale_maps(image, scales, passes=passes)
        labels = segmenter.label(Maps(image, maps, scales)).labels
        found[" and ".join(f"{scale:.3g}" for scale in scales)] = image_score(match(sample.labels, labels))
    return {"limit": limit, "factor": factor, "scores": found}


def compared(rows: list[dict]) -> dict[str, dict]:
    """Return for each choice of scales, the first of which is in use, its mean score and its gain."""
    table = {name: np.array([row["scores"][name] for row in rows]) for name in rows[0]["scores"]}
    used = next(iter(table.values()))
    unchanged = np.array([row["factor"] == 1 for row in rows])
    return {
        name: {
            "score": round(float(each.mean()), 4),
            "gain": round(float((each - used).mean()), 4),
            "error": round(float((each - used).std() / np.sqrt(len(rows))), 4),
            "gain_unchanged": round(float((each - used)[unchanged].mean()), 4) if unchanged.any() else None,
        }
        for name, each in table.items()
    }


def main(every: str = "1") -> None:
    parameters = recipe("general")
    data = nuclei.load_samples(parameters["data"])
    validation = load_split(nuclei.ROOT / parameters["split_by"], data)[1][:: int(every)]
    segmenter = nuclei.Segmenter.load(nuclei.DEFAULT_MODEL, AT_A_TIME)
    images = [(factor, new) for factor in SIZES for s in validation if (new := resized(s, factor))]
    with warnings.catch_warnings(action="ignore"):  # of sizes that the model was not trained on
        rows = thread_map(lambda pair: scores(segmenter, *pair), images, max_workers=AT_A_TIME, unit="image")
    ranges, limits = [], list(OTHERS)
    for lower, limit in zip([0, *limits], limits, strict=False):
        if of_range := [row for row in rows if row.get("limit") == limit]:
            pixels = [round(segmenter.settings["working_diameter"] * side, 1) for side in (lower, limit)]
            ranges.append({"pixels": pixels, "images": len(of_range), "scales": compared(of_range)})
    report = {
        "model": nuclei.DEFAULT_MODEL,
        "ranges": ranges,
        "data": nuclei.describe(data),
        "versions": nuclei.versions(),
    }
    nuclei.write_json(Path(__file__).with_suffix(".json"), report)


if __name__ == "__main__":
    main(*sys.argv[1:])
