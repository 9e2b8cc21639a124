"""Which samples train a model and which validate it.

Images of one field of view or patient share illumination, stain and nuclei cut by the edge. A split between
them inflates validation scores, so fields are kept whole.
"""

import json
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType

import numpy as np

from nuclei.common import counted, some
from nuclei.data.fields import HELD_OUT, field_numbers, held_out
from nuclei.data.samples import Sample
from nuclei.data.sources import DOWNLOADS

BY_NAME_ALONE = ("", *DOWNLOADS)
"""Data sets whose images are recognised by their names alone: the Data Science Bowl's are unique."""


def split(
    samples: list[Sample], validation_fraction: float = 0.2, *, seed: int = 0, by: str = "field"
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples, in any order, into training and validation samples.

    By "field" whole fields of `field_numbers` are drawn, and the share of validation is taken of every
    image type of every data set, as nearly as they allow; of all images together, where these are too few
    for two fields in validation. By "image" single images are drawn, as the published baseline did: its
    scores leak. Samples of `nuclei.data.fields.HELD_OUT` are always in validation.

    Raises ValueError for a fraction not between 0 and 1, too few samples, or a side without any nucleus.
    """
    if not 0 < validation_fraction < 1:
        found = f"validation_fraction is {validation_fraction}"
        raise ValueError(f"{found}, expected a number above 0 and below 1")
    if by not in ("field", "image"):
        raise ValueError(f'by is {by!r}, expected "field" or "image"')
    samples = sorted(samples, key=lambda s: s.id)
    if by == "field":
        group = field_numbers(samples)
        stratum = _strata(samples)
    else:
        group = np.arange(len(samples))
        stratum = np.unique([s.source for s in samples], return_inverse=True)[1]
    # one per data set: its split does not change when another data set is added
    generators = {s.source: np.random.default_rng(seed) for s in samples}

    validates = np.isin(group, group[np.array([bool(held_out(s)) for s in samples], bool)])

    def draw(members: np.ndarray) -> None:
        wanted = validation_fraction * members.sum()
        rng = generators[samples[members.argmax()].source]
        for field in rng.permutation(np.unique(group[members])):
            tiles = members & (group == field)
            before = np.sum(validates & members)
            if before + tiles.sum() / 2 <= wanted:  # nearer to the wanted number with it than without it
                validates[group == field] = True

    for number in np.unique(stratum):
        draw(stratum == number)
    if samples and len(np.unique(group[validates])) < 2:
        draw(np.ones(len(samples), bool))
    train, validation = ([samples[k] for k in np.flatnonzero(validates == side)] for side in (False, True))
    if not train or not validation:
        fields = counted(len(np.unique(group)), "field")
        found = f"{counted(len(samples), 'sample')} in {fields} cannot be split"
        raise ValueError(f"{found} with validation_fraction {validation_fraction}. Use more samples.")
    _check_sides(train, validation)
    return train, validation


def _strata(samples: list[Sample]) -> np.ndarray:
    """Return numbers, (N,) int, equal where samples are of one data set and image type."""
    names = [f"{s.source}/{s.type}" for s in samples]
    return np.unique(names, return_inverse=True)[1]


def balanced_weights(samples: list[Sample]) -> np.ndarray:
    """Return how often to draw each sample in training, (N,) float above 0.

    It is 1 over the square root of how many samples are of its data set and image type.
    """
    stratum = _strata(samples)
    return 1 / np.sqrt(np.bincount(stratum)[stratum])


def _check_sides(train: list[Sample], validation: list[Sample]) -> None:
    for name, side in (("training", train), ("validation", validation)):
        if not any(s.labels.any() for s in side):
            found = f"none of the {len(side)} {name} images has a nucleus, expected one at least"
            raise ValueError(f"{found}. Add labelled images, or split with another seed.")
    _warn_of_what_is_missing(train, validation, "in validation")


def _warn_of_what_is_missing(samples: list[Sample], left: list[Sample], where: str) -> None:
    for what, of in (("of type", attrgetter("type")), ("from the data set", attrgetter("source"))):
        if missing := ", ".join(sorted({*map(of, samples)} - {*map(of, left)})):
            warnings.warn(f"no image {what} {missing} is {where}", stacklevel=3)


def split_ids(
    train: list[Sample], validation: list[Sample], before: Mapping[str, list[str]] = MappingProxyType({})
) -> dict[str, list[str]]:
    """Return what a model's ``split.json`` holds, each list sorted; `load_split` reads the ids.

    ``train`` and ``validation`` are ids that begin with the name of their data set, as images of another one
    may have the same names; but see `BY_NAME_ALONE`. ``train_pixels`` has the `Sample.digest` of each
    training image, which recognises it under another name. `before` is the split of the model that the
    training started from: its training images are added.
    """

    def ids(samples):
        return sorted(s.id if s.source in BY_NAME_ALONE else f"{s.source}/{s.name}" for s in samples)

    trained = {*ids(train), *before.get("train", [])}
    pixels = {*(s.digest for s in train), *before.get("train_pixels", [])}
    return {"train": sorted(trained), "train_pixels": sorted(pixels), "validation": ids(validation)}


def seen_in(split: Mapping[str, list[str]]) -> set[str]:
    """Return what `is_seen` recognises the training images of a model's ``split.json`` by."""
    return {*split.get("train", []), *split.get("train_pixels", [])}


def load_split(path: str | Path, samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Read the split of a model's folder, or one made by hand: (train, validation).

    An id may begin with the name of its data set. Raises ValueError if the file holds no split, an id is not
    among `samples` or listed twice, or no image of a side has a nucleus. Warns of a field of view that is on
    both sides, and of types and data sets in training alone.
    """
    try:
        content = json.loads(Path(path).read_text())
        sides = [content["train"], content["validation"]]
    except (ValueError, TypeError, KeyError):
        sides = []
    if not sides or not all(side and isinstance(side, list) for side in sides):
        raise ValueError(f'{path}: no split, expected {{"train": [ids], "validation": [ids]}}')
    sides = [[str(id) for id in side] for side in sides]
    ids = sides[0] + sides[1]
    by_id = {f"{s.source}/{s.name}": s for s in samples} | {s.id: s for s in samples}
    if unknown := [id for id in ids if id not in by_id]:
        found = f"{counted(len(unknown), 'id')} not among the samples, such as {unknown[0]!r}"
        loaded = ", ".join(sorted({s.source for s in samples}))
        expected = "expected names of images, or NAME/id where several data sets are loaded"
        raise ValueError(f"{path}: {found}; {expected}. Loaded data sets: {loaded}.")
    count = Counter(by_id[id].id for id in ids)
    if twice := [id for id in ids if count[by_id[id].id] > 1]:
        found = f"{counted(len(twice), 'id')} of images that are listed twice, such as {twice[0]!r}"
        raise ValueError(f"{path}: {found}. List each once, in train or in validation.")
    train, validation = ([by_id[id] for id in side] for side in sides)
    field = field_numbers([*train, *validation])
    leaking = np.intersect1d(field[: len(train)], field[len(train) :])
    if leaking.size:
        together = [id for id, number in zip(ids, field, strict=True) if number == leaking[0]]
        warnings.warn(
            f"{leaking.size} fields of view have tiles in both training and validation, such as "
            f"{some(together)}: validation scores will be too good",
            stacklevel=2,
        )
    _check_sides(train, validation)
    return train, validation


def check_validation(validation: list[Sample]) -> None:
    """Raise ValueError if all validation samples are of one field: none could score what it tuned."""
    if len(set(field_numbers(validation))) < 2:
        found = f"{len(validation)} validation samples are of one field of view, expected two fields or more"
        raise ValueError(f"{found}. Raise validation_fraction, or add images.")


def is_seen(sample: Sample, seen: Collection[str]) -> bool:
    """Return whether a sample is among those `seen`, by its name and that of its data set, or by its pixels.

    Its name alone counts where the id has no data set's, and for samples of `BY_NAME_ALONE`. A tile of the
    embedded sample is among them, where an image of its field is. `seen` holds ids and digests.
    """
    if {sample.name, f"{sample.source}/{sample.name}", sample.digest}.intersection(seen):
        return True
    if sample.source in BY_NAME_ALONE and any(id.endswith(f"/{sample.name}") for id in seen):
        return True
    return bool(held_out(sample)) and any(id.rpartition("/")[2] in HELD_OUT for id in seen)


def unseen(samples: list[Sample], seen: Collection[str]) -> list[Sample]:
    """Return the samples that a model trained on the images `seen` may be scored on.

    See `is_seen`. Raises ValueError if no sample is left, warns if none of an image type is.
    """
    seen = set(seen)
    left = [s for s in samples if not is_seen(s, seen)]
    if not left:
        found = f"the model was trained on images of the same names or pixels as all {len(samples)} samples"
        raise ValueError(f"{found}. Use other data to score it; if only the names are the same, rename them.")
    if len(left) < len(samples):
        _warn_of_what_is_missing(samples, left, "among those left to score")
    return left
