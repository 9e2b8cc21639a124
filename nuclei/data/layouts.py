"""Layouts: which file holds the nuclei of which image.

- A mask per nucleus: ``<id>/images/<id>.png`` and ``<id>/masks/*.png``, as in the Data Science Bowl 2018.
- Equal names in two folders: ``images/x.tif`` and ``masks/x.tif`` or ``labels/x.tif``, as in StarDist.
- Endings: ``x.tif`` or ``x_img.tif``, and ``x_masks.tif`` or ``x_cp_masks.png``, as in Cellpose, or our
  ``x_labels.tif``.
- Outlines: ``x.tif`` and ``x_rois.zip`` from ImageJ, or ``x.geojson`` from QuPath; with or without folders.

What are neither masks nor outlines are label images: 0 is background, any other number is one nucleus.
"""

import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

from nuclei.common import counted, some
from nuclei.data.outlines import image_stem, is_outlines
from nuclei.images.finding import BY_PRODUCTS, ENDINGS, RESULTS, is_picture, is_review

EXPECTED = (
    "Expected, for each image, <id>/images/<id>.png and its nuclei as <id>/masks/*.png; or images/x.tif and "
    "a label image masks/x.tif or labels/x.tif; or x.tif and x_masks.tif, x_cp_masks.png, x_labels.tif, "
    "x_rois.zip or x.geojson."
)


class Files(NamedTuple):
    """The files of a sample: its image, and its label image or outlines, or one mask per nucleus."""

    image: str
    labels: str | None = None
    masks: Sequence[str] = ()


def find_samples(names: Iterable[str], source: object = "") -> dict[str, Files]:
    """Return, by id, which of the files in the folder or zip `source` belong together.

    The id is the common part of the names of image and label image; with a mask per nucleus the folder around
    ``images/``. Raises FileNotFoundError where an image or its nuclei are missing, ValueError where two files
    belong to one image or id.
    """
    paths = list(map(PurePosixPath, sorted(names)))
    pictures = [path for path in paths if is_picture(path) or is_outlines(path)]
    pictures = [path for path in pictures if not is_review(path, paths.__contains__)]
    pair = _by_folder if any(path.parent.name == "images" for path in pictures) else _by_ending
    samples: dict[str, Files] = {}
    for id, files in pair(pictures, source):
        if id in samples:
            both = f"{samples[id].image} and {files.image} would both be called {id}"
            raise ValueError(f"{source}: {both}. Rename one of them and its labels.")
        samples[id] = files
    if not samples:
        raise FileNotFoundError(f"{source}: no images found. {EXPECTED}")
    return samples


_OME = re.compile(r"\.ome$", re.IGNORECASE)


def plain_stem(path: PurePosixPath, ending: str = "") -> str:
    """Return the name that an image and its labels have in common: without suffix, `ending` and ``.ome``."""
    stem = _OME.sub("", _OME.sub("", image_stem(path)).removesuffix(ending))
    return unicodedata.normalize("NFC", stem)  # macOS writes ä as two characters


def ending_of(path: PurePosixPath) -> str:
    """Return which of `RESULTS` the stem of a file ends in, "" if none."""
    return next((end for end in RESULTS if plain_stem(path).endswith(end)), "")


def _by_folder(files: list[PurePosixPath], source: object) -> list[tuple[str, Files]]:
    """Pair the files of neighbouring folders called images, masks and labels."""
    places: dict = defaultdict(lambda: {"images": [], "masks": [], "labels": []})
    elsewhere = []
    for path in files:
        if path.parent.name in ("images", "masks", "labels"):
            places[path.parent.parent][path.parent.name].append(path)
        elif is_outlines(path) or ending_of(path) in ENDINGS:
            elsewhere.append(path)
    if elsewhere:
        reason = "they lie in no folder images/, masks/ or labels/, as others do"
        warnings.warn(f"{source}: {some(elsewhere)} left out: {reason}", stacklevel=2)
    found = []
    for place, kinds in places.items():
        images, masks, labels = kinds.values()
        same = {plain_stem(path) for path in images} & {plain_stem(path) for path in masks}
        # one of the masks of a single image may happen to have its name
        mask_each = place.name in same and len(images) == 1 and len(masks) > 1
        if labels or (same and not mask_each):
            named = [[(str(place / plain_stem(p)), p) for p in paths] for paths in (images, masks + labels)]
            found += _pair(named[0], named[1], source)
        else:
            found.append(_image_with_masks(place, images, masks, source))
    return found


def _image_with_masks(
    place: PurePosixPath, images: list[PurePosixPath], masks: list[PurePosixPath], source: object
) -> tuple[str, Files]:
    if len(images) != 1:
        found = f"{place / 'images'}/ holds {counted(len(images), 'image')}, and none has the name of a file"
        raise FileNotFoundError(f"{source}: {found} in masks/ or labels/ beside it. {EXPECTED}")
    id = place.name or images[0].stem
    if not masks:
        expected = f"expected its nuclei as {place / 'masks'}/*.png (one all-black mask where there are none)"
        raise FileNotFoundError(f"{source}: {id} has no masks, {expected}. Add them or move the image away.")
    return id, Files(str(images[0]), masks=[str(path) for path in masks])


def _by_ending(pictures: list[PurePosixPath], source: object) -> list[tuple[str, Files]]:
    """Pair files of one folder whose names differ by an ending."""
    known = {path.with_name(plain_stem(path)) for path in pictures}
    images, labels = [], []
    for path in pictures:
        ending = "" if is_outlines(path) else ending_of(path)
        name = path.with_name(plain_stem(path, ending))
        if is_outlines(path) or ending in ENDINGS:
            labels.append((str(name), path))
        elif ending not in BY_PRODUCTS or name not in known:  # x_img.png: the Cellpose data set itself
            images.append((str(path.with_name(plain_stem(path))).removesuffix("_img"), path))
    return _pair(images, labels, source)


def _pair(
    images: list[tuple[str, PurePosixPath]], labels: list[tuple[str, PurePosixPath]], source: object
) -> list[tuple[str, Files]]:
    """Pair images and label images, each given as the common part of both names, and its path."""
    for files in (images, labels):
        for (name, path), (next_name, next_path) in pairwise(sorted(files)):
            if name == next_name:
                raise ValueError(f"{source}: {path} and {next_path} for one image, expected one of them")
    labels_of = dict(labels)
    for what, alone, others in (("labels", images, labels_of), ("image", labels, dict(images))):
        if missing := [path for name, path in alone if name not in others]:
            found = f"no {what} for {some(missing)}. Add files, or move these elsewhere"
            raise FileNotFoundError(f"{source}: {found}. {EXPECTED}")
    return [(PurePosixPath(name).name, Files(str(path), str(labels_of[name]))) for name, path in images]
