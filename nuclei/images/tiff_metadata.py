"""TIFF metadata: pixel size and channel names."""

from contextlib import suppress
from xml.etree import ElementTree

import tifffile

MICROMETRES = {"nm": 1e-3, "µm": 1, "um": 1, "micron": 1, "microns": 1, "mm": 1e3, "cm": 1e4, "m": 1e6}

LARGEST_PIXEL = 10
"""Micrometres. A nucleus is about as wide, so larger "pixel sizes" are those of a screen or a printer."""


def channel_names(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, count: int, rgb: bool
) -> tuple[str, ...]:
    """Return the names of `count` channels: from OME or ImageJ metadata, else ``ch0``, ``ch1``, …"""
    if rgb:
        return ("R", "G", "B")
    names: list[str] = []
    if tiff.is_ome:
        pixels = _ome_pixels(tiff)
        index = next((k for k, each in enumerate(tiff.series) if each is series), 0)
        names = (
            [c.get("Name", "") for c in pixels[index].iterfind("{*}Channel")] if index < len(pixels) else []
        )
    elif tiff.imagej_metadata and series.ndim == 3:
        names = tiff.imagej_metadata.get("Labels") or []
    usable = len(names) == len(set(names)) == count and all(names)
    return tuple(names) if usable else tuple(f"ch{k}" for k in range(count))


def pixel_size(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return the height and width of a pixel in micrometres; None if the file does not say."""
    page = tiff.pages.first
    if page.is_ome:
        sizes = [0.0, 0.0]
        with suppress(IndexError, ValueError):  # metadata that is damaged, or that another file has
            pixels = _ome_pixels(tiff)[0]
            units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX"]
            sizes = [
                float(pixels.get(f"PhysicalSize{axis}", 0))
                * MICROMETRES.get(unit.replace("\N{GREEK SMALL LETTER MU}", "µ"), 0)
                for axis, unit in zip("YX", units, strict=True)
            ]
    else:
        unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
        by_tag = {tifffile.RESUNIT.INCH: 25_400, tifffile.RESUNIT.CENTIMETER: 10_000}
        scale = MICROMETRES.get(unit) or by_tag.get(page.resolutionunit, 0)
        sizes = [scale / pixels if pixels else 0 for pixels in page.get_resolution()[::-1]]
    height, width = sizes
    return (height, width) if all(0 < size <= LARGEST_PIXEL for size in sizes) else None


def _ome_pixels(tiff: tifffile.TiffFile) -> list[ElementTree.Element]:
    """Return the Pixels of each image in the OME metadata of a file; none where they are damaged."""
    with suppress(ElementTree.ParseError):
        return ElementTree.fromstring(tiff.pages.first.description).findall(".//{*}Pixels")
    return []
