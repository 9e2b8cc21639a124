"""TIFF metadata: pixel size and channel names."""

from contextlib import suppress
from xml.etree import ElementTree

import tifffile

MICROMETRES = {"nm": 1e-3, "µm": 1, "um": 1, "micron": 1, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400}
MICROMETRES |= {"\N{GREEK SMALL LETTER MU}m": 1, "\\u00B5m": 1, "Å": 1e-4, "in": 25_400, "nanometer": 1e-3}
MICROMETRES |= {"microns": 1, "micrometer": 1, "micrometre": 1, "millimeter": 1e3, "centimeter": 1e4}
NO_UNIT = ("", "pixel", "pixels", "None", "reference frame")

LARGEST_PIXEL = 10  # micrometres, about a nucleus; larger "pixel sizes" are those of a screen or a printer


def channel_names(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, count: int) -> tuple[str, ...]:
    """Return the names of `count` channels: from OME or ImageJ metadata, else ``ch0``, ``ch1``, …"""
    names: list[str] = []
    if tiff.is_ome:
        index = tiff.series.index(series)
        images = _ome_pixels(tiff)[index : index + 1]
        names = [channel.get("Name", "") for image in images for channel in image.iterfind("{*}Channel")]
    elif tiff.imagej_metadata and series.ndim == 3:
        names = tiff.imagej_metadata.get("Labels") or []
    return usable_names(names, count)


def usable_names(names: list[str], count: int) -> tuple[str, ...]:
    """Return the names of `count` channels, or ``ch0``, ``ch1``, … where some are missing or equal."""
    usable = len(names) == len(set(names)) == count and all(names)
    return tuple(names) if usable else tuple(f"ch{k}" for k in range(count))


def pixel_size(tiff: tifffile.TiffFile) -> tuple[tuple[float, float] | None, str]:
    """Return the height and width of a pixel in micrometres, or None; and a note on an unknown unit."""
    page, height, width, units = tiff.pages.first, 0.0, 0.0, [""]
    if page.is_ome:
        with suppress(ValueError):  # metadata that is damaged, or that another file has
            for image in _ome_pixels(tiff)[:1]:
                sizes = [float(image.get(f"PhysicalSize{axis}", 0)) for axis in "YX"]
                units = [image.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX"]
                height, width = (
                    size * MICROMETRES.get(unit, 0) for size, unit in zip(sizes, units, strict=True)
                )
    else:
        by_tag = {tifffile.RESUNIT.INCH: 25_400, tifffile.RESUNIT.CENTIMETER: 10_000}
        units = [str((tiff.imagej_metadata or {}).get("unit")).strip("\0 ")]
        scale = MICROMETRES.get(units[0]) or by_tag.get(page.resolutionunit, 0)
        width, height = (scale / pixels if pixels else 0 for pixels in page.get_resolution())
    fits = 0 < min(height, width) and max(height, width) <= LARGEST_PIXEL
    unknown = [] if fits else [unit for unit in units if unit not in (*MICROMETRES, *NO_UNIT)]
    note = f"the pixel size, in the unknown unit {unknown[0]!r}, is ignored" if unknown else ""
    return (height, width) if fits else None, note


def _ome_pixels(tiff: tifffile.TiffFile) -> list[ElementTree.Element]:
    """Return the Pixels of each image in the OME metadata of a file; none where they are damaged."""
    with suppress(ElementTree.ParseError):
        return ElementTree.fromstring(tiff.pages.first.description).findall(".//{*}Pixels")
    return []
