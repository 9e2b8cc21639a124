"""Which samples teach and which judge.

Many images are neighbouring tiles of one field of view. A model that has seen one tile has seen the light,
the stain and half-cut nuclei of the next, so a split between them flatters: fields are kept whole.
"""

import json
import warnings
from pathlib import Path

import numpy as np

from nuclei.data.fields import HELD_OUT, field_numbers
from nuclei.data.image_types import image_type
from nuclei.data.samples import Sample


def split(
    samples: list[Sample], validation_fraction: float = 0.2, *, seed: int = 0, by: str = "field"
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples into those that teach and those that judge.

    Parameters
    ----------
    samples : list of Sample
        In any order: they are sorted by id first.
    validation_fraction : float, above 0 and below 1
        The share of samples that judge, kept as nearly as whole fields allow.
    seed : int
    by : "field" or "image"
        "field" keeps the tiles of a field of view together, and takes its share of every image type; "image"
        draws single images at random, as the published baseline did: its scores leak.

    Returns
    -------
    train, validation : lists of Sample
        Samples of `HELD_OUT` are always in the second.

    Raises
    ------
    ValueError
        A fraction or `by` out of range, or too few samples for two sides.
    """
    check_fraction(validation_fraction)
    if by not in ("field", "image"):
        raise ValueError(f'by is {by!r}, expected "field" or "image"')
    samples = sorted(samples, key=lambda s: s.id)
    if by == "field":
        group = field_numbers(samples)
        types = np.array([image_type(s.image) for s in samples])
    else:
        group, types = np.arange(len(samples)), np.zeros(len(samples), int)
    held_out = np.array([s.id.split("-")[0] in HELD_OUT for s in samples], bool)

    rng = np.random.default_rng(seed)
    judges = np.isin(group, group[held_out])
    for kind in np.unique(types):
        of_kind = types == kind
        wanted = validation_fraction * of_kind.sum()
        for number in rng.permutation(np.unique(group[of_kind])):
            tiles = of_kind & (group == number)
            before = np.sum(judges & of_kind)
            if before + tiles.sum() / 2 <= wanted:  # nearer to the wanted number with it than without it
                judges |= group == number
    train = [s for s, judge in zip(samples, judges, strict=True) if not judge]
    validation = [s for s, judge in zip(samples, judges, strict=True) if judge]
    if not train or not validation:
        raise ValueError(
            f"{len(samples)} samples in {len(np.unique(group))} fields cannot be split with "
            f"validation_fraction {validation_fraction}: one side would be empty. Use more samples."
        )
    _warn_of_missing_types(train, validation)
    return train, validation


def check_fraction(validation_fraction: float) -> None:
    """Raise ValueError unless the fraction leaves samples on both sides."""
    if not 0 < validation_fraction < 1:
        raise ValueError(
            f"validation_fraction is {validation_fraction}, expected a number above 0 and below 1"
        )


def balanced_weights(samples: list[Sample]) -> np.ndarray:
    """Return how often to show each sample, (N,) float: by the square root of its image type's share.

    A type with a hundredth of the images is shown a tenth as often.
    """
    types = np.array([image_type(s.image) for s in samples])
    names, counts = np.unique(types, return_counts=True)
    return 1 / np.sqrt(counts[np.searchsorted(names, types)])


def _warn_of_missing_types(train: list[Sample], validation: list[Sample]) -> None:
    kinds, judged = ({image_type(s.image) for s in side} for side in (train, validation))
    if missing := sorted(kinds - judged):
        warnings.warn(
            f"no image of type {', '.join(missing)} is in validation: nothing is known about the model there",
            stacklevel=3,
        )


def check_split(train: list[Sample], validation: list[Sample]) -> None:
    """Warn of a split made by hand with one field of view on both sides, or a type in training alone."""
    samples = [*train, *validation]
    group = field_numbers(samples)
    leaking = np.intersect1d(group[: len(train)], group[len(train) :])
    if len(leaking):
        ids = [s.id for s, number in zip(samples, group, strict=True) if number == leaking[0]]
        warnings.warn(
            f"{len(leaking)} fields of view have tiles in both training and validation, such as "
            f"{', '.join(ids)}: validation scores will be too good",
            stacklevel=2,
        )
    _warn_of_missing_types(train, validation)


def split_ids(train: list[Sample], validation: list[Sample]) -> dict[str, list[str]]:
    """Return the ids of both sides, sorted: what a model's ``split.json`` holds and `load_split` reads."""
    return {"train": sorted(s.id for s in train), "validation": sorted(s.id for s in validation)}


def load_split(path: str | Path, samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Read a split that a model's folder has, or one made by hand: (train, validation).

    Raises ValueError where the file holds no split, or an id that is not among `samples` or stands on both
    sides; warns as `check_split` does.
    """
    try:
        ids = json.loads(Path(path).read_text())
        sides = [ids["train"], ids["validation"]]
    except (ValueError, TypeError, KeyError):
        sides = []
    if not sides or not all(side and isinstance(side, list) for side in sides):
        raise ValueError(f'{path}: no split, expected {{"train": [ids], "validation": [ids]}}')
    by_id = {s.id: s for s in samples}
    for problem, wrong in (
        (
            "not among the samples",
            [i for side in ("train", "validation") for i in ids[side] if i not in by_id],
        ),
        ("both in train and in validation", sorted(set(ids["train"]) & set(ids["validation"]))),
    ):
        if wrong:
            raise ValueError(
                f"{path}: {len(wrong)} ids are {problem}, such as {wrong[0]!r}. Correct the file."
            )
    train, validation = ([by_id[i] for i in ids[side]] for side in ("train", "validation"))
    check_split(train, validation)
    return train, validation


def check_judges(validation: list[Sample]) -> None:
    """Raise ValueError where all validation samples are of one field: none is left to judge what it tuned."""
    if len(set(field_numbers(validation))) < 2:
        raise ValueError(
            f"{len(validation)} samples of one field of view would judge the model, expected two fields or "
            "more: one chooses thresholds, the other scores them. Raise validation_fraction, or add images."
        )


def unseen(samples: list[Sample], seen: list[str]) -> list[Sample]:
    """Return the samples that may judge a model which has learned from the images with the ids `seen`.

    Tiles of the embedded sample may not where an image of their field is among them. Raises ValueError where
    no sample is left, warns where none of an image type is.
    """
    seen = set(seen)
    field_seen = not HELD_OUT.isdisjoint(seen)
    left = [s for s in samples if s.id not in seen and not (field_seen and s.id.split("-")[0] in HELD_OUT)]
    if not left:
        raise ValueError(
            f"the model has learned from all {len(samples)} samples: none is left to judge it. "
            "Use other data, or start from another model."
        )
    if len(left) < len(samples):
        _warn_of_missing_types(samples, left)
    return left
