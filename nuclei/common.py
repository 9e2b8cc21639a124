"""What every part uses: files written whole or not at all, checks of parameters, paths, versions."""

import errno
import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
IN_REPOSITORY = (PACKAGE.parent / "pyproject.toml").exists()
"""Whether the library lies in its repository, or was installed without it."""
ROOT = PACKAGE.parent if IN_REPOSITORY else Path.cwd()
"""What paths in notebook parameters and recipes are relative to: the repository, or the working folder."""
DEFAULT_MODEL = "saved_model/general"
"""The model that is used unless another is named; it is installed with the library, below `PACKAGE`."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` for a file or folder; it replaces `path` when all went well.

    After an error `path` is what it was before, a file after a kill too. Its folder is made where needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, older = (path.with_name(f".{path.name}.{os.getpid()}.{ending}") for ending in ("tmp", "old"))
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            path.rename(older)
        temporary.replace(path)
        delete(older)
    finally:
        if older.exists() and not path.exists():
            older.rename(path)
        delete(temporary)


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict) -> Path:
    """Write `content` to the file `path` as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    return Path(path)


def model_folder(model: str | Path) -> Path:
    """Return a model's folder, relative to the working folder, the repository's root or the library."""
    model = checked_path("model", model)
    for folder in (model, ROOT / model, PACKAGE / model):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"`model` {model}: no such folder, expected the folder of a trained model, such as {DEFAULT_MODEL}"
    )


def output_folder(out: str | Path) -> Path:
    """Return `out`, which need not exist yet; ValueError where it or a folder above it is a file."""
    out = checked_path("out", out)
    with naming_output(out):  # where the name is too long
        if file := next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None):
            raise ValueError(f"`out` {out}: {file} is a file, expected a folder or a new name")
    return out


@contextmanager
def naming_output(out: Path) -> Iterator[None]:
    """Say which output could not be written, and what to do, where an OSError is raised."""
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename
        reason = f"cannot be written to ({error.strerror or error})" + (f" at {place}" if place else "")
        remedy = "Free some space or choose" if error.errno == errno.ENOSPC else "Choose"
        still = "what was complete before is still there"
        raise OSError(f"`out` {out}: {reason}; {still}. {remedy} another place.") from error


def checked_path(name: str, path: str | Path) -> Path:
    """Return a parameter as a path, with ~ expanded; TypeError or ValueError where it is none."""
    if not isinstance(path, (str, Path)):
        raise TypeError(f"`{name}` is {path!r}, expected a path")
    if not str(path).strip() or "\0" in str(path):
        raise ValueError(f"`{name}` is {str(path)!r}, expected the name of a file or folder")
    if "://" in str(path):
        raise ValueError(f"`{name}` is the address {path}, expected a file or folder of this machine")
    return Path(path).expanduser()


def checked_number(name: str, value: Any, low: float, high: float = math.inf, whole: bool = False):
    """Return a parameter that is None or a number from `low` to `high`; raise TypeError or ValueError."""
    if value is None:
        return None
    expected = f"a {'whole ' * whole}number from {low:g}" + (f" to {high:g}" if high < math.inf else "")
    kind: Any = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"`{name}` is {value!r}, expected {expected}")
    if not low <= float(value) <= high:
        raise ValueError(f"`{name}` is {value}, expected {expected}")
    return int(value) if whole else float(value)


def short_name(name: str) -> str:
    """Shorten the parts of an image's name, with a hash, so that endings fit into the 255 bytes of disks.

    >>> short_name("plate/a"), len(short_name("x" * 240))
    ('plate/a', 189)
    """
    parts = name.split("/")
    for k, content in enumerate(map(os.fsencode, parts)):
        if len(content) > 200:
            beginning = content[:180].decode("utf-8", "ignore")
            parts[k] = f"{beginning}-{hashlib.sha256(content).hexdigest()[:8]}"
    return "/".join(parts)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what is written to standard error, such as by TensorFlow at its import; exceptions pass.

    For one thread at a time: standard error is that of the whole process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # from now on: no message about a missing GPU
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def some(things: Iterable) -> str:
    """Name the first three, and count the rest."""
    names = list(map(str, things))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "image"), counted(2000, "nucleus")
    ('1 image', '2,000 nuclei')
    """
    plural = "nuclei" if noun == "nucleus" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("tensorflow", "keras", "numpy", "scikit-image")
    found = {"python": platform.python_version()} | {name: version(name) for name in names}
    with suppress(PackageNotFoundError):
        found["openvino"] = version("openvino")
    return found
