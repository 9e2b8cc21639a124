"""One page of a TIFF file: which of many, what its channels are, how large a pixel is."""

import math
from typing import BinaryIO
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
        return stack.read(index), stack.colours, _pixel_size(tiff)


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
        order = sorted(range(len(self.axes)), key=lambda k: "YXCS".find(self.axes[k]))  # the others first
        pixels = self.series.asarray().reshape(self.series.shape).transpose(order)
        return pixels.reshape(self.pages, self._size("Y"), self._size("X"), self.channels)[page]


def _pixel_size(tiff: tifffile.TiffFile) -> float | None:
    """Return the side of a pixel in micrometres, or None."""
    page = tiff.pages.first
    if tiff.is_ome:
        pixels = ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Pixels")
        units = [MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0) for axis in "XY"]
        sizes = [
            float(pixels.get(f"PhysicalSize{axis}", 0)) * unit for axis, unit in zip("XY", units, strict=True)
        ]
    else:
        unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
        by_tag = {tifffile.RESUNIT.INCH: 25_400, tifffile.RESUNIT.CENTIMETER: 10_000}
        scale = MICROMETRES.get(unit) or by_tag.get(page.resolutionunit, 0)
        sizes = [scale / pixels if pixels else 0 for pixels in page.get_resolution()]
    x, y = sizes
    return x if 0 < x <= LARGEST_PIXEL and np.isclose(x, y, rtol=0.01) else None
