"""What helps on images that a network has never met? Short runs with one part changed in each.

    python benchmarks/strangers.py START_MODEL [VARIANT ...]

START_MODEL is a model of recipes/dsb2018.yml, which knows the Data Science Bowl alone. Its network is trained
for 160 batches of recipes/general.yml, with all five data sets, without one of them, with some changes of the
images left out, or with another parameter. It is scored on the validation images of each data set and on
changed ones, see robustness.py. The rest of the model stays, as its IoU network knows no other data either.
Writes strangers.json beside this file; runs that it holds are not repeated. Eight minutes for each on two
cores. "another seed" shows how much is chance.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
from robustness import CHANGES
from tqdm import tqdm

import nuclei
from nuclei.data.samples import Sample
from nuclei.data.splits import balanced_weights, load_split
from nuclei.evaluation.metrics import image_score, match
from nuclei.notebook import recipe
from nuclei.training import image_changes, unet
from nuclei.training.augmentation import AUGMENTS
from nuclei.training.batches import batches, normalize_samples
from nuclei.training.hardware import use_bfloat16
from nuclei.training.targets import TARGETS

FILE = Path(__file__).with_suffix(".json")
STEPS, RATE, AVERAGE, CHANGED = 160, 0.0005, 0.97, 12
GROUPS = {
    "colours": ("stain", "white_balance", "hue", "grey", "tint"),
    "specimens": ("crowd", "dim_some_nuclei"),
    "optics": ("haze", "uneven_light", "defocus", "downsample"),
    "camera": ("outliers", "noise", "gamma", "contrast", "jpeg", "stretch"),
}
VARIANTS: dict[str, dict] = {
    "none: the start": {},
    "all data sets": {"augment": "strong"},
    "without NuInsSeg": {"augment": "strong", "left_out": "nuinsseg"},
    "all, flips alone": {"augment": "flip"},
    "without S-BSST265": {"augment": "strong", "left_out": "sbsst265"},
    "all, colour jitter": {"augment": "colour_jitter"},
    "without TNBC": {"augment": "strong", "left_out": "tnbc"},
    "without Aitslab": {"augment": "strong", "left_out": "aitslab1"},
    **{f"all, no change of {group}": {"augment": "strong", "unchanged": group} for group in GROUPS},
    "all, weights not averaged": {"augment": "strong", "weight_average": 0.0},
    "all, crops of 192 pixels": {"augment": "strong", "crop": 192, "batch_size": 14},  # as many pixels
    "all, nuclei not resized": {"augment": "strong", "crop_diameters": None},
    "all, another seed": {"augment": "strong", "seed": 1},
}


@contextmanager
def unchanged(group: str) -> Iterator[None]:
    """Let the image changes of a group return the image, and the labels with it, as they are."""
    same = {name: lambda image, *_: image for name in GROUPS.get(group, ())}
    if "crowd" in same:
        same["crowd"] = lambda image, labels, _: (image, labels)
    with mock.patch.multiple(image_changes, **same) if same else nullcontext():
        yield


def train(network, samples: list[Sample], steps: int = STEPS, **change) -> None:
    """Train a network in place for some batches; its weights are averaged over the last of them.

    `change` has the parameters in which the training differs from the recipe.
    """
    p = recipe("general") | {"weight_average": AVERAGE, "scale_range": (1, 1)} | change
    unet.freeze_encoder(network, False)
    unet.set_momentum(network, 0.98)
    unet.compile_unet(
        network,
        steps_per_epoch=steps,
        epochs=1,
        learning_rate=RATE,
        decay_epochs=1,
        weight_average=p["weight_average"],
        edge_weight=p["edge_weight"],
    )
    drawn = batches(
        normalize_samples(samples),
        steps=steps,
        batch_size=p["batch_size"],
        size=p["crop"],
        scale_range=p["scale_range"],
        diameters=p["crop_diameters"],
        weights=balanced_weights(samples),
        target=TARGETS[p["target"]],
        augment=AUGMENTS[p["augment"]],
        seed=p["seed"],
    )
    network.fit(drawn, epochs=1, verbose=2)


def scores(segmenter: nuclei.Segmenter, samples: list[Sample], name: str) -> list[float]:
    """Return the competition score of each sample."""
    with warnings.catch_warnings():  # of sizes that the model was not trained on
        warnings.simplefilter("ignore")
        return [image_score(match(s.labels, segmenter(s.image))) for s in tqdm(samples, name, unit="image")]


def scored(segmenter: nuclei.Segmenter, validation: list[Sample]) -> dict:
    """Return the mean score of each data set, and of images after the changes relative to before."""
    names = sorted({s.source for s in validation})
    groups = {name: [s for s in validation if s.source == name] for name in names}
    found = {name: np.mean(scores(segmenter, group, name)) for name, group in groups.items()}
    own = groups["dsb2018"]
    some = [own[k] for k in np.random.default_rng(0).permutation(len(own))[:CHANGED]]
    means = [
        np.mean(scores(segmenter, [Sample(s.id, change(s.image), s.labels) for s in some], name))
        for name, change in CHANGES.items()
    ]
    found["mean"] = np.mean(list(found.values()))
    found["changed"] = np.mean(means[1:]) / means[0]
    return {name: round(float(value), 4) for name, value in found.items()}


def main(start: str, *chosen: str) -> None:
    use_bfloat16()
    samples = nuclei.load_samples(recipe("general")["data"])
    train_samples, validation = load_split(nuclei.ROOT / recipe("general")["split_by"], samples)
    runs = json.loads(FILE.read_text())["runs"] if FILE.exists() else {}
    for name in chosen or VARIANTS:
        if name in runs:
            continue
        change = VARIANTS[name]
        segmenter = nuclei.Segmenter.load(start)
        if change:
            with unchanged(change.get("unchanged", "")):
                kept = [s for s in train_samples if s.source != change.get("left_out")]
                train(segmenter.model, kept, **change)
            folder = Path("runs/strangers") / name.replace(" ", "_")
            segmenter = nuclei.Segmenter.load(segmenter.save(folder))
        runs[name] = change | {"scores": scored(segmenter, validation)}
        about = {"steps": STEPS, "learning_rate": RATE, "weight_average": AVERAGE, "changed_images": CHANGED}
        about |= {"runs": runs, "data": nuclei.describe(samples), "versions": nuclei.versions()}
        nuclei.write_json(FILE, about)


if __name__ == "__main__":
    main(*sys.argv[1:])
