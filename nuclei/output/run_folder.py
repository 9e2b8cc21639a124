"""A folder of results: what made them, which images are complete, and the tables of all.

``run.json`` says how the results were made, and is written first. For each image there is a record,
``.done/NAME.json``, with the checksums of its files: it is written without them before the files are, and
with them when all is complete. Beside it are the image's rows of each table, which are joined at the end,
row by row, as an image may have a million nuclei.

What a person changed since it was written is known by the checksums. It is kept; only `begin` with
``overwrite`` replaces it.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

import psutil

from nuclei.common import replacing, some, write_json
from nuclei.output.formats import FORMATS, Result
from nuclei.output.tables import join_csv, write_csv


class RunFolder:
    """The results of a run, or of several with the same parameters.

    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self._done = path / ".done"
        self._hashes = self._done / ".tables"

    def begin(self, about: Mapping, stamps: Mapping[str, dict], overwrite: bool = False) -> None:
        """Prepare the folder for the results of a run, or to resume one.

        about : mapping; the content of ``run.json``; of earlier results only ``model`` (its path) and
            ``versions`` may differ
        stamps : mapping of dict; the images to come by name, with the path of each as ``file``
        overwrite : bool; whether to delete the results of all earlier runs first, changed or not

        Results of files that have another name now are deleted. Raises ValueError where there are results of
        other parameters, or of another file of one name, or files that no run wrote but that have the names
        of results; `overwrite` does not replace these.
        """
        started = (self.path / "run.json").exists()
        if foreign := self._foreign(stamps, about["save"], started):
            raise ValueError(
                f"{foreign}: is there already, and was not written by a run in {self.path}. Choose another "
                "folder for `out`, or give the file another name."
            )
        if started and not overwrite:
            self._compare(about)
            self._clear_temporary()
            self._rename(stamps, Path(about["images"]))
            return
        if overwrite:
            self._delete()
        shutil.rmtree(self._done, ignore_errors=True)  # records of a run that nothing describes
        write_json(self.path / "run.json", dict(about))

    def kept(self, stamps: Mapping[str, dict]) -> list[str]:
        """Return the images that need nothing done: complete ones, and those of which a person changed files.

        Warns of the latter.
        """
        changed = {name: files for name in stamps if (files := self._changed(name))}
        if changed:
            warnings.warn(
                f"kept {some(chain(*changed.values()))}: changed after being written. The tables hold what "
                "was measured before; `overwrite` replaces all results.",
                stacklevel=3,
            )
        return [name for name in stamps if name in changed or self._is_complete(name, stamps[name])]

    def files(self, name: str, formats: Iterable[str]) -> dict[str, Path]:
        """Return the file of each format for the image `name`; formats that are tables are left out."""
        return {key: self.path / f"{name}{FORMATS[key].ending}" for key in formats if FORMATS[key].ending}

    def has_results(self, name: str) -> bool:
        """Return whether the image was complete once."""
        return bool(self._record(name))

    def start(self, name: str, stamp: dict) -> None:
        """Announce that the files of an image will be written; `stamp` identifies the image's own file."""
        self._write_record(name, {"stamp": stamp})

    def unfinished(self, name: str) -> Path:
        """Return where the labels of a large image are written tile by tile, until `complete` moves them."""
        return self._done / f"{name}.labels.tif"

    def complete(self, stamp: dict, formats: Iterable[str], result: Result) -> None:
        """Write an image's files in these formats, after `start`, and then the record that it is complete."""
        name, formats = result.name, list(formats)
        files, unfinished = self.files(name, formats), self.unfinished(name)
        for key, path in files.items():
            if key == "labels" and unfinished.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.replace(path)
            elif write := FORMATS[key].write:
                with replacing(path) as temporary:
                    write(temporary, result)
        unfinished.unlink(missing_ok=True)
        for key in formats:
            for table, rows in FORMATS[key].tables.items():
                with replacing(self._rows(name, table)) as temporary:
                    write_csv(temporary, rows(result))
        known = {path.relative_to(self.path).as_posix(): _checksum(path) for path in files.values()}
        self._write_record(name, {"stamp": stamp, "files": known})

    def write_tables(self, formats: Iterable[str]) -> None:
        """Write the tables of all complete images, sorted by name; delete them where no image is.

        Warns of a table that a person changed. It is kept.
        """
        names = list(self._records())
        for table in _tables(formats):
            path, hashes = self.path / table, _read(self._hashes)
            parts = [part for name in names if (part := self._rows(name, table)).exists()]
            if path.exists() and _hash(path) not in hashes.get(table, ()):
                warnings.warn(
                    f"{path} was changed after it was written, and is kept; rename it and repeat the "
                    "command to get the table of this run",
                    stacklevel=2,
                )
            elif parts:
                with replacing(path) as temporary:
                    join_csv(parts, temporary)
                    # the last two: a run that is stopped here leaves one of them
                    hashes[table] = [*hashes.get(table, [])[-1:], _hash(temporary)]
                    write_json(self._hashes, hashes)
            else:
                path.unlink(missing_ok=True)

    def drop(self, name: str, formats: Iterable[str] = ()) -> None:
        """Delete an image's files, those of its record and of these formats, and the record."""
        files = [self.path / file for file in self._record(name).get("files", ())]
        files += [*self.files(name, formats).values(), *(self._rows(name, each) for each in _tables(FORMATS))]
        for path in (*files, self.unfinished(name), self._done / f"{name}.json"):
            path.unlink(missing_ok=True)

    def _is_complete(self, name: str, stamp: dict) -> bool:
        """Return whether all results of an image are there, made from a file with this `stamp`."""
        record = self._record(name)
        return record.get("stamp") == stamp and all((self.path / file).exists() for file in record["files"])

    def _changed(self, name: str) -> list[str]:
        """Return the image's files that are not what was written; those that are gone are left out."""
        files = self._record(name).get("files", {})
        return [file for file, known in files.items() if not _is_unchanged(self.path / file, known)]

    def _rows(self, name: str, table: str) -> Path:
        return self._done / f"{name}.{table}"

    def _write_record(self, name: str, record: dict) -> None:
        with replacing(self._done / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(record))

    def _record(self, name: str) -> dict:
        """Return the record of an image that is complete; otherwise it is empty."""
        record = _read(self._done / f"{name}.json")
        return record if "files" in record else {}

    def _records(self) -> dict[str, dict]:
        """Return the record of each complete image, by name."""
        paths = sorted(self._done.rglob("*.json"))
        names = [path.relative_to(self._done).as_posix().removesuffix(".json") for path in paths]
        return {name: record for name in names if (record := self._record(name))}

    def _compare(self, about: Mapping) -> None:
        path = self.path / "run.json"
        if not (earlier := _read(path)):
            raise ValueError(f"{path}: cannot be read; choose another folder for `out`, or `overwrite`")
        compared = about.keys() - {"model", "versions"}
        if different := [key for key in about if key in compared and earlier.get(key) != about[key]]:
            raise ValueError(
                f"{self.path} holds results made otherwise: "
                + "; ".join(f"{key} was {earlier.get(key)}, now {about[key]}" for key in different)
                + ". Choose another folder for `out`, or `overwrite` to replace them."
            )

    def _rename(self, stamps: Mapping[str, dict], root: Path) -> None:
        """Delete the results of files below `root` that have another name now; refuse to mix those of two."""
        names = {stamp["file"]: name for name, stamp in stamps.items()}
        for name, record in self._records().items():
            source = record["stamp"]["file"]
            if names.get(source, name) != name and not self._changed(name):
                self.drop(name)
            elif name in stamps and source != (file := stamps[name]["file"]) and (root / source).exists():
                raise ValueError(
                    f"{self.path} holds results of {source} under the name {name}, as {file} would have; "
                    "segment both in one run, or choose another folder for `out`"
                )

    def _foreign(self, names: Iterable[str], formats: Iterable[str], started: bool) -> Path | None:
        """Return a file that no run wrote and that would be replaced, if there is one."""
        known = _read(self._hashes) if started else {}
        unknown = [self.path / table for table in _tables(formats) if table not in known]
        for name in names:
            path = self._done / f"{name}.json"
            record = _read(path) if started else {}
            if started and path.exists() and "files" not in record:
                continue  # a run was stopped while it wrote them
            ours = {self.path / file for file in record.get("files", ())}
            unknown += [path for path in self.files(name, formats).values() if path not in ours]
        return next((path for path in unknown if path.exists()), None)

    def _clear_temporary(self) -> None:
        """Delete the temporary files of runs that were killed; see `nuclei.common.replacing`."""
        for left in self.path.rglob(".*.tmp"):
            process = left.suffixes[-2:][0].removeprefix(".")
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                left.unlink(missing_ok=True)

    def _delete(self) -> None:
        """Delete all results that the records name, and nothing else."""
        for name in self._records():
            self.drop(name)
        for table in _read(self._hashes):
            (self.path / table).unlink(missing_ok=True)
        (self.path / "run.json").unlink(missing_ok=True)


def _tables(formats: Iterable[str]) -> list[str]:
    return [table for key in formats for table in FORMATS[key].tables]


def _read(path: Path) -> dict:
    """Return what a JSON file holds; nothing where it is not there, or damaged."""
    with suppress(OSError, TypeError, ValueError):
        return dict(json.loads(path.read_text()))
    return {}


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _checksum(path: Path) -> dict:
    about = path.stat()
    return {"sha256": _hash(path), "bytes": about.st_size, "modified_ns": about.st_mtime_ns}


def _is_unchanged(path: Path, known: dict) -> bool:
    """Return whether a file is what it was, or gone; its content is read only where size or time differ."""
    if not path.exists():
        return True
    about = path.stat()
    same = (about.st_size, about.st_mtime_ns) == (known["bytes"], known["modified_ns"])
    return same or _hash(path) == known["sha256"]
