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
    """Write a label image window by window.

    Parameters
    ----------
    path : str or Path
        Written under a temporary name beside it; an existing file is replaced once all is written.
    shape : (H, W), pixels
    **options
        For `tifffile.imwrite`, such as ``resolution`` and ``resolutionunit``; uncompressed.

    Yields
    ------
    (H, W) uint32 array_like, all 0
        To be read and filled through ``labels[rows, columns]``.

    Raises
    ------
    OSError
        If the disk has no room for the whole image: at once, where the system can reserve it.
    """
    with replacing(path) as temporary:
        offset = tifffile.memmap(temporary, shape=shape, dtype=np.uint32, **options).offset
        if hasattr(os, "posix_fallocate"):  # a disk that fills up later would kill the process by a signal
            with open(temporary, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(temporary))
        yield Mapped(temporary, np.uint32, offset, shape, mode="r+")
