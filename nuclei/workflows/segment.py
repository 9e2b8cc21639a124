"""From any images to files with their nuclei: some images at a time, resumed where it stopped."""

import hashlib
import math
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from nuclei.common import (
    checked_number,
    delete,
    model_folder,
    naming_output,
    output_folder,
    short_name,
    versions,
)
from nuclei.evaluation import calibration
from nuclei.images.file_warnings import naming_warnings, working_on
from nuclei.images.finding import find_images, is_address
from nuclei.images.reading import WHOLE, Image, open_image
from nuclei.output.formats import DEFAULT, FORMATS, Result, chosen_formats
from nuclei.output.measurements import measure
from nuclei.output.run_folder import RunFolder, locked
from nuclei.segmentation import strangeness
from nuclei.segmentation.inference import engine
from nuclei.segmentation.segmenter import AT_A_TIME, Prediction, Segmenter
from nuclei.segmentation.stitching import Renumbered
from nuclei.workflows.large_images import LargePrediction, Measured, Tiles, segment_large, segment_tile
from nuclei.workflows.pixel_limit import PixelLimit

if TYPE_CHECKING:  # slow to import
    from nuclei.workflows.cluster import Workers

AHEAD = 1000
"""Images that are handed out to threads or workers at a time: a slow one must not keep them waiting."""


class Report(NamedTuple):
    """The outcome of a run, by the names of images."""

    segmented: dict[str, int]  # the number of nuclei
    earlier: list[str]  # complete before this run, or kept because a person changed their files
    skipped: dict[str, str]  # the reason
    warned: list[str]  # of those segmented or complete earlier: their ``warning`` in ``summary.csv``
    others: list[str]  # of earlier runs, not among the images of this one; the tables hold them too


def segment(
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    model: str | Path,
    *,
    save: str | Iterable[str] = DEFAULT,
    channel: int | None = None,
    page: int | None = None,
    pixel_size: float | None = None,
    scale: float | str | None = "auto",
    augment: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    dask: str | None = None,
) -> Report:
    """Find the nuclei of images, and write them to a folder.

    images : files, folders, patterns or addresses; `images.finding.find_images` also says how they are named
    out : the files of an image begin with its name, ``NAME_labels.tif`` for example; tables hold all images
    model : see `nuclei.common.model_folder`
    save : see `nuclei.output.formats.chosen_formats`
    channel, page : those of each file that show the nuclei, from 0. All channels are measured
    pixel_size : micrometres, instead of the file's own value
    scale, augment : see `nuclei.segmentation.segmenter.Segmenter.predict`; None is "auto"
    overwrite : whether to delete the results of earlier runs first. Otherwise images that are complete are
        skipped, and those of which a person changed a file
    workers : processes that work on the images at the same time
    dask : the address of a dask scheduler, whose workers do; see `nuclei.workflows.cluster`

    Formats that earlier results lack are written from their label images and measurements, where there are.

    Raises FileNotFoundError, TypeError or ValueError where a parameter is wrong, or the folder has results of
    other parameters or files that no run wrote; OSError where the folder cannot be written to. Warns of
    images that cannot be used: they are skipped, and earlier results stay; of images too large for some
    formats; and of files and tables that a person changed: they are kept.

    A TIFF or OME-Zarr of more than `images.tiff.LARGE` pixels is segmented tile by tile, in memory that does
    not grow with it: see `nuclei.workflows.large_images.segment_large`. Its overlay is reduced.
    """
    formats = chosen_formats(save)
    pixel_size = checked_number("pixel_size", pixel_size, 0.001, 1000)
    channel = checked_number("channel", channel, 0, whole=True)
    page = checked_number("page", page, 0, whole=True)
    workers = checked_number("workers", workers, 1, whole=True)
    if workers and dask is not None:
        raise ValueError("`workers` and `dask` are both given, expected one: new processes, or a scheduler")
    if (scale := "auto" if scale is None else scale) != "auto":
        scale = checked_number("scale", scale, 1 / 64, 64)
    for name, switch in (("augment", augment), ("overwrite", overwrite)):
        if not isinstance(switch, bool):
            raise TypeError(f"`{name}` is {switch!r}, expected True or False")
    folder, out = model_folder(model), output_folder(out)
    root, found = find_images(images)
    segmenter = Segmenter.load(folder, min(AT_A_TIME, len(found)))
    segmenter.check_scale(scale)
    reading: dict = {"channel": channel, "page": page}
    predicting = {"scale": scale, "augment": augment}
    about: dict = {"images": str(root), "model": str(model), "fingerprint": fingerprint(folder)}
    about |= {"thresholds": segmenter.settings["thresholds"], "save": formats, **reading}
    about |= {"pixel_size": pixel_size, **predicting, "versions": versions() | {"engine": engine()}}
    files = {short_name(name): path for name, path in found.items()}
    stamps = {name: _stamp(path, root) for name, path in files.items()}
    size = (pixel_size, pixel_size) if pixel_size else None
    connection: AbstractContextManager[Workers | None] = nullcontext()
    if workers or dask is not None:
        from nuclei.workflows.cluster import connected  # slow to import, and seldom needed

        connection = connected(workers, dask, str(model))
    with connection as cluster_workers, naming_output(out), locked(out):
        results = RunFolder(out)
        results.begin(about, stamps, overwrite)
        kept = results.kept(stamps, formats)
        jobs = [
            Job(name, files[name], stamp, *results.missing(name, stamp, formats))
            for name, stamp in stamps.items()
            if name not in kept
        ]
        run = Run(results, segmenter, reading, predicting, size, cluster_workers)
        _process(run, [job for job in jobs if job.formats], len(files))
        return _finish(run, formats, files, root)


class Job(NamedTuple):
    """An image to be segmented."""

    name: str
    path: str | Path  # or an address
    stamp: dict  # distinguishes the file from others, and from earlier versions of it
    formats: list[str]  # what is to be written
    is_new: bool  # whether its nuclei are to be found anew; otherwise formats are added to what is on disk


@dataclass
class Run:
    """How images are segmented, and what has been done."""

    results: RunFolder
    segmenter: Segmenter
    reading: dict  # keywords of `open_image`
    predicting: dict  # keywords of `Segmenter.predict`
    pixel_size: tuple[float, float] | None  # (y, x) in micrometres; None for the file's own
    workers: "Workers | None" = None  # of a cluster; None where everything is done here
    pixels: int = 0  # of the images processed
    limit: PixelLimit = field(default_factory=PixelLimit)  # of the images being predicted
    segmented: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def process(self, job: Job, large: bool = False) -> int | None:
        """Read an image, find its nuclei, write its files; return the number of nuclei.

        Returns None where the image is left for the end, as it is large and not to be processed as `large`.
        Raises ValueError where it cannot be used.
        """
        with working_on(job.path) as warned, self.open(job.path) as image:
            if image.is_large and not large:
                return None
            if left_out := [key for key in job.formats if image.is_large and not FORMATS[key].large]:
                warnings.warn(f"too large for {', '.join(left_out)}", stacklevel=2)
            if job.is_new:
                predicted = self.predict(job, image)
                for message in warned:
                    image.add_note(message)
                result = self.new_result(job, image, predicted)
            else:
                result = self.earlier_result(job, image)
            self.results.complete(job.stamp, job.formats, result, job.is_new)
            self.pixels += math.prod(image.shape)
            return len(result.table)

    def open(self, path: str | Path) -> Image:
        try:
            image = open_image(path, **self.reading)
        except OSError as error:  # of the image; any that comes later is about the results
            raise ValueError(str(error)) from error
        image.pixel_size = self.pixel_size or image.pixel_size
        return image

    def predict(self, job: Job, image: Image) -> Prediction | LargePrediction:
        if not image.is_large:
            with self.limit.room_for(math.prod(image.shape)):
                return self.segmenter.predict(image.pixels(), **self.predicting)
        store = self.results.unfinished(job.name)

        def segmented(k: int, tiles: Tiles) -> Measured:
            outer = tiles.tiling.tile(k).outer
            with self.limit.room_for(math.prod(span.stop - span.start for span in outer)):
                return segment_tile(k, tiles, image, self.segmenter)

        def in_threads(tiles: Tiles, numbers: list[int]) -> Iterator[Measured]:
            return pool.map(partial(segmented, tiles=tiles), numbers)

        run = partial(self.workers.segment_tiles, self, job) if self.workers else in_threads
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            try:
                return segment_large(image, self.segmenter, store, run, **self.predicting)
            except BaseException:  # Ctrl-C too
                pool.shutdown(cancel_futures=True)  # tiles that are begun still write
                delete(store)
                raise

    def new_result(self, job: Job, image: Image, predicted: Prediction | LargePrediction) -> Result:
        if isinstance(predicted, LargePrediction):
            table = predicted.table
        else:
            table = measure(predicted.labels, image[WHOLE], predicted.confidence, image.pixel_size)
        found = [strangeness.warning(predicted.strangeness, len(table))]
        if self.segmenter.settings.get("calibration"):
            found.append(calibration.warning(table["confidence"]))
        return Result(
            job.name,
            job.stamp["file"],
            image,
            predicted.labels,
            table,
            scales=predicted.scales,
            diameter=predicted.diameter or None,
            strangeness=predicted.strangeness,
            warning="; ".join(filter(None, found)),
        )

    def earlier_result(self, job: Job, image: Image) -> Result:
        """Return the nuclei whose labels and measurements are on disk."""
        stored, table = open_image(self.results.labels(job.name)), self.results.table(job.name)
        numbers = np.arange(1, len(table) + 1)
        on_disk = Renumbered(stored.pixels, image.shape, numbers) if image.is_large else stored.pixels()
        return Result(job.name, job.stamp["file"], image, on_disk, table)

    def skip(self, job: Job, error: Exception) -> None:
        """Leave out an image that cannot be used. Its earlier results stay, unfinished ones are deleted."""
        reason = str(error).removeprefix(f"{job.path}: ") or "not enough memory"
        if self.results.record(job.name):
            reason += "; its earlier results are kept"
        else:
            self.results.drop(job.name)
        self.skipped[job.name] = reason
        warnings.warn(f"skipped {job.path}: {reason}", stacklevel=3)


def _process(run: Run, jobs: list[Job], total: int) -> None:
    """Process images by threads or workers, and large ones at the end, one by one.

    The progress bar counts all images, `total`, also those that need no job.
    """
    working: deque = deque()  # of functions that wait for an outcome
    large: list[Job] = []
    bar = tqdm(total=total, initial=total - len(jobs), desc="segmenting", unit="image", disable=None)
    pool = ThreadPoolExecutor(AT_A_TIME)
    start = time.perf_counter()

    def submit(job: Job):
        return run.workers.submit(run, job) if run.workers else pool.submit(run.process, job).result

    def finish(job: Job, process: Callable[[], int | None]) -> None:
        try:
            number = process()
            if number is None:
                return large.append(job)
            if job.is_new:
                run.segmented[job.name] = number
        except (ValueError, MemoryError) as error:
            run.skip(job, error)
        rate = run.pixels / 1e6 / (time.perf_counter() - start)
        workers = f", {len(run.workers.client.nthreads())} workers" if run.workers else ""
        bar.set_postfix_str(f"{rate:.2f} megapixels/s{workers}", refresh=False)
        bar.update()

    with naming_warnings(), bar:
        try:
            for k, job in enumerate(jobs):
                working += map(submit, jobs[k + len(working) : k + AHEAD])
                finish(job, working.popleft())
            for job in large:
                finish(job, partial(run.process, job, large=True))
        finally:  # where an error ends the run, some jobs are left
            run.limit.stop()
            pool.shutdown(cancel_futures=True)


def _finish(run: Run, formats: list[str], files: dict[str, str | Path], root: Path) -> Report:
    """Write what all images have together, also those of earlier runs; return the outcome for `files`."""
    results = run.results
    results.clear_temporary()  # of workers that died
    usable = {name: path for name, path in files.items() if name not in run.skipped}
    others = {name: stamp for name, stamp in results.stamps().items() if name not in files}
    there = {name: root / stamp["file"] for name, stamp in others.items() if _is_unchanged(stamp, root)}
    results.finish(formats, {name: partial(run.open, path) for name, path in (usable | there).items()})
    earlier = sorted(usable.keys() - run.segmented)
    return Report(run.segmented, earlier, run.skipped, results.warned(usable), sorted(others))


def fingerprint(folder: Path) -> str:
    """Return 16 hex digits of a hash over the model's weights and settings."""
    digest = hashlib.sha256()
    for path in sorted({*folder.glob("*.keras"), *folder.glob("*.npz"), folder / "settings.json"}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _stamp(place: str | Path, root: Path) -> dict:
    """Return what distinguishes a file from another, and from earlier versions of it; an address stays."""
    if is_address(place):
        return {"file": str(place)}
    about, file = Path(place).stat(), Path(os.path.abspath(place)).relative_to(root).as_posix()
    return {"file": file, "bytes": about.st_size, "modified_ns": about.st_mtime_ns}


def _is_unchanged(stamp: dict, root: Path) -> bool:
    """Return whether the file of a stamp is still there, and the same."""
    return (path := root / stamp["file"]).exists() and _stamp(path, root) == stamp
