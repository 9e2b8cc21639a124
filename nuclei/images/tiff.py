"""One page of a TIFF file: which of many, its channels, how large a pixel is, and its pixels in windows."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
import tifffile

from nuclei.images.tiff_metadata import GREY, channel_names, colour_converter, pixel_size
from nuclei.images.tiles import Window

File = str | Path | BinaryIO

BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of a file, by byte order; + for more than 4 GB
RGB = ("R", "G", "B")
LARGE = 2**25  # pixels of the largest image that is read whole; to segment one takes some GB of memory


class ImageError(ValueError):
    """What is wrong with an image, in words for a user: the file's name only is missing."""


class TiffPage:
    """One page of a TIFF file; ``page[rows, columns]`` reads a window, (h, w, C), in the file's values.

    It has a ``shape``, (H, W, C) without alpha, ``dtype`` and ``pixel_size``, (y, x) in micrometres or None,
    with a ``note`` where its unit is unknown; ``names`` of channels; ``description``, the axes and shape of
    what is in the file; and ``is_large`` if it has more than `LARGE` pixels.

    Pages are counted from 0 through all series. Raises ImageError as `chosen_page` does; nearly any other
    error where the file is broken, also when a window is read.
    """

    def __init__(self, file: File, page: int | None = None):
        with ExitStack() as opened:  # closed where an error is raised
            tiff, series = _open(file, opened)
            planes = (tiff.imagej_metadata or {}).get("images", 1)
            stacks = [_Stack(each) for each in series]
            if not stacks:
                raise ValueError("it holds no image; it may have been cut short")
            if planes > (found := sum(stack.pages * stack.length("CS") for stack in stacks)):
                raise ValueError(f"ImageJ wrote {planes} planes, {found} were found; the file was cut short")
            index = chosen_page(sum(stack.pages for stack in stacks), page, "; ".join(map(str, stacks)))
            while index >= stacks[0].pages:
                index -= stacks.pop(0).pages
            stack = stacks[0]
            self._read = stack.reader(file, index)
            self.description, keyframe = str(stack), stack.series.keyframe
            self._convert = colour_converter(keyframe, stack.length("S"))
            pixel = self._pixels(slice(0, 1), slice(0, 1))
            height, width = stack.length("Y"), stack.length("X")
            self.dtype, self.shape = pixel.dtype, (height, width, pixel.size)
            self.is_large = height * width > LARGE
            rgb = pixel.shape[2:] == (1, 3) and keyframe.photometric not in GREY
            self.names = RGB if rgb else channel_names(tiff, stack.series, pixel.size)
            self.pixel_size, self.note = pixel_size(tiff, stack.series)
            self.close = opened.pop_all().close

    def __getitem__(self, window: Window) -> np.ndarray:
        part = self._pixels(*(slice(*s.indices(n)[:2]) for s, n in zip(window, self.shape, strict=False)))
        return part.reshape(*part.shape[:2], self.shape[2])

    def _pixels(self, rows: slice, columns: slice) -> np.ndarray:
        """Read a window: (h, w, channels, samples)."""
        values = self._read(rows, columns)
        return self._convert(values.astype(values.dtype.newbyteorder("="), copy=False))


def _open(file: File, opened: ExitStack) -> tuple[tifffile.TiffFile, list[tifffile.TiffPageSeries]]:
    """Open a file and return its own series: each file of an OME-TIFF set also lists those of the others.

    `opened` closes it.
    """
    tiff = opened.enter_context(tifffile.TiffFile(file))
    own = [s for s in tiff.series if all(page is not None and page.parent is tiff for page in s)]
    if not own and tiff.is_ome:  # one image in several files: what lies here is read as if it were alone
        tiff.filehandle.seek(0)  # of a file in memory, tifffile reads on from where it is
        tiff = opened.enter_context(tifffile.TiffFile(file, is_ome=False))
    return tiff, own or tiff.series


class _Stack:
    """Pages of one size in a TIFF file, a series of tifffile's."""

    def __init__(self, series: tifffile.TiffPageSeries):
        self.series, self.axes, self.shape = series, series.axes, series.shape
        if self.axes.endswith("QYX") and self.shape[-1] <= 5 < min(self.shape[-3:-1]):
            self.axes = self.axes.replace("QYX", "YXC")  # how tifffile writes an (H, W, C) array
        self.pages = self.length("".join(set(self.axes) - set("YXCS")))

    def __str__(self) -> str:
        name = f"{self.series.name}: " if self.series.name else ""
        return f"{name}axes {self.axes} of shape {self.shape}"

    def length(self, axes: str) -> int:
        """Return how many there are along some axes together; 1 along none."""
        return math.prod(n for axis, n in zip(self.axes, self.shape, strict=True) if axis in axes)

    def reader(self, file: File, page: int) -> Callable[[slice, slice], np.ndarray]:
        """Return a function from rows and columns of a page to its values, (h, w, C, S)."""
        fetch, in_strips = self._fetcher(file)
        strip = self.series.keyframe.rowsperstrip
        outer = [k for k, axis in enumerate(self.axes) if axis not in "YXCS"]
        place = dict(zip(outer, np.unravel_index(page, [self.shape[k] for k in outer]), strict=True))
        kept = "".join(axis for axis in self.axes if axis in "YXCS")

        def read(rows: slice, columns: slice) -> np.ndarray:
            spans = {"Y": rows, "X": columns}
            window = (place.get(k, spans.get(axis, slice(None))) for k, axis in enumerate(self.axes))
            return tifffile.transpose_axes(fetch(tuple(window)), kept, "YXCS")

        decoding = Lock()  # threads that read beside each other would all decode the same strips

        @lru_cache(1)  # windows beside each other lie in the same strips, which are decoded once
        def strips(first: int, last: int) -> np.ndarray:
            return read(slice(first, min(last, self.length("Y"))), slice(0, self.length("X")))

        def from_strips(rows: slice, columns: slice) -> np.ndarray:
            first, last = rows.start // strip * strip, -(-max(rows.stop, rows.start + 1) // strip) * strip
            with decoding:
                decoded = strips(first, last)
            return decoded[rows.start - first : rows.stop - first, columns].copy()

        return from_strips if in_strips else read

    def _fetcher(self, file: File) -> tuple[Callable[[tuple], np.ndarray], bool]:
        """Return a function from a window along all axes to its values, and whether it decodes strips."""
        series, page = self.series, self.series.keyframe
        if page.dtype is None or page.imagedepth != 1:
            raise ValueError(f"values of {page.dtype} in shape {page.shape}, expected a flat image")
        if isinstance(file, (str, Path)) and page.is_memmappable and series.dataoffset is not None:
            dtype = page.parent.byteorder + series.dtype.char

            if series.dataoffset + series.nbytes > Path(file).stat().st_size:
                raise ValueError("the file is not complete")

            def mapped(window: tuple) -> np.ndarray:  # each time, so that what was read leaves the memory
                return np.array(np.memmap(file, dtype, "r", series.dataoffset, self.shape)[window])

            return mapped, False
        if self.pages == 1 and self.length("YX") <= LARGE:
            return series.asarray().reshape(self.shape).__getitem__, False
        import zarr  # slow to import, and seldom needed

        pixels: Any = zarr.open_array(series.aszarr(level=0, read_only=True), mode="r")
        return pixels.__getitem__, not page.is_tiled


def chosen_page(pages: int, page: int | None, description: str = "") -> int:
    """Return the number of the page to read; ImageError where one of several must be chosen, or is not there.

    `description`, of the axes, is for the error.
    """
    if page is None and pages > 1 or not 0 <= (page or 0) < pages:
        asked = "" if page is None else f"`page` {page} was asked for, "
        if pages == 1:
            raise ImageError(f"{asked}the file has one page; choose 0")
        found = f"a stack of {pages} pages was found" + (f" ({description})" if description else "")
        raise ImageError(f"{asked}{found}; choose a `page`, 0 to {pages - 1}")
    return page or 0
