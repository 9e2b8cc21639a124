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

from tqdm.auto import tqdm

from nuclei.common import check_number, model_folder, naming_output, output_folder, quiet
from nuclei.images.finding import find_images
from nuclei.images.reading import WHOLE, Image, open_image
from nuclei.output.formats import DEFAULT, FORMATS, Result, chosen
from nuclei.output.measurements import measure
from nuclei.output.run_folder import RunFolder, report_changed
from nuclei.segmentation.prediction import Prediction
from nuclei.workflows.large_images import Found, preview, segment_slide

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
    save: str | Iterable[str] = DEFAULT,
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
        Names of `nuclei.output.formats.FORMATS`, or ``all``. In one text, they are separated by commas.
    channel, page : int, optional
        Which channel and page of a file to look at, from 0. All channels are measured.
    pixel_size : float, optional
        Micrometres, in place of what the files tell.
    scale : float or "auto"
    augment : bool
        See `nuclei.segmentation.segmenter.Segmenter.predict`.
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
    A TIFF image of more than `images.tiff.LARGE` pixels is looked at tile by tile, so that its size does
    not matter: see `nuclei.workflows.large_images.segment_slide`. Its overlay is reduced.
    """
    kinds = chosen(save)
    check_number("pixel_size", pixel_size, 0.001, 1000)
    check_number("channel", channel, 0, whole=True)
    check_number("page", page, 0, whole=True)
    if scale != "auto":
        check_number("scale", scale, 1 / 64, 64)
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
    with naming_output(out):
        results = RunFolder(out)
        results.begin(about, found, overwrite)
        results.forget({stamp["file"]: name for name, stamp in stamps.items()})
        for name, source in results.sources().items():
            if name in stamps and source != stamps[name]["file"] and (root / source).exists():
                raise ValueError(
                    f"{out} holds results of {source} under the name {name}, as {stamps[name]['file']} would "
                    "have. Segment both in one run, or choose another folder for `out`."
                )
        changed = {name: files for name in found if (files := results.changed(name))}
        report_changed(file for files in changed.values() for file in files)
        earlier = [name for name in found if name in changed or results.is_complete(name, stamps[name])]
    left = [name for name in found if name not in set(earlier)]
    options = {"scale": scale, "augment": augment}

    def read(name: str) -> Image:
        try:
            return open_image(found[name], channel, page)
        except OSError as error:  # of the image; any that comes later is about the results
            raise ValueError(str(error)) from error

    def find(name: str, picture: Image) -> tuple[int, Future]:
        """Find the nuclei of an image; return its pixels, and what writes its files."""
        size = (pixel_size, pixel_size) if pixel_size else picture.pixel_size
        if picture.is_large:
            if left_out := [kind for kind in kinds if not FORMATS[kind].large]:
                warnings.warn(f"{found[name]}: too large for {', '.join(left_out)}", stacklevel=3)
            with _naming_warnings(found[name]):
                slide = segment_slide(
                    picture, segmenter, results.unfinished(name), pixel_size=size, **options
                )
            return math.prod(slide.shape), writer.submit(write_slide, name, picture, slide)
        with _naming_warnings(found[name]):
            predicted = segmenter.predict(picture.pixels(), **options)
        return predicted.labels.size, writer.submit(write, name, picture, size, predicted)

    def write(name: str, picture: Image, size: tuple[float, float] | None, predicted: Prediction) -> int:
        labels = predicted.labels
        table = measure(labels, picture[WHOLE], predicted.mean_foreground, size)
        result = Result(name, stamps[name]["file"], picture.pixels(), labels, table, size)
        results.start(name, stamps[name])
        results.complete(stamps[name], kinds, result)
        return len(table)

    def write_slide(name: str, picture: Image, slide: Found) -> int:
        saved = [kind for kind in kinds if FORMATS[kind].large]
        reduced = preview(picture, results.unfinished(name))
        picture.close()
        file, size = stamps[name]["file"], slide.pixel_size
        result = Result(name, file, *reduced, slide.table, size, shape=slide.shape)
        results.start(name, stamps[name])
        results.complete(stamps[name], saved, result)
        return len(slide.table)

    def skip(name: str, error: Exception) -> None:
        skipped[name] = str(error).removeprefix(f"{found[name]}: ") or "not enough memory"
        if results.has_results(name):
            skipped[name] += "; its earlier results are kept"
        else:
            results.drop(name, kinds)
        warnings.warn(f"skipped {found[name]}: {skipped[name]}", stacklevel=3)

    def finish(name: str, written: Future) -> None:
        try:
            segmented[name] = written.result()
        except (ValueError, MemoryError) as error:
            skip(name, error)

    segmented, skipped = {}, {}
    bar = tqdm(total=len(found), initial=len(earlier), desc="segmenting", unit="image", disable=None)
    start, megapixels = time.perf_counter(), 0
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer, bar, naming_output(out):
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
        results.write_tables(kinds)
    return Report(segmented, earlier, skipped)


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
