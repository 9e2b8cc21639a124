"""A folder of results: what made them, which images are complete, and the tables of all.

``run.json`` says how the results were made, and is written first. For each image there is a record,
``.done/NAME.json``, from which file it was made and in which formats its results are complete. Beside it are
the image's rows of each table, which are joined at the end, row by row, as an image may have a million
nuclei. The measurements are always kept: with the labels, they are what further formats are made from.

What a person changed since it was written is kept, see `nuclei.output.written`; only `begin` with
``overwrite`` replaces it.
"""

import json
import os
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil

from nuclei.common import delete, replacing, some, write_json
from nuclei.output.formats import FORMATS, Result
from nuclei.output.review import Images
from nuclei.output.tables import join_csv, read_csv, read_rows, write_csv
from nuclei.output.written import Written


class RunFolder:
    """The results of a run, or of several with the same parameters.

    path : Path
    writer : str, distinguishes those that write to the folder at the same time
    """

    def __init__(self, path: Path, writer: str = ""):
        self.path = path
        self._done = path / ".done"
        self._written = Written(path, f".done/.written{writer}")

    def begin(self, about: Mapping, stamps: Mapping[str, dict], overwrite: bool = False) -> None:
        """Prepare the folder for the results of a run, or to resume one.

        about : mapping; the content of ``run.json``; of earlier results only ``model`` (its path) and
            ``versions`` may differ, and ``save`` may have had fewer formats
        stamps : mapping of dict; the images to come by name, with the path of each as ``file``
        overwrite : bool; whether to delete the results of all earlier runs first, changed or not

        Results of files that have another name now are deleted. Raises ValueError where there are results of
        other parameters, or of another file of one name, or files that no run wrote but that have the names
        of results; `overwrite` does not replace these.
        """
        started, save = "fingerprint" in _read(self.path / "run.json"), about["save"]
        files = [self.path / file for key in save for file in (*FORMATS[key].tables, *FORMATS[key].of_run)]
        files += [file for name in stamps for file in self.files(name, save).values()]
        own = [] if started else [self.path / "run.json"]
        for file in self._written.changed([*own, *files]):
            if not started or file not in self._written:
                raise ValueError(
                    f"{file}: is there already, and was not written by a run in {self.path}. Choose another "
                    "folder for `out`, or give the file another name."
                )
        if started and not overwrite:
            about = self._compared(about)
            self.clear_temporary()
            self._rename(stamps, Path(about["images"]))
        else:
            if overwrite:
                self._written.delete()
            for record in self._done.rglob("*.json"):  # of a run that nothing describes
                record.unlink()
        write_json(self.path / "run.json", dict(about))

    def kept(self, stamps: Mapping[str, dict], formats: list[str]) -> set[str]:
        """Return the images of which a person changed files, with a warning: nothing is done for them."""
        changed = {name: files for name in stamps if (files := self._written.changed(self._own(name)))}
        if changed:
            listed = some(file.relative_to(self.path) for files in changed.values() for file in files)
            lacking = {key for name in changed for key in self.missing(name, stamps[name], formats)[0]}
            without = f" Not written for them: {', '.join(sorted(lacking))}." if lacking else ""
            warnings.warn(
                f"kept {listed}: changed after being written. The tables hold what was measured before; "
                f"`overwrite` replaces all results.{without}",
                stacklevel=3,
            )
        return set(changed)

    def missing(self, name: str, stamp: dict, formats: list[str]) -> tuple[list[str], bool]:
        """Return which formats are to be written for an image, and whether its nuclei are to be found anew.

        Those that it lacks, from its label image and measurements; all, where it changed or lacks these too.
        """
        record = self.record(name)
        if record.get("stamp") != stamp:
            return formats, True
        files = self.files(name, formats)
        gone = [key for key, path in files.items() if path in self._written and not path.exists()]
        missing = [key for key in formats if key in gone or key not in record["formats"]]
        source = (self.labels(name), self._rows(name, "measurements.csv"))
        if "labels" in record["formats"] and all(path.exists() for path in source):
            return missing, False
        return missing and formats, True

    def labels(self, name: str) -> Path:
        return self.path / f"{name}{FORMATS['labels'].ending}"

    def table(self, name: str) -> pd.DataFrame:
        """Return what was measured in an image that is complete, rounded; see `measurements.measure`."""
        return read_csv(self._rows(name, "measurements.csv")).drop(columns="image")

    def warned(self, names: Iterable[str]) -> list[str]:
        """Return the images of which ``summary.csv`` has a warning."""
        files = {name: self._rows(name, "summary.csv") for name in names}
        there = {name: file for name, file in files.items() if file.exists()}
        return [name for name, file in there.items() if any(row.get("warning") for row in read_rows(file))]

    def files(self, name: str, formats: Iterable[str]) -> dict[str, Path]:
        """Return the file of each format for the image `name`; formats that are tables are left out."""
        return {key: self.path / f"{name}{FORMATS[key].ending}" for key in formats if FORMATS[key].ending}

    def unfinished(self, name: str) -> Path:
        """Return where the labels of a large image are kept tile by tile, until all of it is complete."""
        return self._done / f"{name}.labels.zarr"

    def complete(self, stamp: dict, formats: Iterable[str], result: Result, is_new: bool) -> None:
        """Write an image's files in these formats, as far as it is not too large, and then its record.

        stamp : dict; distinguishes the image's own file from earlier versions of it
        is_new : bool; whether the files replace earlier ones. Otherwise formats are added to these.
        """
        name, formats = result.name, list(formats)
        if is_new:
            formats = list(dict.fromkeys([*formats, "measurements"]))
            self._record_of(name).unlink(missing_ok=True)
        possible = [key for key in formats if FORMATS[key].large or not result.image.is_large]
        for key, path in self.files(name, possible).items():
            if write := FORMATS[key].write:
                with self._written.replacing(path) as temporary:
                    write(temporary, result)
        delete(self.unfinished(name))
        for key in possible:
            for table, rows in FORMATS[key].tables.items():
                with replacing(self._rows(name, table)) as temporary:
                    write_csv(temporary, rows(result))
        formats = list(dict.fromkeys([*self.record(name).get("formats", []), *formats]))
        write_json(self._record_of(name), {"stamp": stamp, "formats": formats})

    def finish(self, formats: Sequence[str], images: Images) -> None:
        """Write the files of all images together: the tables, sorted by name, and what is made from these.

        images : what opens each image that can be used, of earlier runs too

        Those without any image are deleted. Warns of files that a person changed: they are kept. Raises
        ValueError where nothing can be made from a table or label image that a person changed.
        """
        names = sorted(self._records())
        for key in formats:
            for table in FORMATS[key].tables:
                parts = [part for name in names if (part := self._rows(name, table)).exists()]
                self._replace(self.path / table, bool(parts), join_csv, parts)
        for key in formats:  # from these tables
            for file, write in FORMATS[key].of_run.items():
                self._replace(self.path / file, bool(names), write, self.path, images)

    def _replace(self, path: Path, is_wanted: bool, write: Callable[..., None], *about) -> None:
        """Write or delete a file of all images; keep it, with a warning, where a person changed it."""
        if self._written.changed([path]):
            warnings.warn(
                f"{path} was changed after it was written, and is kept; rename it and repeat the command to "
                "get that of this run",
                stacklevel=3,
            )
        elif is_wanted:
            with self._written.replacing(path) as temporary:
                write(temporary, *about)
        else:
            path.unlink(missing_ok=True)

    def drop(self, name: str) -> None:
        """Delete an image's files that were written, and its record."""
        rows = [self._rows(name, table) for each in FORMATS.values() for table in each.tables]
        for path in (*self._own(name), *rows, self.unfinished(name), self._record_of(name)):
            delete(path)

    def _own(self, name: str) -> list[Path]:
        """Return the image's files that a run wrote, changed or not."""
        return [path for path in self.files(name, FORMATS).values() if path in self._written]

    def _rows(self, name: str, table: str) -> Path:
        return self._done / f"{name}.{table}"

    def _record_of(self, name: str) -> Path:
        return self._done / f"{name}.json"

    def record(self, name: str) -> dict:
        """Return the ``stamp`` and ``formats`` of an image that is complete; otherwise nothing."""
        return _read(self._record_of(name))

    def stamps(self) -> dict[str, dict]:
        """Return the stamp of each complete image, by name, those of earlier runs too."""
        return {name: record["stamp"] for name, record in self._records().items()}

    def _records(self) -> dict[str, dict]:
        """Return the record of each complete image, by name."""
        paths = sorted(self._done.rglob("*.json"))
        names = [path.relative_to(self._done).as_posix().removesuffix(".json") for path in paths]
        return {name: record for name in names if "stamp" in (record := self.record(name))}  # no zarr.json

    def _compared(self, about: Mapping) -> dict:
        """Return the content of ``run.json`` for a run that resumes; ValueError where it would not fit."""
        earlier = _read(self.path / "run.json")
        compared = about.keys() - {"model", "versions"}
        if set(earlier.get("save", ())) <= set(about["save"]):  # formats are added
            compared.discard("save")
        different = [key for key in about if key in compared and earlier.get(key) != about[key]]
        if different and not self._records():  # all images were skipped, perhaps for want of a channel
            return dict(about)
        if different:
            old, new = (_with_model(each) for each in (earlier, about))
            raise ValueError(
                f"{self.path} holds results of other parameters: "
                + "; ".join(f"{key} was {_shown(old.get(key))}, now {_shown(new[key])}" for key in different)
                + ". Choose another folder for `out`, or `overwrite` to replace them."
            )
        return earlier | {"save": about["save"]}

    def _rename(self, stamps: Mapping[str, dict], root: Path) -> None:
        """Delete the results of files below `root` that have another name now; refuse to mix those of two."""
        names = {stamp["file"]: name for name, stamp in stamps.items()}
        for name, record in self._records().items():
            source = record["stamp"]["file"]
            if names.get(source, name) != name and not self._written.changed(self._own(name)):
                self.drop(name)
            elif name in stamps and source != (file := stamps[name]["file"]) and (root / source).exists():
                raise ValueError(
                    f"{self.path} holds results of {source} under the name {name}, as {file} would have; "
                    "segment both in one run, or choose another folder for `out`"
                )

    def clear_temporary(self) -> None:
        """Delete the temporary files of processes that were killed; see `nuclei.common.replacing`."""
        for left in (*self.path.rglob(".*.*.tmp"), *self.path.rglob(".*.*.old")):
            process = left.name.split(".")[-2]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                delete(left)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other runs out of a folder meanwhile, on any machine; ValueError where another holds the lock.

    The lock of a process that ends, however it does, is gone. Some systems and network disks have no locks.
    """
    file = path / ".done" / ".lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a+") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{path}: another run writes there ({file.read_text()}); wait until it has ended, or choose "
                "another folder for `out`"
            ) from error
        except (ImportError, OSError):
            pass
        file.write_text(f"process {os.getpid()} on {platform.node()}")
        yield


def _with_model(about: Mapping) -> dict:
    """Return the content of ``run.json``, the fingerprint with the path of its model, to be shown."""
    return {**about, "fingerprint": f"{about.get('fingerprint')} of {about.get('model')}"}


def _shown(value: object) -> object:
    return "not given" if value is None else value


def _read(path: Path) -> dict:
    """Return what a JSON file holds; nothing where it is not there, or damaged."""
    with suppress(OSError, TypeError, ValueError):
        return dict(json.loads(path.read_text()))
    return {}
