"""From any images to files with their nuclei: reads ahead, writes behind, goes on where it was stopped."""

import hashlib
import math
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from nuclei.common import model_folder, output_folder, quiet
from nuclei.data.run_lengths import encode_nuclei
from nuclei.images.finding import find_images
from nuclei.images.large import is_slide
from nuclei.images.reading import Picture, read_picture
from nuclei.output import formats, run_folder
from nuclei.output.measurements import measure, summarise
from nuclei.output.outlines import polygons
from nuclei.workflows.large_images import Found, preview, segment_slide

KINDS = ("labels", "measurements", "overlay", "geojson", "roi", "rle")

SLIDE_KINDS = ("labels", "measurements", "overlay")
"""What is saved for images too large for memory: outlines and run lengths would need all of it."""

AHEAD = 2
"""Images that are read before the model is ready for them, and results that may wait to be written."""


class Report(NamedTuple):
    """What a run did: images by name, with why those skipped were.

    segmented : dict of str to int, the nuclei found
    earlier : list of str, complete before this run
    skipped : dict of str to str
    """

    segmented: dict[str, int]
    earlier: list[str]
    skipped: dict[str, str]


def segment(
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    model: str | Path,
    *,
    save: str | Iterable[str] = ("labels", "measurements", "overlay"),
    channel: int | None = None,
    page: int | None = None,
    pixel_size: float | None = None,
    scale: float | str = "auto",
    augment: bool = False,
    overwrite: bool = False,
) -> Report:
    """Find the nuclei of images, and write them to a folder.

    Parameters
    ----------
    images : str, Path or several
        Files, folders or patterns; see `images.finding.find_images`, which also says how images are named.
    out : str or Path
        Files of an image are called by its name, ``NAME_labels.tif`` for example. Tables hold all images.
    model : str or Path
        A model's folder; a relative one may also start from the repository's root.
    save : str or several
        Any of ``labels``, ``measurements`` (measurements.csv and summary.csv), ``overlay``, ``geojson``,
        ``roi`` and ``rle``; or ``all``. In one text, they are separated by commas.
    channel, page : int, optional
        Which channel and page of a file to look at, from 0. All channels are measured.
    pixel_size : float, optional
        Micrometres, in place of what the files tell.
    scale : float or "auto"
    augment : bool
        See `nuclei.segmenter.Segmenter.maps`.
    overwrite : bool
        Whether to delete the results of earlier runs first. Otherwise images that are complete are skipped.

    Returns
    -------
    Report

    Raises
    ------
    FileNotFoundError, ValueError
        The images, the model or the options are wrong, or the folder has results made with others.
    OSError
        The folder cannot be written to, because the disk is full for example.

    Warns
    -----
    UserWarning
        An image cannot be used: it is skipped. Or it is too large for some of what was to be saved.

    Notes
    -----
    A TIFF image of more than `images.large.LARGEST` pixels is looked at tile by tile, so that its size does
    not matter: see `nuclei.workflows.large_images.segment_slide`. Its overlay is reduced.
    """
    kinds = _kinds(save)
    for name, value in {"--pixel-size": pixel_size, "--scale": None if scale == "auto" else scale}.items():
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{name} is {value}, expected a number above 0")
    for name, value in {"--channel": channel, "--page": page}.items():
        if value is not None and value < 0:
            raise ValueError(f"{name} is {value}, expected a number from 0")
    folder, out = model_folder(model), output_folder(out)
    root, found = find_images([images] if isinstance(images, (str, Path)) else list(images))
    with quiet():
        from nuclei.common import versions  # slow to import: wrong input should be told before
        from nuclei.segmentation.segmenter import Segmenter

    segmenter = Segmenter.load(folder)
    segmenter.check_scale(scale)
    about = {
        "images": str(root),
        "model": str(model),
        "fingerprint": _fingerprint(folder),
        "thresholds": segmenter.settings["thresholds"],
        "save": kinds,
        "channel": channel,
        "page": page,
        "pixel_size": pixel_size,
        "scale": scale,
        "augment": augment,
        "versions": versions(),
    }
    stamps = {name: _stamp(path, root) for name, path in found.items()}
    with _told(out):
        run_folder.begin(out, about, found, overwrite)
        run_folder.forget(out, {stamp["file"]: name for name, stamp in stamps.items()})
        for name, source in run_folder.sources(out).items():
            if name in stamps and source != stamps[name]["file"] and (root / source).exists():
                raise ValueError(
                    f"{out} holds results of {source} under the name {name}, as {stamps[name]['file']} would "
                    "have. Segment both in one call, or choose another --out."
                )
        earlier = [name for name in found if run_folder.is_complete(out, name, stamps[name])]
    left = [name for name in found if name not in set(earlier)]
    look = {"scale": scale, "augment": augment}

    def read(name: str) -> Picture | None:  # None for a slide, which is not read whole
        try:
            return None if is_slide(found[name], page) else read_picture(found[name], channel, page)
        except OSError as error:  # of the image; any that comes later is about the results
            raise ValueError(str(error)) from error

    def find(name: str, picture: Picture | None) -> tuple[int, Future]:
        """Find the nuclei of an image; return its pixels, and what writes its files."""
        if picture is None:
            if left_out := [kind for kind in kinds if kind not in SLIDE_KINDS]:
                warnings.warn(f"{found[name]}: too large for {', '.join(left_out)}", stacklevel=3)
            options = {"channel": channel, "page": page, "pixel_size": pixel_size} | look
            with _naming_warnings(found[name]):
                slide = segment_slide(found[name], segmenter, labels_file(name), **options)
            return math.prod(slide.shape), writer.submit(write_slide, name, slide)
        with _naming_warnings(found[name]):
            maps = segmenter.maps(picture.image, **look)
        labels = segmenter.labels_from_maps(maps, segmenter.prepare(picture.image))
        return labels.size, writer.submit(write, name, picture, maps[..., 0], labels)

    def labels_file(name: str) -> Path:
        return run_folder.files(out, name, ["labels"])["labels"]

    def write(name: str, picture: Picture, foreground: np.ndarray, labels: np.ndarray) -> int:
        size = pixel_size or picture.pixel_size
        table = measure(labels, picture.channels, foreground, size)
        _write_files(run_folder.files(out, name, kinds), picture.image, labels, table, size)
        summary = summarise(table, labels.shape, size)
        runs = encode_nuclei(labels) if "rle" in kinds else None
        run_folder.complete(out, name, stamps[name], kinds, summary, table, runs)
        return len(table)

    def write_slide(name: str, slide: Found) -> int:
        saved = [kind for kind in kinds if kind in SLIDE_KINDS]
        if path := run_folder.files(out, name, saved).get("overlay"):
            formats.write_overlay(path, *preview(found[name], labels_file(name), channel, page))
        if "labels" not in saved:
            labels_file(name).unlink()
        summary = summarise(slide.table, slide.shape, slide.pixel_size)
        run_folder.complete(out, name, stamps[name], saved, summary, slide.table, None)
        return len(slide.table)

    def skip(name: str, error: Exception) -> None:
        skipped[name] = str(error).removeprefix(f"{found[name]}: ") or "not enough memory"
        run_folder.drop(out, name, kinds)  # of what the file was before
        warnings.warn(f"skipped {found[name]}: {skipped[name]}", stacklevel=3)

    def finish(name: str, written: Future) -> None:
        try:
            segmented[name] = written.result()
        except (ValueError, MemoryError) as error:
            skip(name, error)

    segmented, skipped = {}, {}
    bar = tqdm(total=len(found), initial=len(earlier), desc="segmenting", unit="image", disable=None)
    start, megapixels = time.perf_counter(), 0
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer, bar, _told(out):
        writing = deque()
        for name, reading in _ahead(reader, read, left):
            try:
                pixels, future = find(name, reading.result())
            except (ValueError, MemoryError) as error:
                skip(name, error)
            else:
                writing.append((name, future))
                megapixels += pixels / 1e6
            while len(writing) > AHEAD or (writing and writing[0][1].done()):
                finish(*writing.popleft())
            bar.update()
            bar.set_postfix_str(f"{megapixels / (time.perf_counter() - start):.2f} megapixels/s")
        for each in writing:
            finish(*each)
        run_folder.write_tables(out, kinds)
    return Report(segmented, earlier, skipped)


def _write_files(
    files: dict[str, Path],
    image: np.ndarray,
    labels: np.ndarray,
    table: pd.DataFrame,
    pixel_size: float | None,
) -> None:
    if path := files.get("labels"):
        formats.write_labels(path, labels, pixel_size)
    if path := files.get("overlay"):
        formats.write_overlay(path, image, labels)
    outlines = polygons(labels) if {"geojson", "roi"} & files.keys() else {}
    if path := files.get("geojson"):
        formats.write_geojson(path, outlines, table)
    if path := files.get("roi"):
        formats.write_rois(path, outlines)


def _ahead(pool: Executor, function: Callable, things: list) -> Iterator[tuple[object, Future]]:
    """Yield each thing and its future, while the pool works on the next ones."""
    waiting = deque()
    for thing in things:
        waiting.append((thing, pool.submit(function, thing)))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


@contextmanager
def _naming_warnings(path: Path) -> Iterator[None]:
    """Begin every warning with the file that it is about."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
    for each in told:
        warnings.warn(f"{path}: {each.message}", stacklevel=4)


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """Say where writing failed, and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"--out {out}: cannot be written to ({error.strerror or error}). What was complete is still "
            "there. Make room, or choose another folder; the same command goes on from there."
        ) from error


def _kinds(save: str | Iterable[str]) -> list[str]:
    names = [name.strip() for name in (save.split(",") if isinstance(save, str) else save)]
    if unknown := set(names) - {*KINDS, "all"}:
        raise ValueError(
            f"--save has {', '.join(sorted(unknown))}, expected any of {', '.join(KINDS)} "
            "separated by commas, or all"
        )
    return [kind for kind in KINDS if kind in names or "all" in names]


def _fingerprint(folder: Path) -> str:
    """Return 16 hex digits of a hash over the model's weights and settings."""
    digest = hashlib.sha256()
    for path in sorted({*folder.glob("*.keras"), folder / "settings.json"}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _stamp(path: Path, root: Path) -> dict:
    """Return what tells a file from another, or from what it was before."""
    about = path.stat()
    file = Path(os.path.abspath(path)).relative_to(root).as_posix()
    return {"file": file, "bytes": about.st_size, "modified_ns": about.st_mtime_ns}
