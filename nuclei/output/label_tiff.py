"""A label image written window by window."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from nuclei.common import replacing
from nuclei.images.tiff import Mapped


@contextmanager
def new_label_tiff(path: str | Path, shape: tuple[int, int], **options) -> Iterator[Mapped]:
    """Yield (H, W) uint32 labels, all 0, to be read and filled through ``labels[rows, columns]``.

    path : str or Path; an existing file is replaced once all is written
    shape : (H, W), pixels
    **options : for `tifffile.imwrite`, such as ``resolution``; the file is not compressed

    Raises OSError where the disk has no room for the whole image: at once, where the system can reserve it.
    """
    with replacing(path) as temporary:
        offset = tifffile.memmap(temporary, shape=shape, dtype=np.uint32, **options).offset
        if hasattr(os, "posix_fallocate"):  # a disk that fills up later would kill the process by a signal
            with open(temporary, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(temporary))
        yield Mapped(temporary, np.uint32, offset, shape, mode="r+")
