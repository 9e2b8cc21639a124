"""Which files of a folder were written here, and not changed by a person since."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from nuclei.common import replacing


class Written:
    """The files written to a folder, by their checksums.

    folder : Path; what is written lies in or below it
    record : str; the file in it that holds a line for each: path, checksum, size and time. Of several that
        write at the same time, each has its own, of the same name with another suffix; all are read

    A line is added before the file gets its name: a run that is killed leaves no file that has none.
    """

    def __init__(self, folder: Path, record: str = ".written"):
        self.folder, self._record = folder, folder / record
        self._known: dict[str, list[list]] = {}
        self._folders: set[str] = set()
        for each in self._records():
            for line in each.read_text().splitlines():
                with suppress(TypeError, ValueError):  # a line may be cut short
                    self._remember(*json.loads(line))

    def __contains__(self, path: Path) -> bool:
        """Whether a file of this path, or one in a folder of this path, was ever written."""
        return self._name(path) in self._known or self._name(path) in self._folders

    def changed(self, paths: Iterable[Path]) -> list[Path]:
        """Return the files at or below these paths that are not what was written."""
        return [file for path in paths for file in _files(path) if not self._is_as_written(file)]

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """Do as `nuclei.common.replacing`, and record what is written."""
        with replacing(path) as temporary:
            yield temporary
            with open(self._record, "a") as record:
                for file in _files(temporary):
                    name = self._name(path / file.relative_to(temporary))
                    about = [_hash(file), *_stamp(file)]
                    record.write(f"\n{json.dumps([name, *about])}")
                    self._remember(name, *about)

    def delete(self) -> None:
        """Delete all files that were written, changed or not, and the folders that are empty then."""
        for name in self._known:
            (self.folder / name).unlink(missing_ok=True)
        for name in sorted(self._folders - {"."}, reverse=True):
            with suppress(OSError):
                (self.folder / name).rmdir()
        for each in self._records():
            each.unlink()
        self._known.clear()
        self._folders.clear()

    def _records(self) -> list[Path]:
        beginning = ".".join(self._record.name.split(".")[:2])  # as of .written.node1.42
        return sorted(self._record.parent.glob(f"{beginning}*"))

    def _remember(self, name: str, *about) -> None:
        self._known.setdefault(name, []).append(list(about))
        self._folders |= {str(folder) for folder in PurePosixPath(name).parents}

    def _is_as_written(self, file: Path) -> bool:
        known = self._known.get(self._name(file), [])
        if any(stamp == _stamp(file) for _, *stamp in known):
            return True  # without reading it
        return bool(known) and _hash(file) in [checksum for checksum, *_ in known]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _files(path: Path) -> list[Path]:
    """Return a file, or those below a folder; an empty folder itself."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return [file for file in path.rglob("*") if file.exists() and not file.is_dir()] or [path]


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]
