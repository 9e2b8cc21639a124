"""Score a model on a folder of images whose nuclei are known, and keep what it found."""

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm
from tqdm.contrib.concurrent import thread_map

from nuclei.common import (
    checked_number,
    checked_path,
    model_folder,
    naming_output,
    output_folder,
    short_name,
    some,
    versions,
    write_json,
)
from nuclei.data.fields import field_numbers
from nuclei.data.labels import as_labels, check_labels, check_nuclei
from nuclei.data.layouts import ending_of, find_samples, plain_stem
from nuclei.data.run_lengths import read_rle_csv, read_table
from nuclei.data.samples import Sample, load_samples, open_files, read_labels
from nuclei.data.splits import is_seen, seen_in
from nuclei.evaluation.audit import audit as audit_labels
from nuclei.evaluation.audit import ranked
from nuclei.evaluation.report import compare, measures, measures_by_type, measures_with_interval
from nuclei.images.finding import ENDINGS, SUFFIXES, is_picture, is_review, warn_of_unread
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import open_image, read_numbers
from nuclei.output.formats import write_labels
from nuclei.output.tables import write_csv
from nuclei.output.written import Written
from nuclei.segmentation.inference import engine
from nuclei.segmentation.segmenter import Segmenter
from nuclei.workflows.file_warnings import naming_warnings, working_on


@naming_warnings()
def score(
    images: str | Path,
    truth: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    channel: int | None = None,
    page: int | None = None,
    audit: bool = False,
) -> dict:
    """Score a model on every image, and write ``scores.json`` and ``labels/<id>.tif`` to the folder `out`.

    images : a folder or zip in the official layout (``<id>/images/<id>.png``), or a folder of image files,
        each of which is named by its stem. Files whose stems end in `images.finding.RESULTS` are no images
    truth : `images` once more, where they lie beside their nuclei in a layout of `data.layouts`; or a
        solution CSV, see `data.run_lengths.read_rle_csv`; or another folder or zip in the official layout; or
        a folder of label images (see `data.labels.as_labels`) that are named as the images are, perhaps with
        one of `images.finding.ENDINGS`
    channel, page : see `nuclei.images.open_image`
    audit : whether to write ``audit.csv`` too: where the truth is probably wrong, see `evaluation.audit`

    Returns what ``scores.json`` holds: ``all``, each type in ``by_type``, and ``per_image`` have `measures`;
    ``ignored`` are images that the CSV marks so; they are left out.

    Raises FileNotFoundError or ValueError where anything is missing, broken or does not fit together, before
    anything is written. Files of an earlier run are replaced, unless a person changed them. Warns where the
    model was trained on images of the same names or pixels, see `is_seen`, or no image has a nucleus.
    """
    channel = checked_number("channel", channel, 0, whole=True)
    page = checked_number("page", page, 0, whole=True)
    folder, out = model_folder(model), output_folder(out)
    images, truth = (_checked_input(name, path, out) for name, path in (("images", images), ("truth", truth)))
    samples, ignored = read_samples(images, truth, channel, page)
    if not any(s.labels.any() for s in samples):
        warnings.warn(
            f"{truth}: no nucleus in any image; a score of 1 only says: none was found", stacklevel=2
        )
    segmenter = Segmenter.load(folder)
    trained_on = seen_in(segmenter.split)
    if seen := [s.id for s in samples if is_seen(s, trained_on)]:
        named = f"{model} was trained on images of the same names or pixels as {some(seen)}"
        warnings.warn(f"{named}: unless these are other images, the score is too good", stacklevel=2)
    results, suspicious = [], []
    with naming_output(out):
        files = [out / "labels" / f"{short_name(s.id)}.tif" for s in samples]
        written = _checked_output(out, files, audit)
        bar = tqdm(samples, "segmenting", unit="image", disable=None)
        for sample, file, field in zip(bar, files, field_numbers(samples), strict=True):
            with working_on(sample.id):
                found = segmenter.predict(sample.image)
            with written.replacing(file) as temporary:
                write_labels(temporary, found.labels)
            results.append(compare(sample, found.labels, field))
            if audit:
                suspicious.append(audit_labels(sample.id, sample.file_labels, found.labels, found.confidence))
        report = {
            "images": str(images),
            "truth": str(truth),
            "versions": versions() | {"engine": engine()},
            "ignored": ignored,
            "model": {"folder": str(model), "settings": segmenter.settings},
            "all": measures_with_interval(results),
            "by_type": measures_by_type(results),
            "per_image": [{"id": r.id, "type": r.type} | measures([r]) for r in results],
        }
        with written.replacing(out / "scores.json") as temporary:
            write_json(temporary, report)
        if audit:
            with written.replacing(out / "audit.csv") as temporary:
                write_csv(temporary, ranked(suspicious))
    return report


def _checked_input(name: str, path: str | Path, out: Path) -> Path:
    """Return `images` or `truth`, which must exist, and not be written over by the results in `out`."""
    path = checked_path(name, path)
    if not path.exists():
        raise FileNotFoundError(f"`{name}` {path}: no such file or folder; check the path")
    for written in (out / "labels", out / "scores.json"):
        if path.resolve() in (written.resolve(), *written.resolve().parents):
            raise ValueError(f"`out` {out}: {written} would be written into `{name}` {path}; choose another")
    return path


def _checked_output(out: Path, labels: list[Path], audit: bool) -> Written:
    """Return the record of what is written to `out`, after a check that nothing else will be replaced.

    Older scores, and what an older audit listed, are deleted: they must not stay beside new labels.
    """
    written = Written(out)
    audited = out / "audit.csv"
    older = [out / "scores.json", *([audited] if audit or audited in written else [])]
    if foreign := written.changed([*older, *labels]):
        raise ValueError(
            f"{foreign[0]}: is there already, and was not written by an earlier run, or changed after it; "
            "choose another folder for `out`"
        )
    for file in older:
        file.unlink(missing_ok=True)
    return written


def read_samples(
    images: Path, truth: Path, channel: int | None = None, page: int | None = None
) -> tuple[list[Sample], list[str]]:
    """Return the images that have a truth, sorted by id, and the ids of those that it marks as ignored."""
    if images.resolve() == truth.resolve():
        return load_samples(images.resolve(), channel, page), []
    names, content = open_files(images)
    warn_of_unread(names, images)
    pictures = _pictures(names)
    named = [(p.parts[-3], p) for p in pictures if len(p.parts) > 2 and p.parent.name == "images"]
    named = named or [(plain_stem(p), p) for p in pictures if len(p.parts) == 1 and not ending_of(p)]
    paths = _by_id(named, images, "<id>/images/<id>.png or files")

    def read(id: str) -> np.ndarray:
        with working_on(name := f"{images}/{paths[id]}"):
            return as_rgb8(open_image(io.BytesIO(content(str(paths[id]))), channel, page, name).pixels())

    # a folder may hold thousands of ignored images: they are checked, but not kept in memory
    checking = tqdm(paths, "checking images", unit="image", disable=None, leave=False)
    shapes = {id: read(id).shape[:2] for id in checking}
    labels, marked = read_truth(truth, shapes, page)
    ignored = sorted(marked & set(paths))
    if missing := sorted(set(paths) - set(labels) - marked):
        raise ValueError(
            f"{truth}: no truth for {some(missing)} in {images}; add it, or move the images elsewhere"
        )
    if not labels:
        raise ValueError(f"{truth}: all rows are marked as Ignored, expected at least one image to score")
    for id in labels:
        check_labels(labels[id], f"{truth}: the labels of {id}", shapes[id])
    return [Sample(id, read(id), labels[id]) for id in sorted(labels)], ignored


def read_truth(
    truth: Path, shapes: dict[str, tuple[int, int]], page: int | None = None
) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return (H, W) integer labels by id, and the ids that a CSV has in ignored rows alone.

    `shapes` are the images' (height, width) by id, `page` is theirs. Images beside the truth are not read.
    """
    if truth.is_file() and truth.suffix.lower() != ".zip":
        labels = read_rle_csv(truth, shapes)
        for id, each in labels.items():
            check_nuclei(each, f"{truth}: the labels of {id}")
        return labels, set(read_table(truth)["ImageId"]) - set(labels)
    names, content = open_files(truth)
    warn_of_unread(names, truth)
    found: Mapping[str, object]
    if any(PurePosixPath(name).parent.name == "images" for name in names):
        found = files = find_samples(names, truth)

        def read(id: str) -> np.ndarray:
            return read_labels(content, files[id], shapes[id], page)

    else:
        pictures = [path for path in _pictures(names) if len(path.parts) == 1]
        with_ending = [path for path in pictures if ending_of(path) in ENDINGS]  # maybe beside their images
        named = [(plain_stem(path, ending_of(path)), path) for path in with_ending or pictures]
        found = paths = _by_id(named, truth, "label images directly in it")

        def read(id: str) -> np.ndarray:
            name = f"{truth}/{paths[id]}"
            return as_labels(read_numbers(content(str(paths[id])), name), name)

    if unknown := sorted(found.keys() - shapes.keys()):
        listed = f"{some(unknown)} not among the images to score"
        raise ValueError(f"{truth}: {listed}; add them, or move their labels elsewhere")
    bar = {"desc": "reading labels", "unit": "image", "disable": None, "leave": False}
    return dict(zip(found, thread_map(read, found, **bar), strict=True)), set()


def _pictures(names: Iterable[str]) -> list[PurePosixPath]:
    """Return the paths of all pictures in a folder or zip, sorted."""
    paths = list(map(PurePosixPath, sorted(names)))
    return [path for path in paths if is_picture(path) and not is_review(path, paths.__contains__)]


def _by_id(named: list[tuple[str, PurePosixPath]], source: Path, expected: str) -> dict[str, PurePosixPath]:
    """Return pictures by id; FileNotFoundError without any, ValueError where several have one id."""
    if not named:
        endings = f"that end in {', '.join(SUFFIXES)}"
        raise FileNotFoundError(f"{source}: no pictures found, expected {expected} {endings}; check the path")
    id, count = Counter(id for id, _ in named).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{source}: more than one picture for {id}, expected one; rename one or move it elsewhere"
        )
    return dict(named)
