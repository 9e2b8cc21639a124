"""Which images does the default model call unlike its training images?

    python benchmarks/strangeness.py

Writes strangeness.json beside this file: the share of the validation and test images of each data set whose
strangeness is above 1; the same of the validation images of a data set when only the others are known; the
share after changes of the image, see robustness.py; and the strangeness of pictures of other things, which
come with scikit-image, with the nuclei found in them and their mean confidence. Needs the data sets of
data/README.md. A quarter of an hour on two cores.
"""

import json
from pathlib import Path

import numpy as np
from robustness import CHANGES, EVERY, changed
from skimage import data

import nuclei
from nuclei.notebook import recipe
from nuclei.segmentation.segmenter import AT_A_TIME
from nuclei.segmentation.strangeness import Usual, strangeness
from nuclei.training.augmentation import AUGMENTS
from nuclei.training.usual import SHARE_BELOW, augmented, features_of, fit_usual

PICTURES = (
    *("astronaut", "brick", "camera", "cat", "cell", "checkerboard", "clock", "coffee", "coins", "grass"),
    *("gravel", "horse", "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket"),
    "text",
)


def strange(found: np.ndarray, usual: Usual) -> float:
    """Return the share of images that are unlike the usual ones, by their features."""
    return round(float(np.mean([strangeness(each, usual) > 1 for each in found])), 3)


def left_out(source: str, found: dict[str, np.ndarray], sources: dict[str, np.ndarray]) -> float:
    """Return the share of a data set's validation images that is strange if only the others are usual."""
    known, changed, new = (found[of][sources[of] != source] for of in ("train", "augmented", "validation"))
    others = fit_usual(np.concatenate([known, changed]), new)
    return strange(found["validation"][sources["validation"] == source], others)


def picture(segmenter: nuclei.Segmenter, name: str) -> dict:
    """Return what a segmenter says of one of scikit-image's pictures."""
    predicted = segmenter.predict(getattr(data, name)())
    confidence = float(predicted.confidence.mean()) if len(predicted.confidence) else None
    about = {"nuclei": len(predicted.confidence), "confidence": confidence}
    return about | {"strangeness": predicted.strangeness}


def main() -> None:
    parameters = recipe("general")
    samples = {s.id: s for s in nuclei.load_samples(parameters["data"])}
    split = json.loads((nuclei.ROOT / parameters["split_by"]).read_text())
    segmenter = nuclei.Segmenter.load(nuclei.DEFAULT_MODEL, AT_A_TIME)
    usual = segmenter.usual
    sides = {side: [samples[id] for id in ids] for side, ids in split.items()}
    images = {side: [s.image for s in group] for side, group in sides.items()}
    images["augmented"] = augmented(sides["train"], AUGMENTS[parameters["augment"]], parameters["seed"])
    found = {name: features_of(segmenter, group, name) for name, group in images.items()}
    sources = {side: np.array([s.source for s in group]) for side, group in sides.items()}
    sources["augmented"] = sources["train"]
    shares = {
        side: {
            source: strange(found[side][sources[side] == source], usual)
            for source in np.unique(sources[side])
        }
        for side in ("validation", "test")
    }
    some = [s for s in sides["validation"] if s.source == "dsb2018"][::EVERY]
    after = {}
    for name, group in changed(some).items():
        if name in CHANGES:
            each = features_of(segmenter, [s.image for s in group], name)
            after[name] = {"images": len(group), "share": strange(each, usual)}
    report = {
        "below": SHARE_BELOW,
        "shares": shares,
        "left_out": {source: left_out(source, found, sources) for source in np.unique(sources["train"])},
        "changed": after,
        "pictures": {name: picture(segmenter, name) for name in PICTURES},
        "data": nuclei.describe(list(samples.values())),
        "versions": nuclei.versions(),
    }
    nuclei.write_json(Path(__file__).with_suffix(".json"), report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
