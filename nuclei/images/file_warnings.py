"""Warnings that begin with the file that they are about, also where threads work on many files at once."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image

_current = threading.local()  # its `path` is the file that the thread works on


@contextmanager
def working_on(path: str | Path) -> Iterator[list[str]]:
    """Yield what was warned of since, about the file that the thread works on."""
    _current.path, _current.warned = path, []
    try:
        yield _current.warned
    finally:
        _current.path = None


@contextmanager
def naming_warnings() -> Iterator[None]:
    """Begin every warning with the file that the thread works on."""
    with warnings.catch_warnings():
        for category in (UserWarning, RuntimeWarning):  # not what concerns programmers alone
            warnings.simplefilter("always", category)
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # an image is only large
        show = warnings.showwarning

        def show_named(message, category, *where):
            if not (path := getattr(_current, "path", None)):
                show(message, category, *where)
            elif (text := str(message)) not in _current.warned:
                _current.warned.append(text)
                show(category(f"{path}: {text}"), category, *where)

        warnings.showwarning = show_named
        yield
