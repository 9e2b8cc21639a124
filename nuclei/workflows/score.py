"""Score a model on a folder of images whose nuclei are known, and keep what it found."""

import warnings
from pathlib import Path

from tqdm.auto import tqdm

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
from nuclei.data.samples import load_samples
from nuclei.data.splits import is_seen, seen_in
from nuclei.data.truth import read_samples
from nuclei.evaluation.audit import audit as audit_labels
from nuclei.evaluation.audit import ranked
from nuclei.evaluation.report import compare, measures, measures_by_type, measures_with_interval
from nuclei.images.file_warnings import naming_warnings, working_on
from nuclei.output.formats import write_labels
from nuclei.output.tables import write_csv
from nuclei.output.written import Written
from nuclei.segmentation.inference import engine
from nuclei.segmentation.segmenter import Segmenter


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
    ignored: list[str] = []
    if images.resolve() == truth.resolve():
        samples = load_samples(images.resolve(), channel, page)
    else:
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
    with naming_output(out), naming_warnings():
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
