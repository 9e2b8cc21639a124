"""Opens image files: every part of the project reads them through `open_image`.

A file may hold more than a picture: pages (planes of a stack, time points), channels, and how large a pixel
is. Pages and channels are counted from 0.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
import PIL.Image
import tifffile
from PIL import UnidentifiedImageError

from nuclei.images.finding import CONVERT
from nuclei.images.intensity import one_dye
from nuclei.images.tiff import BEGINNINGS, Choice, TiffPage
from nuclei.images.tiles import Window

WHOLE = (slice(None), slice(None))


class Image:
    """One picture. ``image[rows, columns]`` gives a window of all channels, (h, w, C).

    shape : (H, W), pixels
    dtype : numpy.dtype of the values, those of the file
    channels : tuple of str, the names of what can be measured: ``R``, ``G`` and ``B``, the names that the
        file has, or ``ch0``, ``ch1``, …; never alpha
    pixel_size : (y, x) in micrometres, or None if the file does not say
    name : str, the name of the file in errors
    note : str, how the picture was read where that is not obvious, or ""
    is_large : bool, whether windows are read from disk when they are asked for, as the image may not fit into
        memory: a TIFF of more than `tiff.LARGE` pixels. All others are in memory.

    To be closed where it is large, or used in a ``with`` statement. Made by `open_image`.
    """

    def __init__(
        self,
        source: np.ndarray | TiffPage,
        channels: tuple[str, ...],
        shown: slice = slice(None),
        pixel_size: tuple[float, float] | None = None,
        name: str = "image",
        note: str = "",
    ):
        self._source, self._shown, self.note = source, shown, note
        self.shape, self.dtype, self.channels = source.shape[:2], source.dtype, channels
        self.pixel_size, self.name = pixel_size, name
        self.is_large = not isinstance(source, np.ndarray)

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return all channels of a window, (h, w, C); ValueError where it cannot be read, or has NaN."""
        if not self.is_large:
            return self._source[window]
        with _errors_named(self.name):
            part = self._source[window]
        _check_values(part, self.name)
        return part

    def pixels(self, window: Window = WHOLE) -> np.ndarray:
        """Return a window of what a model sees: (h, w) grey or (h, w, 3) RGB, in the file's values."""
        return self.shown(self[window])

    def shown(self, part: np.ndarray) -> np.ndarray:
        """Return the same, of a window that has been read: (h, w, C) -> (h, w) or (h, w, 3)."""
        part = part[..., self._shown]
        return part[..., 0] if part.shape[2] == 1 else part

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_) -> None:
        if not isinstance(self._source, np.ndarray):
            self._source.close()

    close = __exit__


def open_image(
    file: str | Path | BinaryIO,
    channel: int | None = None,
    page: int | None = None,
    name: str | None = None,
) -> Image:
    """Open a PNG, JPEG, BMP, GIF or TIFF file, whatever its name ends in.

    Parameters
    ----------
    file : str, Path or binary file
    channel : int, optional
        Which channel, or colour, a model sees, from 0; needed where there are several that are no colours.
    page : int, optional
        Which plane the image is, from 0; needed where there are several.
    name : str, optional
        What errors call the file; by default its path.

    Returns
    -------
    Image

    Raises
    ------
    ValueError
        The file is broken or no image, has several pages or channels and none was chosen (the error lists
        them), not the one that was, or values that are no numbers.
    OSError
        The file cannot be opened.
    """
    name = str(file) if name is None else name
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            if (beginning := opened.read(4)) not in BEGINNINGS:
                return _from_pillow(beginning + opened.read(), channel, page, name)
    else:
        beginning = file.read(4)
        file.seek(0)
        if beginning not in BEGINNINGS:
            return _from_pillow(file.read(), channel, page, name)
    with _errors_named(name):
        tiff = TiffPage(file, page)
        image = Image(tiff, tiff.names, _shown(tiff, channel), tiff.pixel_size, name)
        if not tiff.is_large:
            pixels = image[WHOLE]
            image.close()
            image = Image(pixels, image.channels, image._shown, image.pixel_size, name)
        return _without_dye(image)


def read_numbers(file: BinaryIO, name: str) -> np.ndarray:
    """Return the numbers of a label image or mask as they are stored: (H, W) or (H, W, C) array.

    Nothing is converted: a palette's numbers stay, whatever colours they stand for, and alpha is kept.
    `name` is the name of the file in errors. Raises ValueError if it cannot be read.
    """
    content = file.read()
    if content[:4] in BEGINNINGS:
        with _errors_named(name):
            if (numbers := tifffile.imread(io.BytesIO(content))).size:
                return numbers
            raise ValueError("it holds no image")
    return _decode(content, 0, name, palette=False)


def _from_pillow(content: bytes, channel: int | None, page: int | None, name: str) -> Image:
    pixels = np.atleast_3d(_decode(content, page, name))
    pixels = pixels[..., : 1 if pixels.shape[2] < 3 else 3]  # without alpha
    names = ("R", "G", "B") if pixels.shape[2] == 3 else ("ch0",)
    _check_values(pixels, name)
    return _without_dye(Image(pixels, names, _one_of(names, channel, name), None, name))


def _without_dye(image: Image) -> Image:
    """Return a fluorescence image of one dye as the grey picture it is, whatever colour it is shown in.

    The colour is known from the whole image, or in a large one from nine windows spread over it.
    """
    if image.channels != ("R", "G", "B") or image._shown != slice(None):
        return image
    part = image[WHOLE] if not image.is_large else _spread_windows(image)
    if (colour := one_dye(part)) is not None:
        image._shown = slice(colour, colour + 1)
        image.note = (
            f"a fluorescence image of one dye in RGB: colour {image.channels[colour]} is read as grey"
        )
    return image


def _spread_windows(image: Image, side: int = 256) -> np.ndarray:
    """Return nine windows of an image, one above the other: (h, w, C)."""
    starts = [[max(0, length - side) * k // 6 for k in (1, 3, 5)] for length in image.shape]
    places = [(slice(y, y + side), slice(x, x + side)) for y in starts[0] for x in starts[1]]
    return np.concatenate([image[place] for place in places])


def _decode(content: bytes, page: int | None, name: str, palette: bool = True) -> np.ndarray:
    """Return the picture in a file that Pillow reads; with `palette`, indices become their colours."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            pages = getattr(picture, "n_frames", 1)
            if page is None and pages > 1 or not 0 <= (page or 0) < pages:
                raise Choice(f"a file of {pages} pages was found; choose a page, 0 to {pages - 1}")
            if picture.format == "PNG" and content[24] == 16:  # Pillow would cut 16-bit colours to 8
                return imagecodecs.png_decode(content)
            picture.seek(page or 0)
            mode = picture.mode
            if mode == "P" and palette:
                mode = "RGBA" if "transparency" in picture.info else "RGB"
            elif mode in ("CMYK", "YCbCr", "HSV", "PA", "RGBX"):
                mode = "RGB"
            pixels = np.asarray(picture if mode == picture.mode else picture.convert(mode))
            return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large for a PNG or JPEG ({error}). Save it as TIFF.") from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name}: cannot be read as an image: unsupported format; {CONVERT}, or remove the file"
        ) from error
    except Choice as error:
        raise ValueError(f"{name}: {error}") from error
    except Exception as error:  # a broken file raises nearly anything, by its format and damage
        raise ValueError(
            f"{name}: cannot be read as an image ({_reason(error)}). Replace or remove the file."
        ) from error


@contextmanager
def _errors_named(name: str) -> Iterator[None]:
    """Make any error in reading a TIFF a ValueError that names the file: a broken one raises nearly any."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise ValueError(f"{name}: cannot be read as a TIFF image: {_reason(error)}") from error
    except Exception as error:
        if str(error).startswith(f"{name}: "):
            raise
        wrong = "" if isinstance(error, Choice) else "cannot be read as a TIFF image: "
        raise ValueError(f"{name}: {wrong}{_reason(error)}") from error


def _reason(error: Exception) -> str:
    return "not enough memory" if isinstance(error, MemoryError) else str(error) or type(error).__name__


def _shown(tiff: TiffPage, channel: int | None) -> slice:
    if channel is None and len(tiff.names) > 1 and not tiff.rgb:
        raise Choice(
            f"{len(tiff.names)} channels were found ({tiff}; {', '.join(tiff.names)}); choose the channel "
            f"that shows the nuclei, 0 to {len(tiff.names) - 1}"
        )
    return _one_of(tiff.names, channel, "")


def _one_of(channels: tuple[str, ...], channel: int | None, name: str) -> slice:
    if channel is None:
        return slice(None)
    if not 0 <= channel < len(channels):
        where = f"{name}: " if name else ""
        raise Choice(f"{where}channel {channel} was asked for, there are {len(channels)} from 0")
    return slice(channel, channel + 1)


def _check_values(pixels: np.ndarray, name: str) -> None:
    """Raise ValueError where values are no numbers; it calls the file by `name`."""
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{name}: values of type {pixels.dtype}, expected whole or decimal numbers")
    if pixels.dtype.kind == "f" and (bad := np.count_nonzero(~np.isfinite(pixels))):
        raise ValueError(f"{name}: {bad:,} of {pixels.size:,} values are NaN or infinite; replace them first")
