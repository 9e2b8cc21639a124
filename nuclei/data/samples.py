"""Images and their labelled nuclei, from any folder or zip into a list of samples."""

import hashlib
import io
import os
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from glob import escape
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from platformdirs import user_cache_path
from skimage.segmentation import relabel_sequential
from tqdm.contrib.concurrent import thread_map

from nuclei.common import IN_REPOSITORY, ROOT, checked_path, replacing
from nuclei.data.image_types import image_type
from nuclei.data.labels import as_labels, check_nuclei, hard_mask, paint, without_alpha
from nuclei.data.layouts import Files, find_samples
from nuclei.data.outlines import is_outlines, labels_from_outlines
from nuclei.data.sources import CORRECTED_FINGERPRINT, group_name, locate, source_name
from nuclei.images.file_warnings import naming_warnings, working_on
from nuclei.images.finding import files_below, warn_of_unread
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import open_image, read_numbers

MIN_SIDE = 32  # pixels. The encoder halves the side of an image five times

CACHE_FORMAT = 7  # raise it when the content or the format of the cache changes
CACHED = ("image", "labels", "numbers")  # of each sample, beside its id

OFFICIAL = "DSB 2018 stage 1 train, official edition (670 images)"
EDITIONS = {
    CORRECTED_FINGERPRINT: "DSB 2018 stage 1 train, corrected edition (664 images)",
    "b89357fcf2d552a0": "embedded sample (16 images)",
}


@dataclass(frozen=True)
class Sample:
    """One image and its nuclei."""

    id: str  # its name in its data set, or ``source/name`` where several data sets were loaded
    image: np.ndarray  # (H, W, 3) uint8, RGB, 0-255
    labels: np.ndarray  # (H, W) int32, 0 = background, 1..N = one number per nucleus
    source: str = ""  # name of its data set
    group: str = ""  # image, patient or organ that it is a part of, where its name says so
    numbers: np.ndarray | None = None  # (N + 1,) integers: those of 0..N in its label image, if it has one

    @property
    def name(self) -> str:
        """The id without the data set's name."""
        return self.id.removeprefix(f"{self.source}/")

    @property
    def file_labels(self) -> np.ndarray:
        """The labels with their numbers in the label image: (H, W) integers, 0 = background."""
        return self.labels if self.numbers is None else self.numbers[self.labels]

    @cached_property
    def type(self) -> str:
        """Which of `nuclei.data.image_types.IMAGE_TYPES` the image is."""
        return image_type(self.image)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of a hash over the shape and the pixels of the image."""
        return hashlib.sha256(f"{self.image.shape}".encode() + self.image.tobytes()).hexdigest()[:16]


def load_samples(
    source: str | Path | Sequence[str | Path] = "sample",
    channel: int | None = None,
    page: int | None = None,
) -> list[Sample]:
    """Load every image of one or several data sets with its labelled nuclei, sorted by id.

    source : one or several of
        ``"sample"``: the sixteen small images that come with the repository.
        ``"dsb2018"``: the Data Science Bowl 2018 training set as found in ``data/stage1_train/`` or
        ``data/stage1_train.zip``; if there is none, the corrected edition (664 images) is downloaded.
        ``"dsb2018-official"``: likewise the edition of the competition (670 images).
        Anything else: the path of a folder or zip in one of the layouts of `nuclei.data.layouts`, relative to
        the repository's root or absolute. With several data sets, an id begins with the name of its data set.
    channel, page : see `nuclei.images.open_image`

    Raises FileNotFoundError where there is nothing at `source`, an image or its nuclei are missing, or the
    download failed; ValueError where a file is broken or has the wrong size, an image is smaller than 32
    pixels, its labels do not distinguish the nuclei, or two data sets have one name; TypeError where `source`
    is no path.

    The result is kept in ``data/cache/``, and read from there as long as the source does not change; in the
    user's cache, where the library was installed without its repository. Warns of grey values that are
    probably not the image's, such as hot pixels, when a file is first read.
    """
    sources = [source] if source is None or isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise ValueError("no data source was given, expected at least one")
    paths: dict[str, Path] = {}
    for each in sources:
        path = locate(checked_path("source", each), ROOT)
        if (name := source_name(path, ROOT)) in paths:
            raise ValueError(f"{paths[name]} and {path}: both are called {name}. Rename one of them.")
        paths[name] = path
    samples = []
    for name, path in paths.items():
        files, content = open_files(path)
        warn_of_unread(files, path)
        read = _read_cached(path, files, content, channel, page)
        if name == "dsb2018" and (found := fingerprint(read)) != CORRECTED_FINGERPRINT:
            marks = f"fingerprint {found}, not {CORRECTED_FINGERPRINT}"
            warnings.warn(f"{path.name}: not the corrected edition of 664 images ({marks})", stacklevel=2)
        prefix = f"{name}/" if len(paths) > 1 else ""
        for s in read:
            group = group_name(f"{name}/{s.id}")
            samples.append(replace(s, id=prefix + s.id, source=name, group=group))
    return sorted(samples, key=lambda s: s.id)


def fingerprint(samples: list[Sample]) -> str:
    """Return 16 hex digits of a hash over the ids, pixels and labels, whatever the order of `samples`."""
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda s: s.id):
        digest.update(f"{sample.id} {sample.image.shape}".encode())
        digest.update(np.ascontiguousarray(sample.image, np.uint8))
        digest.update(np.ascontiguousarray(sample.labels, np.int32))
    return digest.hexdigest()[:16]


def describe(samples: list[Sample]) -> dict:
    """Return what every result records about its data: edition, fingerprint and counts, also by source."""
    mark, names = fingerprint(samples), sorted({s.source for s in samples})
    known = OFFICIAL if names == ["dsb2018-official"] else EDITIONS.get(mark, "not a known edition")
    about = {
        "edition": ", ".join(names) if len(names) > 1 else known,
        "fingerprint": mark,
        "images": len(samples),
        "nuclei": sum(np.unique(s.labels[s.labels > 0]).size for s in samples),
    }
    if len(names) > 1:
        about["sources"] = {
            name: describe([replace(s, id=s.name) for s in samples if s.source == name]) for name in names
        }
    return about


def survey(samples: list[Sample]) -> pd.DataFrame:
    """Return one row per image: id, data set, type, size, number of nuclei, and their areas, in pixels."""
    rows = []
    for s in samples:
        areas = np.unique(s.labels[s.labels > 0], return_counts=True)[1]
        rows.append((s.id, s.source, s.type, *s.labels.shape, len(areas), areas))
    return pd.DataFrame(rows, columns=["id", "source", "type", "height", "width", "nuclei", "areas"])


def _read_sample(
    read: Callable[[str], bytes], id: str, files: Files, channel: int | None, page: int | None
) -> Sample:
    with working_on(files.image):
        image = as_rgb8(open_image(io.BytesIO(read(files.image)), channel, page, files.image).pixels())
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        expected = f"expected at least {MIN_SIDE} on each side. Move the image elsewhere."
        raise ValueError(f"{files.image}: {height} x {width} pixels, {expected}")
    return numbered(id, image, read_labels(read, files, (height, width), page))


def numbered(id: str, image: np.ndarray, labels: np.ndarray) -> Sample:
    """Make a sample of an (H, W, 3) uint8 image and its (H, W) integer labels, which become 1..N.

    The sample keeps the numbers that they had.
    """
    consecutive, _, numbers = relabel_sequential(labels)
    return Sample(id, image, consecutive.astype(np.int32), numbers=np.asarray(numbers))


def read_labels(
    read: Callable[[str], bytes], files: Files, shape: tuple[int, int], page: int | None
) -> np.ndarray:
    """Return the nuclei of an image of `shape`, with the numbers of its label image if it has one.

    They are (H, W) integers, 0 = background. `read` returns a file's content by name; `page` is the image's.
    Raises ValueError where a file is broken, has another shape, or its labels do not distinguish the nuclei.
    """

    def same_shape(labels: np.ndarray, name: str) -> np.ndarray:
        if labels.shape != shape:
            found = f"the mask is {' x '.join(map(str, labels.shape))} pixels"
            expected = f"expected {shape[0]} x {shape[1]} as its image {files.image}"
            raise ValueError(f"{name}: {found}, {expected}. Replace the mask.")
        return labels

    if files.labels and is_outlines(PurePosixPath(files.labels)):
        return labels_from_outlines(read(files.labels), files.labels, shape, page)
    if files.labels:
        labels = as_labels(read_numbers(read(files.labels), files.labels), files.labels)
        return same_shape(labels, files.labels)
    nuclei = []
    for name in files.masks:
        mask = read_numbers(read(name), name)
        if mask.ndim == 3:
            mask = without_alpha(mask, name).max(axis=-1)
        nuclei.append(np.flatnonzero(same_shape(hard_mask(mask, name), name)))
    labels = paint(nuclei, shape[0] * shape[1]).reshape(shape)
    check_nuclei(labels, str(PurePosixPath(files.masks[0]).parent), are_masks=True)
    return labels


def open_files(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of all files below a folder or in a zip, and the function that reads one by name.

    Raises ValueError if a file is no complete zip.
    """
    if path.is_dir():
        files = [file.relative_to(path).as_posix() for file in files_below(path)]
        return files, lambda name: (path / name).read_bytes()
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        found = f"not a complete zip file ({path.stat().st_size:,} bytes found)"
        expected = "expected a folder or a zip of images with their labels; if it is a zip, download it again"
        raise ValueError(f"{path}: {found}, {expected}") from error

    def read(name: str) -> bytes:
        try:
            return archive.read(name)
        except Exception as error:  # zipfile and zlib have nothing in common here
            raise ValueError(f"{name}: cannot be read from {path} ({error}); the zip is damaged") from error

    return archive.namelist(), read


def _read_cached(
    path: Path, names: list[str], read: Callable[[str], bytes], channel: int | None, page: int | None
) -> list[Sample]:
    """Return the samples of a folder or zip from the cache; read and cache them where it has none."""
    where = f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    chosen = "".join(f"-{k}{n}" for k, n in (("ch", channel), ("p", page)) if n is not None)
    folder = ROOT / "data" / "cache" if IN_REPOSITORY else user_cache_path("nuclei") / "data"
    cache = folder / f"{where}{chosen}-{_cache_key(path, names)}.npz"
    if cache.exists():
        try:
            with np.load(cache) as arrays:
                return [
                    Sample(str(id), **{name: arrays[f"{name} {k}"] for name in CACHED})
                    for k, id in enumerate(arrays["ids"])
                ]
        except Exception as error:  # of any type; the data themselves are intact
            warnings.warn(f"{cache}: cannot be read ({error}); the data are read again", stacklevel=3)
    found = find_samples(names, path)

    def load(id: str) -> Sample:
        return _read_sample(read, id, found[id], channel, page)

    with naming_warnings():
        samples = thread_map(load, sorted(found), desc=f"reading {path.name}", unit="image", disable=None)
    arrays = {f"{name} {k}": getattr(s, name) for name in CACHED for k, s in enumerate(samples)}
    try:
        for old in folder.glob(f"{escape(where + chosen)}-{'?' * 8}.npz"):
            old.unlink(missing_ok=True)
        with replacing(cache) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, ids=[s.id for s in samples], **arrays)  # type: ignore[arg-type]
    except OSError as error:  # a cache is a convenience: a full disk must not stop the work
        warnings.warn(f"the merged labels could not be cached in {folder}: {error}", stacklevel=3)
    return samples


def _cache_key(path: Path, names: list[str]) -> str:
    """Return eight hex digits that change when a file below `path` is added, removed, renamed or written."""
    digest = hashlib.sha256(str(CACHE_FORMAT).encode())
    for file in [path / name for name in names] if path.is_dir() else [path]:
        about = file.stat()
        digest.update(os.fsencode(f"{file.relative_to(path)} {about.st_size} {about.st_mtime_ns}"))
    return digest.hexdigest()[:8]
