"""Opens image files: every part of the project reads them through `open_image`."""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import tifffile

from nuclei.images.finding import CONVERT, is_zarr
from nuclei.images.intensity import one_dye
from nuclei.images.ome_zarr import ZarrPlane
from nuclei.images.tiff import BEGINNINGS, RGB, File, ImageError, TiffPage, chosen_page
from nuclei.images.tiles import Window, spread_windows

WHOLE = (slice(None), slice(None))


@dataclass(eq=False)
class Image(AbstractContextManager["Image"]):
    """One picture. ``image[rows, columns]`` gives a window of all channels, (h, w, C), in the file's values.

    It also has a ``shape``, (H, W), and the ``dtype`` of its values. If it ``is_large``, a TIFF or OME-Zarr
    of more than `tiff.LARGE` pixels, windows are read from disk when they are asked for: close it, or use a
    ``with`` statement. All others are in memory.
    """

    source: np.ndarray | TiffPage | ZarrPlane
    channels: tuple[str, ...]  # names of what can be measured: `RGB`, those in the file, or ch0, ch1, …
    channel: int | None = None  # which of them a model sees; None for all
    pixel_size: tuple[float, float] | None = None  # (y, x) in micrometres; None if the file does not say
    name: str = "image"  # of the file, in errors
    note: str = ""  # how the picture was read where that is not obvious

    def __post_init__(self) -> None:
        self.shape, self.dtype = self.source.shape[:2], self.source.dtype
        self.is_large = not isinstance(self.source, np.ndarray)

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return all channels of a window, (h, w, C); ValueError where it cannot be read, or has NaN."""
        if isinstance(self.source, np.ndarray):
            return self.source[window]
        try:
            with _errors_named(self.name):
                return _checked(self.source[window])
        except OSError as error:  # of the disk or the network
            raise ValueError(f"{self.name}: {error}") from error

    def pixels(self, window: Window = WHOLE) -> np.ndarray:
        """Return a window of what a model sees: (h, w) grey or (h, w, 3) RGB, in the file's values."""
        return self.shown(self[window])

    def shown(self, part: np.ndarray) -> np.ndarray:
        """Return what a model sees of a window that has been read: (h, w, C) -> (h, w) or (h, w, 3)."""
        part = part if self.channel is None else part[..., self.channel]
        return part[..., 0] if part.ndim == 3 and part.shape[2] == 1 else part

    def add_note(self, text: str) -> None:
        self.note = "; ".join(filter(None, (self.note, text)))

    def __exit__(self, *_) -> None:
        if not isinstance(self.source, np.ndarray):
            self.source.close()

    close = __exit__


def open_image(
    file: File, channel: int | None = None, page: int | None = None, name: str | None = None
) -> Image:
    """Open a PNG, JPEG, BMP or TIFF file, or the folder or address of an OME-Zarr.

    The `page`, from 0, is needed where there are several (planes of a stack, time points); so is the
    `channel` that a model sees, except in RGB images. A fluorescence image of one dye in RGB is seen as the
    grey picture it is. Errors call the file `name`.

    Raises ValueError where the file is broken or no image, has no such page or channel, has several and none
    was chosen (the error lists them), or has values that are no numbers; OSError where it cannot be opened.
    """
    name = str(file) if name is None else name
    source: np.ndarray | TiffPage | ZarrPlane
    plane: TiffPage | ZarrPlane | None
    with _errors_named(name):
        if isinstance(file, (str, Path)) and is_zarr(file):
            plane = ZarrPlane(file, page)
        else:
            with open(file, "rb") if isinstance(file, (str, Path)) else nullcontext(file) as opened:
                is_tiff = opened.read(4) in BEGINNINGS
                opened.seek(0)
                content = b"" if is_tiff else opened.read()
            plane = TiffPage(file, page) if is_tiff else None
        if plane:
            source, channels, found = plane, plane.names, plane.description
            size, note = plane.pixel_size, plane.note
            if not plane.is_large:
                with closing(plane):
                    source = _checked(plane[WHOLE])
        else:
            pixels = np.atleast_3d(_decode(content, page))
            source = _checked(pixels[..., : 1 if pixels.shape[2] < 3 else 3])  # without alpha
            channels, found, size, note = RGB if source.shape[2] == 3 else ("ch0",), "", None, ""
        count = len(channels)
        if channel is None and count > 1 and channels != RGB:
            listed = f"{count} channels were found ({found}; {', '.join(channels)})"
            raise ImageError(f"{listed}; choose the `channel` that shows the nuclei, 0 to {count - 1}")
        if not 0 <= (channel or 0) < count:
            raise ImageError(f"`channel` {channel} was asked for, there are {count}; choose 0 to {count - 1}")
    image = Image(source, channels, channel, size, name, note)
    if channel is None and channels == RGB:
        parts = spread_windows(image.shape, 256) if image.is_large else [WHOLE]
        if (colour := one_dye(np.concatenate([image[part] for part in parts]))) is not None:
            image.channel = colour
            image.add_note(f"a fluorescence image of one dye in RGB: colour {RGB[colour]} is read as grey")
    return image


def read_numbers(content: bytes, name: str) -> np.ndarray:
    """Return the numbers of a label image or mask as stored, with palette indices and alpha.

    They are (H, W) or (H, W, C) of any dtype. Raises ValueError, with the file's `name`, for a broken file.
    """
    with _errors_named(name):
        is_tiff = content[:4] in BEGINNINGS
        numbers = tifffile.imread(io.BytesIO(content)) if is_tiff else _decode(content, 0, palette=False)
        if not numbers.size:
            raise ValueError("it holds no image")
        return numbers


def _decode(content: bytes, page: int | None, palette: bool = True) -> np.ndarray:
    """Return the picture in a file that Pillow reads; with `palette`, indices become their colours."""
    if not content:
        raise ValueError("the file is empty; copy or save it again")
    with PIL.Image.open(io.BytesIO(content)) as picture:
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # of a photo with previews
        picture.seek(chosen_page(pages, page))
        if picture.format == "PNG" and content[24] == 16:  # Pillow would cut 16-bit colours to 8
            return imagecodecs.png_decode(content)
        converted = picture.mode in ("CMYK", "YCbCr", "HSV", "PA", "RGBX") or picture.mode == "P" and palette
        pixels = np.asarray(picture.convert("RGB") if converted else picture)
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


@contextmanager
def _errors_named(name: str) -> Iterator[None]:
    """Make any error in reading a file a ValueError that names it: a broken one raises nearly any."""
    unread = "cannot be read as an image"
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        reason = "not enough memory" if isinstance(error, MemoryError) else str(error) or type(error).__name__
        if isinstance(error, PIL.Image.DecompressionBombError):
            most = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0) / 1e6
            reason = f"more than {most:.0f} megapixels, too large for a PNG or JPEG; save it as TIFF"
        elif isinstance(error, PIL.UnidentifiedImageError) or "cannot find loader" in reason:  # as for HDF5
            reason = f"{unread}: unsupported format; {CONVERT}"
        elif not isinstance(error, ImageError):
            reason = f"{unread}: {reason}"
        raise ValueError(f"{name}: {reason}") from error


def _checked(pixels: np.ndarray) -> np.ndarray:
    """Return pixels whose values are numbers; ImageError for others."""
    if pixels.dtype.kind not in "buif":
        raise ImageError(f"values of type {pixels.dtype}, expected whole or decimal numbers")
    if pixels.dtype.kind == "f" and (bad := np.count_nonzero(~np.isfinite(pixels))):
        raise ImageError(f"{bad:,} of {pixels.size:,} values are NaN or infinite; replace them first")
    return pixels
