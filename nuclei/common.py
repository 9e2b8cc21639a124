"""What every room uses: files that are whole or not at all, the repository's root, versions, silence."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; rename it to `path` when all went well.

    After an error, or a kill, `path` is what it was before. Its folder is made where needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict) -> Path:
    """Write `content` to the file `path`, readable for people too."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    return Path(path)


def model_folder(model: str | Path) -> Path:
    """Return a model's folder; a relative one may also start from the repository's root.

    Raises FileNotFoundError where there is none.
    """
    model = Path(model)
    folder = model if model.exists() else ROOT / model
    if not folder.is_dir():
        raise FileNotFoundError(
            f"--model {model}: no such folder, expected that of a trained model. "
            "saved_model/ holds those that are shipped, and 02_train writes one."
        )
    return folder


def output_folder(out: str | Path) -> Path:
    """Return `out`, which need not be there yet; ValueError where it or a folder above it is a file."""
    out = Path(out)
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(
                f"--out {out}: {path} is a file, expected a folder or a new name; choose another"
            )
    return out


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what native code writes to the standard error stream meanwhile; exceptions come through.

    TensorFlow tells at every import, before its log level counts, which processor features it found.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for later: no complaint about a missing GPU
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


ROOT = Path(__file__).resolve().parents[1]
"""The repository's root; the paths in notebook parameters and recipes are relative to it."""


def some(things: Iterable) -> str:
    """Name the first few."""
    first, rest = (things := list(map(str, things)))[:3], len(things) - 3
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("tensorflow", "keras", "numpy", "scikit-image")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
