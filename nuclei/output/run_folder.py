"""A folder of results: what made them, which images are complete, and the tables of all.

``run.json`` says how the results were made, and is written first. What was found in an image goes to
``.done/NAME.csv``, a row a nucleus, and ``.done/NAME.json``, which is written last and so says that the
image's files are complete. The tables are put together from these records, whether they are of this run or of
an earlier one; row by row, as an image may have a million nuclei.
"""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pandas as pd

from nuclei.common import replacing, write_json

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
    if overwrite:
        _delete(out)
    elif path.exists():
        try:
            earlier = dict(json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
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
        for left in out.rglob(".*.tmp"):
            process = left.suffixes[-2:][0].removeprefix(".")  # see `nuclei.common.replacing`
            if process.isdecimal() and not _is_running(int(process)):  # by a run that was killed
                left.unlink(missing_ok=True)
        return
    else:
        there = [path for name in names for path in files(out, name, FILES).values() if path.exists()]
        there += [out / name for each in TABLES.values() for name in each if (out / name).exists()]
        if there:
            raise ValueError(
                f"{there[0]}: is there already, and not by a run in {out} (no run.json). "
                "Choose another --out, or --overwrite."
            )
        shutil.rmtree(out / ".done", ignore_errors=True)  # records of a run that nothing tells of
    write_json(path, about)


def _is_running(process: int) -> bool:
    """Return whether there is such a process; always True on Windows, where asking would end it."""
    try:
        return os.name == "nt" or os.kill(process, 0) is None
    except ProcessLookupError:
        return False
    except PermissionError:
        return True


def files(out: Path, name: str, kinds: Iterable[str]) -> dict[str, Path]:
    """Return the file of each kind for the image `name`."""
    return {kind: out / f"{name}{FILES[kind]}" for kind in kinds if kind in FILES}


def is_complete(out: Path, name: str, stamp: dict) -> bool:
    """Return whether all results for an image are there, made from a file with this `stamp`."""
    path, table = _record(out, name)
    record = _read(path) if table.exists() else None
    if not record or record["stamp"] != stamp:
        return False
    return all(p.exists() for p in files(out, name, record["kinds"]).values())


def complete(
    out: Path,
    name: str,
    stamp: dict,
    kinds: list[str],
    summary: dict,
    nuclei: pd.DataFrame,
    runs: list[str] | None,
) -> None:
    """Keep what was found in an image, after its files were written.

    stamp : dict; tells the image's file from a changed one
    kinds : list of str; what was saved
    summary : dict; see `nuclei.output.measurements.summarise`
    nuclei : DataFrame, one row a nucleus; see `nuclei.output.measurements.measure`
    runs : list of str, one a nucleus, see `data.run_lengths.encode_nuclei`; None leaves it out of ``rle.csv``
    """
    path, table = _record(out, name)
    with replacing(table) as temporary:
        nuclei.to_csv(temporary, index=False, lineterminator="\n")
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"stamp": stamp, "kinds": kinds, "summary": summary, "runs": runs}))


def write_tables(out: Path, kinds: Iterable[str]) -> None:
    """Write the tables of all images that are complete, sorted by name; delete them where none is."""
    names = [name for kind in TABLES.keys() & set(kinds) for name in TABLES[kind]]
    if not (records := _records(out)):
        for name in names:
            (out / name).unlink(missing_ok=True)  # of images that cannot be used any more
        return
    columns = dict.fromkeys(column for name in records for column in _columns(out, name))
    tables = {
        "measurements.csv": (
            ["image", *columns],
            ({"image": name} | row for name in records for row in _nuclei(out, name)),
        ),
        "summary.csv": (
            ["image", "file", *next(iter(records.values()))["summary"]],
            ({"image": name, "file": r["stamp"]["file"]} | r["summary"] for name, r in records.items()),
        ),
        "rle.csv": (
            ["ImageId", "EncodedPixels"],
            (
                {"ImageId": name, "EncodedPixels": text}
                for name, r in records.items()
                if r["runs"] is not None
                for text in r["runs"] or [""]
            ),
        ),
    }
    for name in names:
        columns, rows = tables[name]
        with replacing(out / name) as path, _open_csv(path, "w") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def forget(out: Path, names: dict[str, str]) -> None:
    """Delete the results of files that have another name now: `names` are by file, as in the stamps."""
    for name, record in _records(out).items():
        if names.get(record["stamp"]["file"], name) != name:
            drop(out, name, record["kinds"])


def sources(out: Path) -> dict[str, str]:
    """Return the file that each complete image was in, by the image's name."""
    return {name: record["stamp"]["file"] for name, record in _records(out).items()}


def drop(out: Path, name: str, kinds: Iterable[str]) -> None:
    """Delete an image's files of these kinds, and the record that it is complete."""
    for path in (*files(out, name, kinds).values(), *_record(out, name)):
        path.unlink(missing_ok=True)


def _record(out: Path, name: str) -> tuple[Path, Path]:
    """Return where the record of an image is, and the table of its nuclei."""
    return out / ".done" / f"{name}.json", out / ".done" / f"{name}.csv"


def _columns(out: Path, name: str) -> list[str]:
    with _open_csv(_record(out, name)[1]) as file:
        return next(csv.reader(file))


def _nuclei(out: Path, name: str) -> Iterator[dict[str, str]]:
    with _open_csv(_record(out, name)[1]) as file:
        yield from csv.DictReader(file)


def _open_csv(path: Path, mode: str = "r") -> IO[str]:
    # a file's name need not be UTF-8: it is written as the disk has it
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")


def _records(out: Path) -> dict[str, dict]:
    """Return what is known of each complete image, by name."""
    paths = sorted((out / ".done").rglob("*.json"))
    names = {p.relative_to(out / ".done").as_posix().removesuffix(".json"): p for p in paths}
    return {name: record for name, path in names.items() if (record := _read(path))}


def _read(path: Path) -> dict | None:
    """Return what a JSON file holds; None where it is not there, or cut short."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(path.read_text())


def _delete(out: Path) -> None:
    """Delete all results that `out` tells of, and nothing else."""
    for name, record in _records(out).items():
        drop(out, name, record["kinds"])
    kinds = (_read(out / "run.json") or {}).get("save", ())
    for name in ("run.json", *(table for kind in kinds for table in TABLES.get(kind, ()))):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / ".done", ignore_errors=True)
