"""Images as people have them: which files are images, and what one file holds.

A file may hold more than a picture: pages (planes of a stack, time points), channels, and how large a pixel
is. Pages and channels are counted from 0.
"""

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import imagecodecs
import imageio.v3 as iio
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from nuclei.images.tiff import naming, read_tiff


def decode(read: Callable[[str], bytes], name: str) -> np.ndarray:
    """Return the picture in the file `name`, as its file has it; ValueError where it is none."""
    if name.lower().endswith((".tif", ".tiff")):
        with suppress(Exception):  # Pillow has some compressions that tifffile lacks, or says what is wrong
            if (picture := tifffile.imread(io.BytesIO(read(name)))).size:
                return picture
    try:
        content = read(name)
        if content[1:4] == b"PNG" and content[24:25] == b"\x10":  # Pillow would cut 16-bit colours to 8
            return imagecodecs.png_decode(content)
        with Image.open(io.BytesIO(content)) as picture:
            mode = "RGB" if picture.mode == "CMYK" else None
        return iio.imread(io.BytesIO(content), plugin="pillow", mode=mode)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large for a PNG or JPEG ({error}). Save it as TIFF.") from error
    except Exception as error:  # a broken file raises nearly anything, by its format and damage
        what = "no format that is known" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(
            f"{name}: cannot be read as an image ({what}). Replace or remove the file."
        ) from error


TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF file begins, by byte order; with + for more than 4 GB."""


class Picture(NamedTuple):
    """What a file holds.

    image : (H, W) or (H, W, 2 to 4) array of any type, the values of the file
        What a model looks at: grey, grey + alpha, RGB or RGB + alpha.
    channels : (H, W, C) array of the same type
        All that can be measured: every channel of the page, without alpha.
    pixel_size : float or None
        Micrometres; None where the file does not tell, or has pixels that are no squares.
    """

    image: np.ndarray
    channels: np.ndarray
    pixel_size: float | None = None


def read_picture(
    file: str | Path | BinaryIO,
    channel: int | None = None,
    page: int | None = None,
    name: str | None = None,
) -> Picture:
    """Read a PNG, JPEG or TIFF file.

    Parameters
    ----------
    file : str, Path or binary file
    channel : int, optional
        Which channel, or colour, the image is, from 0; needed where there are several that are no colours.
    page : int, optional
        Which plane the image is, from 0; needed where there are several.
    name : str, optional
        What errors call the file; by default its path.

    Returns
    -------
    Picture

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
            return read_picture(opened, channel, page, name)
    begin = file.read(4)
    file.seek(0)
    if begin in TIFF:
        with naming(name):
            pixels, colours, pixel_size = read_tiff(file, channel, page)
    else:
        content = file.read()
        pixels, colours, pixel_size = np.atleast_3d(decode(lambda _: content, name)), True, None
        if page or pixels.ndim > 3:
            raise ValueError(f"{name}: a file of one page was expected; save one page of it, or give no page")
    check_values(pixels, name)
    measured, seen = choose_channels(pixels.shape[2], colours, channel, name)
    image = pixels[..., seen]
    return Picture(image[..., 0] if image.shape[2] == 1 else image, pixels[..., measured], pixel_size)


def check_values(pixels: np.ndarray, name: str) -> None:
    """Raise ValueError where values are no numbers; it calls the file by `name`."""
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{name}: values of type {pixels.dtype}, expected whole or decimal numbers")
    if pixels.dtype.kind == "f" and (bad := np.count_nonzero(~np.isfinite(pixels))):
        raise ValueError(f"{name}: {bad:,} of {pixels.size:,} values are NaN or infinite; replace them first")


def choose_channels(count: int, colours: bool, channel: int | None, name: str) -> tuple[slice, slice]:
    """Choose among the channels of a file.

    Parameters
    ----------
    count : int, how many there are
    colours : bool, whether they are grey or RGB, with or without alpha
    channel : int, optional; see `read_picture`
    name : str, what errors call the file

    Returns
    -------
    slice, slice
        The channels to measure, and those that a model looks at; see `Picture`.

    Raises
    ------
    ValueError
        There is no such channel.
    """
    measured = {2: 1, 4: 3}.get(count, count) if colours else count
    if channel is None:
        return slice(measured), slice(count)
    if not 0 <= channel < measured:
        raise ValueError(f"{name}: channel {channel} was asked for, there are {measured} from 0")
    return slice(measured), slice(channel, channel + 1)
