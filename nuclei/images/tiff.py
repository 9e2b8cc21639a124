"""One page of a TIFF file: which of many, what its channels are, how large a pixel is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

MICROMETRES = {"nm": 1e-3, "µm": 1, "um": 1, "micron": 1, "microns": 1, "mm": 1e3, "cm": 1e4, "m": 1e6}

LARGEST_PIXEL = 10
"""Micrometres. A nucleus is about as wide, so larger "pixel sizes" are those of a screen or a printer."""


class Choice(ValueError):
    """What to read has to be chosen, or is not among what is there."""


def read_tiff(file: BinaryIO, channel: int | None, page: int | None) -> tuple[np.ndarray, bool, float | None]:
    """Read one page of a TIFF file.

    Parameters
    ----------
    file : binary file
    channel : int, optional
        Only said to be chosen here: all channels are read.
    page : int, optional
        Which plane, from 0, counted through all sizes of pages.

    Returns
    -------
    (H, W, C) array
        The values of the file.
    bool
        Whether the channels are RGB or RGB + alpha.
    float or None
        The side of a pixel in micrometres; None where it is not told, or pixels are no squares.

    Raises
    ------
    Choice
        There are several pages or channels and none was chosen, or not such a page.
    Exception
        Nearly any other where the file is broken, by its compression and damage.
    """
    with tifffile.TiffFile(file) as tiff:
        stack, index = _choose(tiff, channel, page)
        return stack.read(index), stack.colours, _pixel_size(tiff)


class Plane(NamedTuple):
    """Where one page of a stack lies in a TIFF file.

    pages : list of int, the pages as the file counts them, from 0: one, or one for each channel
    colours, pixel_size : as `read_tiff` returns them
    """

    pages: list[int]
    colours: bool
    pixel_size: float | None


def find_plane(file: BinaryIO, channel: int | None, page: int | None) -> Plane:
    """Look up what `read_tiff` would read, without its pixels.

    Raises also ValueError where the page is not stored as (H, W) or (H, W, C) pages of this file.
    """
    with tifffile.TiffFile(file) as tiff:
        stack, index = _choose(tiff, channel, page)
        return Plane(stack.find(index), stack.colours, _pixel_size(tiff))


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Make any error a ValueError that names the file: a broken one raises nearly anything."""
    try:
        yield
    except Exception as error:
        wrong = "" if isinstance(error, Choice) else "cannot be read as a TIFF image: "
        raise ValueError(f"{file}: {wrong}{error}") from error


def _choose(tiff: tifffile.TiffFile, channel: int | None, page: int | None) -> tuple["_Stack", int]:
    """Return the stack that holds a page, and the page's number in it."""
    stacks = [_Stack(series) for series in tiff.series]
    planes = (tiff.imagej_metadata or {}).get("images", 1)
    if planes > (there := sum(stack.pages * stack.channels for stack in stacks)):
        raise ValueError(f"ImageJ wrote {planes} planes, {there} are there; the file was cut short")
    pages = sum(stack.pages for stack in stacks)
    if page is None and pages > 1 or not 0 <= (page or 0) < pages:
        found = "; ".join(str(stack) for stack in stacks)
        asked = f"page {page} was asked for, " if page is not None else ""
        raise Choice(
            f"{asked}a stack of {pages} pages was found ({found}); "
            f"nuclei segment --page 0 to {pages - 1} takes one of them"
        )
    index = page or 0
    for stack in stacks:
        if index < stack.pages:
            break
        index -= stack.pages
    if channel is None and stack.channels > 1 and not stack.colours:
        raise Choice(
            f"{stack.channels} channels were found ({stack}); nuclei segment --channel "
            f"0 to {stack.channels - 1} takes the one that shows the nuclei"
        )
    return stack, index


class _Stack:
    """Pages of one size in a TIFF file."""

    def __init__(self, series: tifffile.TiffPageSeries):
        self.series, self.axes = series, series.axes
        if self.axes.endswith("QYX") and series.shape[-1] <= 5 < min(series.shape[-3:-1]):
            self.axes = self.axes.replace("QYX", "YXC")  # how tifffile writes an (H, W, C) array
        self.pages = self._size("".join(set(self.axes) - set("YXCS")))
        self.channels = self._size("CS")
        rgb = series.keyframe.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        self.colours = rgb and "C" not in self.axes and self.channels in (3, 4)

    def __str__(self) -> str:
        name = f"{self.series.name}: " if self.series.name else ""
        return f"{name}axes {self.axes} of shape {self.series.shape}"

    def _size(self, axes: str) -> int:
        """Return how many there are along some axes together; 1 along none."""
        lengths = zip(self.axes, self.series.shape, strict=True)
        return math.prod(length for axis, length in lengths if axis in axes)

    def read(self, page: int) -> np.ndarray:
        """Return (H, W, C)."""
        if (numbers := self._numbers(page)) is not None:  # one by one: the others stay unread
            planes = [self.series[int(k)] for k in numbers]
            if any(plane is None for plane in planes):
                raise Choice(f"page {page} is not in the file: it was cut short, or lies in another one")
            parts = [np.moveaxis(p.asarray().reshape(p.keyframe.shaped)[:, 0], 0, 2) for p in planes]
            return np.concatenate([p.reshape(*p.shape[:2], -1) for p in parts], axis=2)
        order = sorted(range(len(self.axes)), key=lambda k: "YXCS".find(self.axes[k]))  # the others first
        pixels = self.series.asarray().reshape(self.series.shape).transpose(order)
        return pixels.reshape(self.pages, self._size("Y"), self._size("X"), self.channels)[page]

    def find(self, page: int) -> list[int]:
        """Return the file's own pages that hold this one: side by side, they have the channels of `read`."""
        if (numbers := self._numbers(page)) is None:
            raise ValueError(f"pages are not stored one by one ({self})")
        first, pages = self.series.keyframe, [self.series[int(k)] for k in numbers]
        if any(p is None or p.parent is not first.parent or not isinstance(p.index, int) for p in pages):
            raise ValueError(f"pages lie elsewhere than in the file itself ({self})")
        return [p.index for p in pages]

    def _numbers(self, page: int) -> np.ndarray | None:
        """Return which pages of the series hold this one; None where pages are not stored one by one."""
        series, first = self.series, self.series.keyframe
        apart = series.ndim - first.ndim  # axes along which the file's own pages are counted
        lengths = series.shape[:apart]
        whole = series.shape[apart:] == first.shape and math.prod(lengths) == len(series)
        if not whole or set(self.axes[:apart]) & set("YX"):
            return None
        order = sorted(range(apart), key=lambda k: self.axes[k] == "C")  # the others first
        return np.arange(len(series)).reshape(lengths).transpose(order).reshape(self.pages, -1)[page]


def _pixel_size(tiff: tifffile.TiffFile) -> float | None:
    """Return the side of a pixel in micrometres, or None."""
    page = tiff.pages.first
    if tiff.is_ome:
        sizes = (0, 0)
        with suppress(ElementTree.ParseError, AttributeError, ValueError):  # broken, or told in another file
            pixels = ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Pixels")
            told = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XY"]
            units = [MICROMETRES.get(unit.replace("\N{GREEK SMALL LETTER MU}", "µ"), 0) for unit in told]
            sizes = [float(pixels.get(f"PhysicalSize{axis}", 0)) for axis in "XY"]
            sizes = np.multiply(sizes, units).tolist()
    else:
        unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
        by_tag = {tifffile.RESUNIT.INCH: 25_400, tifffile.RESUNIT.CENTIMETER: 10_000}
        scale = MICROMETRES.get(unit) or by_tag.get(page.resolutionunit, 0)
        sizes = [scale / pixels if pixels else 0 for pixels in page.get_resolution()]
    x, y = sizes
    return x if 0 < x <= LARGEST_PIXEL and np.isclose(x, y, rtol=0.01) else None
