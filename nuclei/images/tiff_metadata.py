"""What a TIFF file says of its pixels: their size, the names of channels, and what their values mean."""

from collections.abc import Callable
from contextlib import suppress
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

MICROMETRES = dict.fromkeys(("µm", "\N{GREEK SMALL LETTER MU}m", "\\u00B5m", "um", "micron", "microns"), 1.0)
MICROMETRES |= {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4, "in": 25_400, "inch": 25_400}
MICROMETRES |= {"nanometer": 1e-3, "micrometer": 1, "micrometre": 1}
MICROMETRES |= {"millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
NO_UNIT = ("", "pixel", "pixels", "None", "reference frame")
LARGEST_PIXEL = 10  # micrometres, about a nucleus; larger "pixel sizes" are those of a screen or a printer

GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MASK, PHOTOMETRIC.MINISWHITE)
JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ALT_JPEG)  # decoded to RGB by tifffile
PILLOW = {(PHOTOMETRIC.YCBCR, 3): "YCbCr", (PHOTOMETRIC.SEPARATED, 4): "CMYK"}  # with samples per pixel


def channel_names(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, count: int) -> tuple[str, ...]:
    """Return the names of `count` channels: from OME or ImageJ metadata, else ``ch0``, ``ch1``, …"""
    names: list[str] = []
    if tiff.is_ome:
        images = _ome_pixels(tiff, series)
        names = [channel.get("Name", "") for image in images for channel in image.iterfind("{*}Channel")]
    elif tiff.imagej_metadata and series.ndim == 3:
        names = tiff.imagej_metadata.get("Labels") or []
    return usable_names(names, count)


def usable_names(names: list[str], count: int) -> tuple[str, ...]:
    """Return the names of `count` channels, or ``ch0``, ``ch1``, … where some are missing or equal."""
    usable = len(names) == len(set(names)) == count and all(names)
    return tuple(names) if usable else tuple(f"ch{k}" for k in range(count))


def pixel_size(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> tuple[tuple[float, float] | None, str]:
    """Return the height and width of a pixel in micrometres, or None; and a note on an unknown unit."""
    page, height, width, units = series.keyframe, 0.0, 0.0, [""]
    if tiff.pages.first.is_ome:
        with suppress(ValueError):  # metadata that is damaged, or that another file has
            for image in _ome_pixels(tiff, series):
                height, width = (float(image.get(f"PhysicalSize{axis}", 0)) for axis in "YX")
                units = [image.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX"]
        height, width = height * MICROMETRES.get(units[0], 0), width * MICROMETRES.get(units[-1], 0)
    else:
        by_tag = {tifffile.RESUNIT.INCH: 25_400, tifffile.RESUNIT.CENTIMETER: 10_000}
        units = [str((tiff.imagej_metadata or {}).get("unit")).strip("\0 ")]
        scale = MICROMETRES.get(units[0]) or by_tag.get(page.resolutionunit, 0)
        width, height = (scale / pixels if pixels else 0 for pixels in page.get_resolution())
    fits = 0 < min(height, width) and max(height, width) <= LARGEST_PIXEL
    unknown = [] if fits else [unit for unit in units if unit not in (*MICROMETRES, *NO_UNIT)]
    note = f"the pixel size, in the unknown unit {unknown[0]!r}, is ignored" if unknown else ""
    return (height, width) if fits else None, note


def _ome_pixels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> list[ElementTree.Element]:
    """Return the Pixels of a series, one at most, in the OME metadata of a file that may be damaged."""
    index = tiff.series.index(series) if tiff.is_ome else 0
    with suppress(ElementTree.ParseError):
        images = ElementTree.fromstring(tiff.pages.first.description).findall(".//{*}Pixels")
        return images[index : index + 1]
    return []


def colour_converter(page: tifffile.TiffPage, stored: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what converts the `stored` samples of a page's pixels: (..., stored) -> (..., S), without alpha.

    S is 3 where colours become RGB. Otherwise values stay as they are, but that black is 0. Raises ValueError
    where the photometric interpretation is not supported; the error names it.
    """
    kind, alpha = page.photometric, sum(extra in (1, 2) for extra in page.extrasamples)
    visible = 3 if kind == PHOTOMETRIC.RGB and stored in (3, 4) else max(1, stored - alpha)
    mode = PILLOW.get((kind, visible))
    if kind == PHOTOMETRIC.MINISWHITE and page.dtype.kind in "bui":
        white = page.dtype.type(2**page.bitspersample - 1 if page.dtype.kind == "u" else -1)
        return lambda values: values[..., :visible] ^ white
    if kind == PHOTOMETRIC.PALETTE and page.colormap is not None:
        return _palette(page.colormap)
    if kind in (PHOTOMETRIC.RGB, *GREY[:2]) or kind == PHOTOMETRIC.YCBCR and page.compression in JPEG:
        return lambda values: values[..., :visible]
    if mode and page.dtype == np.uint8:
        return lambda values: _by_pillow(values[..., :visible], mode)
    found = f"{page.dtype} values with the photometric interpretation {mode or getattr(kind, 'name', kind)}"
    raise ValueError(f"{found} are not supported; save the image as RGB or grey, with Fiji: Image > Type")


def _palette(colormap: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what looks up indices in a (3, N) uint16 palette.

    Where colours only get brighter, as the display colours of a microscope's software do, the indices stay:
    they are the measured values.
    """
    luminance = np.array([0.299, 0.587, 0.114]) @ colormap
    if (np.diff(luminance) >= 0).all() and luminance[-1] > luminance[0]:
        return lambda indices: indices[..., :1]
    if colormap.shape[1] <= 256:  # 8 bits of 16; some programs write 8 bits only
        colormap = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8)
    return lambda indices: colormap.T[indices[..., 0]]


def _by_pillow(values: np.ndarray, mode: str) -> np.ndarray:
    """Convert uint8 values of one of Pillow's modes to RGB, without a colour profile."""
    row = PIL.Image.frombytes(mode, (values[..., 0].size, 1), values.tobytes())
    return np.asarray(row.convert("RGB")).reshape(*values.shape[:-1], 3)
