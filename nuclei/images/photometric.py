"""What the numbers of a TIFF file mean: grey, inverted grey, a palette, RGB or other colours."""

from collections.abc import Callable

import numpy as np
import PIL.Image
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MASK, PHOTOMETRIC.MINISWHITE)
JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ALT_JPEG)  # decoded to RGB by tifffile
PILLOW = {(PHOTOMETRIC.YCBCR, 3): "YCbCr", (PHOTOMETRIC.SEPARATED, 4): "CMYK"}  # with samples per pixel


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
    name = mode or getattr(kind, "name", kind)
    raise ValueError(
        f"{page.dtype} values with the photometric interpretation {name} are not "
        "supported; save the image as RGB or as grey with black as zero, for example with Fiji (Image > Type)"
    )


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
