"""Images too large for memory: TIFF files read and written window by window."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile

from nuclei.images.reading import check_values, choose_channels
from nuclei.images.tiff import find_plane, naming
from nuclei.images.tiles import Window

CACHE = 2**28  # bytes of decoded strips or tiles, which neighbouring windows share


class LargeTiff:
    """One page of a TIFF file, of which ``tiff[rows, columns]`` reads a window.

    shape : (H, W, C), pixels and channels; C is 1 for grey images
    dtype : numpy.dtype of the values

    Uncompressed pages are mapped into memory; of others, only the strips or tiles that a window touches are
    decoded, and the last ones kept. To be closed, or used in a ``with`` statement.

    Parameters
    ----------
    path : str or Path
    page : int
        From 0.
    cache : int
        Bytes of decoded strips or tiles to keep.

    Raises
    ------
    FileNotFoundError
        There is no file.
    ValueError
        It is no TIFF, has no such page, or one that cannot be read; at once or when a window is read.
    """

    def __init__(self, path: str | Path, page: int = 0, cache: int = CACHE):
        self._path = path
        try:
            self._file = tifffile.TiffFile(path)
        except tifffile.TiffFileError as error:
            raise ValueError(f"{path}: no TIFF file ({error})") from error
        try:
            if not 0 <= page < len(self._file.pages):
                raise ValueError(f"{path}: page {page} was asked for, the file has {len(self._file.pages)}")
            self._page = page = self._file.pages[page].aspage()
            if page.dtype is None or page.imagedepth != 1:
                raise ValueError(f"{path}: the page is {page.shape} of {page.dtype}, expected a flat image")
            samples, _, height, width, channels = page.shaped  # samples apart, or channels side by side
            self.shape = height, width, samples * channels
            self.dtype = page.dtype
            if page.is_memmappable:
                stored = np.dtype(self._file.byteorder + page.dtype.char)
                self._whole = _Mapped(path, stored, page.dataoffsets[0], (samples, height, width, channels))
                try:
                    self._whole[:0]  # a file that is cut short fails here, and not hours later
                except ValueError as error:
                    raise ValueError(f"{path}: the file is not complete ({error})") from error
            else:
                self._whole = None
                segment_bytes = np.prod(page.chunks) * page.dtype.itemsize
                self._segment = lru_cache(max(1, cache // int(segment_bytes)))(self._decode)
        except BaseException:
            self._file.close()
            raise

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return (h, w, C) of `dtype`."""
        rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip(window, self.shape[:2], strict=True))
        part = self._assemble(rows, columns) if self._whole is None else self._whole[:, rows, columns]
        part = np.moveaxis(part, 0, 2).astype(self.dtype)
        return part.reshape(*part.shape[:2], self.shape[2])

    def __enter__(self) -> "LargeTiff":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    close = __exit__

    def _assemble(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a window, cut from the strips or tiles that it touches: (samples, h, w, channels)."""
        samples, _, height, width, channels = self._page.shaped
        tall, wide = np.minimum(self._page.chunks[:2], (height, width)).tolist()
        grid = np.arange(np.prod(self._page.chunked)).reshape(samples, -(-height // tall), -(-width // wide))
        above, before = rows.start // tall, columns.start // wide
        touched = grid[:, above : -(-rows.stop // tall), before : -(-columns.stop // wide)]
        above, before = above * tall, before * wide  # from strips or tiles to pixels
        block = np.zeros((samples, touched.shape[1] * tall, touched.shape[2] * wide, channels), self.dtype)
        for index in touched.ravel():
            segment, sample, top, left = self._segment(int(index))
            top, left = top - above, left - before
            block[sample, top : top + segment.shape[0], left : left + segment.shape[1]] = segment
        return block[
            :, rows.start - above : rows.stop - above, columns.start - before : columns.stop - before
        ]

    def _decode(self, index: int) -> tuple[np.ndarray, int, int, int]:
        """Return a strip or tile, (h, w, channels), and where it lies: sample, row, column."""
        page = self._page
        place = [page.dataoffsets[index]], [page.databytecounts[index]], [index]
        try:
            ((stored, _),) = self._file.filehandle.read_segments(*place)
            segment, (sample, _, top, left, _), shape = page.decode(
                stored, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
            )
        except Exception as error:  # every codec has its own
            raise ValueError(f"{self._path}: part {index} cannot be decoded ({error})") from error
        return (np.zeros(shape, self.dtype) if segment is None else segment)[0], sample, top, left


class _Mapped:
    """An array in a file, mapped anew at each access, so that what was touched does not stay in memory."""

    def __init__(self, path, dtype, offset, shape, mode="r"):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._map = lambda: np.memmap(path, dtype, mode, offset, shape)

    def __getitem__(self, window):
        return np.array(self._map()[window])

    def __setitem__(self, window, values):
        self._map()[window] = values


LARGEST = 2**25
"""Pixels of an image that is read whole. The nuclei of one as large take some GB to find."""


class Slide:
    """One page of a stack in a TIFF file, of which ``slide[rows, columns]`` reads a window, (h, w, C).

    shape : (H, W, C), pixels and channels
    dtype : numpy.dtype of the values
    pixel_size : float or None, micrometres
    measured, seen : slice, of the channels: those to measure, and those that a model looks at
    image : (H, W, 1 to 4) array_like, the channels that are seen

    To be used in a ``with`` statement. Parameters and errors are those of `images.reading.read_picture`.
    """

    def __init__(self, path: str | Path, channel: int | None = None, page: int | None = None):
        self._path = str(path)
        with open(path, "rb") as file, naming(self._path):
            plane = find_plane(file, channel, page)
        self._pages = [LargeTiff(path, number, CACHE // len(plane.pages)) for number in plane.pages]
        self.shape = *self._pages[0].shape[:2], sum(each.shape[2] for each in self._pages)
        self.dtype, self.pixel_size = self._pages[0].dtype, plane.pixel_size
        self.measured, self.seen = choose_channels(self.shape[2], plane.colours, channel, self._path)
        self.image = _Channels(self, self.seen)

    def __getitem__(self, window: Window) -> np.ndarray:
        pixels = np.concatenate([page[window] for page in self._pages], axis=2)
        check_values(pixels, self._path)
        return pixels

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_) -> None:
        for page in self._pages:
            page.close()


class _Channels:
    """Some channels of an array_like."""

    def __init__(self, image, chosen: slice):
        self._image, self._chosen = image, chosen
        self.shape = *image.shape[:2], len(range(image.shape[2])[chosen])
        self.dtype = image.dtype

    def __getitem__(self, window: Window) -> np.ndarray:
        return self._image[window][..., self._chosen]


def is_slide(path: str | Path, page: int | None = None) -> bool:
    """Return whether a file is a TIFF that can be read in windows and is too large to be read whole.

    Only its header is read. Not so are files that are broken, or of which a page would have to be chosen.
    """
    try:
        with Slide(path, channel=0, page=page) as slide:
            return slide.shape[0] * slide.shape[1] > LARGEST
    except Exception:  # a broken file raises nearly anything
        return False
