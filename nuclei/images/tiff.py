"""One page of a TIFF file: which of many, its channels, how large a pixel is, and its pixels in windows."""

import math
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from nuclei.images.photometric import Colours
from nuclei.images.tiff_metadata import channel_names, pixel_size
from nuclei.images.tiles import Window

BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF file, by byte order; with + for files of more than 4 GB."""

LARGE = 2**25
"""Pixels of the largest image that is read whole. To segment one as large takes some GB of memory."""

CACHE = 2**28  # bytes of decoded strips, which neighbouring windows share

BAND = 256  # rows; strips are decoded in bands of at least so many


class Choice(ValueError):
    """A page or channel has to be chosen, or the chosen one does not exist."""


class TiffPage:
    """One page of a TIFF file; ``page[rows, columns]`` reads a window, (h, w, C), in the file's values.

    shape : (H, W, C), pixels and channels, without alpha
    dtype : numpy.dtype of the values
    is_large : bool, whether it has more than `LARGE` pixels
    rgb : bool, whether the channels are red, green and blue
    names : tuple of str, one a channel
    pixel_size : (y, x) in micrometres, or None

    Parameters
    ----------
    file : str, Path or binary file
        Windows of an uncompressed file that is given by its path are mapped into memory.
    page : int, optional
        Which plane, from 0, counted through all series of the file. Needed where there are several.

    Raises
    ------
    Choice
        There are several pages and none was chosen, or not that one.
    Exception
        Nearly any other where the file is broken; also when a window is read.
    """

    def __init__(self, file: str | Path | BinaryIO, page: int | None = None):
        self._tiff, series = _open(file)
        try:
            planes = (self._tiff.imagej_metadata or {}).get("images", 1)
            stacks = [_Stack(each) for each in series]
            if planes > (found := sum(stack.pages * stack.channels for stack in stacks)):
                raise ValueError(f"ImageJ wrote {planes} planes, {found} were found; the file was cut short")
            stack, index = _choose(stacks, page)
            self._stack, self._colours = stack, Colours(stack.series.keyframe, stack.length("S"))
            self._read = stack.reader(file, index)
            height, width = stack.length("Y"), stack.length("X")
            self.dtype = self._colours(self._read(slice(0, 1), slice(0, 1))).dtype
            self.shape = height, width, stack.length("C") * self._colours.samples
            self.is_large = height * width > LARGE
            self.rgb = self._colours.rgb and stack.length("C") == 1
            self.names = channel_names(self._tiff, stack.series, self.shape[2], self.rgb)
            self.pixel_size = pixel_size(self._tiff)
        except BaseException:
            self._tiff.close()
            raise

    def __str__(self) -> str:
        return str(self._stack)

    def __getitem__(self, window: Window) -> np.ndarray:
        rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip(window, self.shape[:2], strict=True))
        part = self._colours(self._read(rows, columns))
        return part.reshape(*part.shape[:2], self.shape[2])

    def close(self) -> None:
        self._tiff.close()


def _open(file: str | Path | BinaryIO) -> tuple[tifffile.TiffFile, list[tifffile.TiffPageSeries]]:
    """Open a file and return its own series: each file of an OME-TIFF set also lists those of the others."""
    tiff = tifffile.TiffFile(file)
    own = [s for s in tiff.series if all(page is not None and page.parent is tiff for page in s)]
    if own or not tiff.is_ome:
        return tiff, own or tiff.series
    tiff.close()  # one image in several files: what lies here is read as if it were alone
    tiff = tifffile.TiffFile(file, is_ome=False)
    return tiff, tiff.series


def _choose(stacks: list["_Stack"], page: int | None) -> tuple["_Stack", int]:
    """Return the stack that holds a page, and the page's number in it."""
    pages = sum(stack.pages for stack in stacks)
    if page is None and pages > 1 or not 0 <= (page or 0) < pages:
        found = "; ".join(map(str, stacks))
        asked = f"page {page} was asked for, " if page is not None else ""
        raise Choice(f"{asked}a stack of {pages} pages was found ({found}); choose a page, 0 to {pages - 1}")
    index = page or 0
    for stack in stacks:
        if index < stack.pages:
            break
        index -= stack.pages
    return stack, index


class _Stack:
    """Pages of one size in a TIFF file, a series of tifffile's."""

    def __init__(self, series: tifffile.TiffPageSeries):
        self.series, self.axes, self.shape = series, series.axes, series.shape
        if self.axes.endswith("QYX") and self.shape[-1] <= 5 < min(self.shape[-3:-1]):
            self.axes = self.axes.replace("QYX", "YXC")  # how tifffile writes an (H, W, C) array
        self.pages = self.length("".join(set(self.axes) - set("YXCS")))
        self.channels = self.length("CS")

    def __str__(self) -> str:
        name = f"{self.series.name}: " if self.series.name else ""
        return f"{name}axes {self.axes} of shape {self.shape}"

    def length(self, axes: str) -> int:
        """Return how many there are along some axes together; 1 along none."""
        lengths = zip(self.axes, self.shape, strict=True)
        return math.prod(length for axis, length in lengths if axis in axes)

    def reader(self, file: str | Path | BinaryIO, page: int):
        """Return a function from rows and columns of a page to its values, (h, w, C, S)."""
        others = [n for axis, n in zip(self.axes, self.shape, strict=True) if axis not in "YXCS"]
        numbers = iter(np.unravel_index(page, others) if others else ())
        place = {k: int(next(numbers)) for k, axis in enumerate(self.axes) if axis not in "YXCS"}
        kept = "".join(axis for axis in self.axes if axis in "YXCS")
        order = [kept.index(axis) for axis in "YXCS" if axis in kept]
        new = tuple(2 + k for k, axis in enumerate("CS") if axis not in kept)
        pixels = self._pixels(file)

        def read(rows: slice, columns: slice) -> np.ndarray:
            spans = {"Y": rows, "X": columns}
            window = (place.get(k, spans.get(axis, slice(None))) for k, axis in enumerate(self.axes))
            return np.expand_dims(np.transpose(pixels[tuple(window)], order), new)

        in_strips = not isinstance(pixels, (np.ndarray, Mapped)) and not self.series.keyframe.is_tiled
        return self._in_bands(read) if in_strips else read

    def _pixels(self, file: str | Path | BinaryIO):
        """Return the values of the series, as an array in memory or as one that is read at each access."""
        series, page = self.series, self.series.keyframe
        if page.dtype is None or page.imagedepth != 1:
            raise ValueError(f"values of {page.dtype} in shape {page.shape}, expected a flat image")
        if isinstance(file, (str, Path)) and page.is_memmappable and series.dataoffset is not None:
            stored = np.dtype(page.parent.byteorder + series.dtype.char)
            pixels = Mapped(file, stored, series.dataoffset, self.shape)
            try:
                pixels[:0]  # a file that is cut short fails here, and not hours later
            except ValueError as error:
                raise ValueError(f"the file is not complete ({error})") from error
            return pixels
        if self.pages == 1 and self.length("YX") <= LARGE:
            return series.asarray().reshape(self.shape)
        import zarr  # slow to import, and seldom needed

        return zarr.open_array(series.aszarr(), mode="r")

    def _in_bands(self, read):
        """Return `read`, but strips are decoded once for all windows beside each other, not for each."""
        height, width, strip = self.length("Y"), self.length("X"), self.series.keyframe.rowsperstrip
        rows = -(-BAND // strip) * strip
        band_bytes = rows * width * self.channels * self.series.dtype.itemsize

        @lru_cache(max(2, CACHE // band_bytes))
        def band(k: int) -> np.ndarray:
            return read(slice(k * rows, min((k + 1) * rows, height)), slice(0, width))

        def read_window(span: slice, columns: slice) -> np.ndarray:
            first = span.start // rows
            bands = range(first, max(first + 1, -(-span.stop // rows)))
            parts = (band(k)[max(0, span.start - k * rows) : span.stop - k * rows, columns] for k in bands)
            return np.concatenate(list(parts))

        return read_window


class Mapped:
    """An array in a file, mapped again at each access, so that what was read does not stay in memory."""

    def __init__(self, path, dtype, offset, shape, mode="r"):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._map = lambda: np.memmap(path, dtype, mode, offset, shape)

    def __getitem__(self, window):
        return np.array(self._map()[window])

    def __setitem__(self, window, values):
        self._map()[window] = values
