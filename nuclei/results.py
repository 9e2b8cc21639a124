"""A folder of results: what made them, which images are complete, and the tables of all.

``run.json`` says how the results were made, and is written first. What was found in an image goes to
``.done/NAME.json``, which is written last and so says that the image's files are complete. The tables are put
together from these records, whether they are of this run or of an earlier one.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nuclei.files import replacing, write_json

FILES = {"labels": "_labels.tif", "overlay": "_overlay.png", "geojson": ".geojson", "roi": "_rois.zip"}
"""What may be saved for each image, and what follows NAME in the file's name."""

TABLES = {"measurements": ("measurements.csv", "summary.csv"), "rle": ("rle.csv",)}
"""What may be saved for all images together."""


def begin(out: Path, about: dict, names: Iterable[str], overwrite: bool = False) -> None:
    """Prepare a folder for the results of a run, or of one that goes on.

    Parameters
    ----------
    out : Path
        Made where it is not there.
    about : dict
        What ``run.json`` will say. Results that were made otherwise are not mixed with those to come; only
        ``model`` (its path) and ``versions`` may differ.
    names : iterable of str
        The images to come.
    overwrite : bool
        Whether to delete all results of earlier runs first.

    Raises
    ------
    ValueError
        There are results made otherwise, or files that are no results but have their names.
    """
    path = out / "run.json"
    if path.exists():
        for left in out.rglob(".*.[0-9]*.tmp"):  # by a run that was killed
            left.unlink()
    if overwrite:
        _delete(out)
    elif path.exists():
        try:
            earlier = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(
                f"{path}: cannot be read ({error}); choose another --out, or --overwrite"
            ) from error
        compared = about.keys() - {"model", "versions"}
        if different := [key for key in about if key in compared and earlier.get(key) != about[key]]:
            raise ValueError(
                f"{out} holds results made otherwise: "
                + "; ".join(f"{key} was {earlier.get(key)}, now {about[key]}" for key in different)
                + ". Choose another --out, or --overwrite to delete them and start over."
            )
        return
    else:
        there = [path for name in names for path in files(out, name, FILES).values() if path.exists()]
        there += [out / name for each in TABLES.values() for name in each if (out / name).exists()]
        if there:
            raise ValueError(
                f"{there[0]}: is there already, and not by a run in {out} (no run.json). "
                "Choose another --out, or --overwrite."
            )
    write_json(path, about)


def files(out: Path, name: str, kinds: Iterable[str]) -> dict[str, Path]:
    """Return the file of each kind for the image `name`."""
    return {kind: out / f"{name}{FILES[kind]}" for kind in kinds if kind in FILES}


def is_complete(out: Path, name: str, stamp: dict, kinds: Iterable[str]) -> bool:
    """Return whether all results for an image are there, made from a file with this `stamp`."""
    path = _record(out, name)
    if not path.exists() or not all(file.exists() for file in files(out, name, kinds).values()):
        return False
    return json.loads(path.read_text())["stamp"] == stamp


def complete(out: Path, name: str, stamp: dict, summary: dict, nuclei: pd.DataFrame, runs: list[str]) -> None:
    """Keep what was found in an image, after its files were written.

    stamp : dict; tells the image's file from a changed one
    summary : dict; see `nuclei.measurements.summarise`
    nuclei : DataFrame, one row a nucleus; see `nuclei.measurements.measure`
    runs : list of str, one a nucleus; see `nuclei.rle.encode_nuclei`
    """
    record = {"stamp": stamp, "summary": summary, "nuclei": nuclei.to_dict("list"), "runs": runs}
    with replacing(_record(out, name)) as temporary:
        temporary.write_text(json.dumps(record))


def write_tables(out: Path, kinds: Iterable[str]) -> None:
    """Write the tables of all images that are complete, sorted by name."""
    if not (records := _records(out)):
        return
    measured = {name: {"image": [name] * len(r["runs"])} | r["nuclei"] for name, r in records.items()}
    columns = list(dict.fromkeys(column for each in measured.values() for column in each))
    tables = {
        "measurements.csv": pd.DataFrame(
            {
                c: [v for each in measured.values() for v in each.get(c, [None] * len(each["image"]))]
                for c in columns
            },
            dtype=object,  # whole numbers stay so where other images lack the column
        ),
        "summary.csv": pd.DataFrame(
            [{"image": name, "file": r["stamp"]["file"]} | r["summary"] for name, r in records.items()]
        ),
        "rle.csv": pd.DataFrame(
            [(name, text) for name, r in records.items() for text in r["runs"] or [""]],
            columns=["ImageId", "EncodedPixels"],
        ),
    }
    for kind in TABLES.keys() & set(kinds):
        for name in TABLES[kind]:
            with replacing(out / name) as temporary:
                tables[name].to_csv(temporary, index=False, lineterminator="\n")


def forget(out: Path, names: dict[str, str]) -> None:
    """Drop records of files that have another name now: `names` are by file, as in the stamps."""
    for name, record in _records(out).items():
        if names.get(record["stamp"]["file"], name) != name:
            _record(out, name).unlink()


def _record(out: Path, name: str) -> Path:
    return out / ".done" / f"{name}.json"


def _records(out: Path) -> dict[str, dict]:
    """Return what is known of each complete image, by name."""
    paths = sorted((out / ".done").rglob("*.json"))
    names = {p.relative_to(out / ".done").as_posix().removesuffix(".json"): p for p in paths}
    return {name: json.loads(path.read_text()) for name, path in names.items()}


def _delete(out: Path) -> None:
    """Delete all results, and nothing else."""
    for name in _records(out):
        for file in (*files(out, name, FILES).values(), _record(out, name)):
            file.unlink(missing_ok=True)
    for name in ("run.json", *TABLES["measurements"], *TABLES["rle"]):
        (out / name).unlink(missing_ok=True)
