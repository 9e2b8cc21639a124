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
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from nuclei.common import replacing, some, write_json
from nuclei.output.formats import FORMATS, Result
from nuclei.output.tables import join_csv, write_csv

TABLES = [table for each in FORMATS.values() for table in each.tables]


class RunFolder:
    """The results of a run, or of several with the same parameters.

    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self._done = path / ".done"
        self._hashes = self._done / ".tables"

    def begin(self, about: Mapping, names: Iterable[str], overwrite: bool = False) -> None:
        """Prepare the folder for the results of a run, or to resume one.

        Parameters
        ----------
        about : mapping
            The content of ``run.json``. Results of other parameters are not mixed with those to come; only
            ``model`` (its path) and ``versions`` may differ.
        names : iterable of str
            The images to come.
        overwrite : bool
            Whether to delete the results of all earlier runs first, also those that a person changed.

        Raises
        ------
        ValueError
            There are results of other parameters, or files that no run wrote but that have the names of
            results; `overwrite` does not replace these.
        """
        started = (self.path / "run.json").exists()
        if foreign := self._foreign(names, about["save"], started):
            raise ValueError(
                f"{foreign}: is there already, and was not written by a run in {self.path}. Choose another "
                "folder for `out`, or give the file another name."
            )
        if overwrite:
            self._delete()
        elif started:
            self._compare(about)
            self._clear_temporary()
            return
        shutil.rmtree(self._done, ignore_errors=True)  # records of a run that nothing describes
        write_json(self.path / "run.json", dict(about))

    def files(self, name: str, formats: Iterable[str]) -> dict[str, Path]:
        """Return the file of each format for the image `name`; formats that are tables are left out."""
        return {key: self.path / f"{name}{FORMATS[key].ending}" for key in formats if FORMATS[key].ending}

    def is_complete(self, name: str, stamp: dict) -> bool:
        """Return whether all results of an image are there, made from a file with this `stamp`."""
        record = self._record(name)
        return record.get("stamp") == stamp and all((self.path / file).exists() for file in record["files"])

    def has_results(self, name: str) -> bool:
        """Return whether the image was complete once."""
        return bool(self._record(name))

    def changed(self, name: str) -> list[str]:
        """Return the image's files that are not what was written; those that are gone are left out."""
        files = self._record(name).get("files", {})
        return [file for file, known in files.items() if not _is_unchanged(self.path / file, known)]

    def start(self, name: str, stamp: dict) -> None:
        """Announce that the files of an image will be written; `stamp` identifies the image's own file."""
        with replacing(self._done / f"{name}.json") as temporary:
            temporary.write_text(json.dumps({"stamp": stamp}))

    def unfinished(self, name: str) -> Path:
        """Return where the labels of a large image are written tile by tile, until `complete` moves them."""
        return self._done / f"{name}.labels.tif"

    def complete(self, stamp: dict, formats: Iterable[str], result: Result) -> None:
        """Write the files of an image, after `start`, and then the record that it is complete.

        stamp : dict; as for `start`
        formats : iterable of str; names of `FORMATS`
        """
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
        tables = {table: rows for key in formats for table, rows in FORMATS[key].tables.items()}
        for table, rows in tables.items():
            with replacing(self._rows(name, table)) as temporary:
                write_csv(temporary, rows(result))
        known = {path.relative_to(self.path).as_posix(): _checksum(path) for path in files.values()}
        with replacing(self._done / f"{name}.json") as temporary:
            temporary.write_text(json.dumps({"stamp": stamp, "files": known}))

    def write_tables(self, formats: Iterable[str]) -> None:
        """Write the tables of all complete images, sorted by name; delete them where no image is.

        Warns
        -----
        UserWarning
            A person changed a table. It is kept.
        """
        names = list(self._records())
        for table in (table for key in formats for table in FORMATS[key].tables):
            path, hashes = self.path / table, _read(self._hashes)
            parts = [part for name in names if (part := self._rows(name, table)).exists()]
            if path.exists() and _hash(path) not in hashes.get(table, ()):
                warnings.warn(
                    f"{path} was changed after it was written, and is kept as it is. To get the table of "
                    "this run, rename it and repeat the command.",
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

    def forget(self, names: Mapping[str, str]) -> None:
        """Delete the results of files that have another name now: `names` are by file, as in the stamps."""
        for name, record in self._records().items():
            if names.get(record["stamp"]["file"], name) != name and not self.changed(name):
                self.drop(name)

    def sources(self) -> dict[str, str]:
        """Return the file of each complete image, by the image's name."""
        return {name: record["stamp"]["file"] for name, record in self._records().items()}

    def drop(self, name: str, formats: Iterable[str] = ()) -> None:
        """Delete an image's files, those of its record and of these formats, and the record."""
        files = [self.path / file for file in self._record(name).get("files", ())]
        files += [*self.files(name, formats).values(), *(self._rows(name, table) for table in TABLES)]
        for path in (*files, self.unfinished(name), self._done / f"{name}.json"):
            path.unlink(missing_ok=True)

    def _rows(self, name: str, table: str) -> Path:
        return self._done / f"{name}.{table}"

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

    def _foreign(self, names: Iterable[str], formats: Iterable[str], started: bool) -> Path | None:
        """Return a file that no run wrote and that would be replaced, if there is one."""
        known = _read(self._hashes) if started else {}
        tables = [table for key in formats for table in FORMATS[key].tables]
        unknown = [self.path / table for table in tables if table not in known]
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
            if process.isdecimal() and not _is_running(int(process)):
                left.unlink(missing_ok=True)

    def _delete(self) -> None:
        """Delete all results that the records name, and nothing else."""
        for name in self._records():
            self.drop(name)
        for table in _read(self._hashes):
            (self.path / table).unlink(missing_ok=True)
        (self.path / "run.json").unlink(missing_ok=True)
        shutil.rmtree(self._done, ignore_errors=True)


def report_changed(changed: Iterable[str]) -> None:
    """Warn of files that a person changed, if there are any."""
    if changed := list(changed):
        warnings.warn(
            f"kept {some(changed)}: changed after being written. The tables hold what was measured before; "
            "`overwrite` replaces all results.",
            stacklevel=2,
        )


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
    """Return whether a file is what it was; its content is read only where size or time differ."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return True
    same = (about.st_size, about.st_mtime_ns) == (known["bytes"], known["modified_ns"])
    return same or _hash(path) == known["sha256"]


def _is_running(process: int) -> bool:
    """Return whether there is such a process; always True on Windows, where asking would end it."""
    try:
        if os.name != "nt":
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
