"""One plane of an OME-Zarr (0.4 and 0.5), in a folder or at an address that fsspec opens, read in windows.

The layout is described at https://ngff.openmicroscopy.org; the largest of its resolutions is read.
"""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nuclei.images.tiff import LARGE, RGB, ImageError, chosen_page
from nuclei.images.tiff_metadata import LARGEST_PIXEL, MICROMETRES, usable_names
from nuclei.images.tiles import Window


class ZarrPlane:
    """One plane of an OME-Zarr; its attributes and windows are those of `nuclei.images.tiff.TiffPage`.

    Planes are counted from 0 through all z of the first time point, then the next. Three 8-bit channels
    displayed in red, green and blue are colours. Raises ImageError as `chosen_page` does, or where no window
    can be read on its own.
    """

    def __init__(self, place: str | Path, page: int | None = None):
        import zarr  # slow to import, and seldom needed

        try:
            group: Any = zarr.open_group(str(place), mode="r")
        except zarr.errors.ContainsArrayError as error:
            raise ImageError("an array was found, expected the group around it") from error
        about = group.attrs.asdict()
        about = about.get("ome", about)
        if not (about.get("multiscales") and about["multiscales"][0].get("datasets")):
            parts = ", ".join(sorted(group.keys())) or "nothing"
            found = f"a Zarr group without multiscales was found, expected an image; it holds {parts}"
            raise ImageError(f"{found}. Of a plate or another collection, name the images in it one by one")
        scales = about["multiscales"][0]
        level = group[scales["datasets"][0]["path"]]
        axes = [axis if isinstance(axis, str) else axis["name"] for axis in scales.get("axes", "tczyx")]
        if axes[-2:] != ["y", "x"]:
            raise ImageError(f"axes {''.join(axes)} were found, expected y and x as the last")
        lengths = dict(zip(axes, level.shape, strict=True))
        outer = {axis: n for axis, n in lengths.items() if axis not in "cyx"}
        self.description = f"axes {''.join(axes)} of shape {level.shape}"
        index = chosen_page(math.prod(outer.values()), page, self.description)
        numbers = map(int, np.unravel_index(index, tuple(outer.values())))
        self._array, self._axes, self._place = level, axes, dict(zip(outer, numbers, strict=True))
        self.dtype = level.dtype.newbyteorder("=")
        self.shape = (lengths["y"], lengths["x"], lengths.get("c", 1))
        self.is_large = lengths["y"] * lengths["x"] > LARGE
        if self.is_large and math.prod(level.chunks[-2:]) > LARGE:
            found = f"chunks of {' x '.join(map(str, level.chunks[-2:]))} pixels were found"
            expected = f"expected at most {LARGE / 1e6:.0f} megapixels, as each is read whole"
            raise ImageError(f"{found}, {expected}; write it with smaller chunks, such as 1024 x 1024")
        self.names = _channel_names(about, self.shape[2], self.dtype)
        self.pixel_size, self.note = _pixel_size(scales)

    def __getitem__(self, window: Window) -> np.ndarray:
        spans = self._place | dict(zip("yx", window, strict=True))
        part = self._array[tuple(spans.get(axis, slice(None)) for axis in self._axes)].astype(self.dtype)
        return np.moveaxis(part, 0, -1) if "c" in self._axes else part[..., None]

    def close(self) -> None:
        """There is nothing to close: files are opened for each window."""


def _channel_names(about: dict, count: int, dtype: np.dtype) -> tuple[str, ...]:
    known = (about.get("omero") or {}).get("channels") or []
    if dtype == np.uint8 and [c.get("color") for c in known] == ["FF0000", "00FF00", "0000FF"]:
        return RGB
    return usable_names([str(channel.get("label") or "") for channel in known], count)


def _pixel_size(scales: dict) -> tuple[tuple[float, float] | None, str]:
    """Return the height and width of a pixel in micrometres, or None; and a note on a missing unit."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):  # metadata that are damaged, or older
        size = np.ones(2)
        for each in (scales["datasets"][0], scales):
            for change in each.get("coordinateTransformations", ()):
                size = size * (change["scale"][-2:] if change["type"] == "scale" else 1)
        units = [axis.get("unit", "") for axis in scales["axes"][-2:]]
        height, width = size * [MICROMETRES.get(unit, 0) for unit in units]
        if 0 < min(height, width) and max(height, width) <= LARGEST_PIXEL:
            return (float(height), float(width)), ""
        if (size != 1).any() and units[0] not in MICROMETRES:
            unit = f"the unknown unit {units[0]!r}" if units[0] else "no unit"
            return None, f"the scale of pixels has {unit}, and is ignored"
    return None, ""
