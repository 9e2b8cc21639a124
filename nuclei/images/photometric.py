"""What the numbers of a TIFF file mean: grey, inverted grey, a palette, or colours of several kinds."""

from collections.abc import Callable

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MASK)

JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ALT_JPEG)  # decoded to RGB by tifffile

ALPHA = (1, 2)  # kinds of extra samples: associated and unassociated alpha


class Colours:
    """Converts the stored samples of a TIFF page to grey or RGB values.

    samples : int, values for each pixel after conversion
    rgb : bool, whether they are red, green and blue

    Parameters
    ----------
    page : tifffile.TiffPage
    stored : int
        Samples of each pixel as stored, with alpha.

    Raises
    ------
    ValueError
        The photometric interpretation is not supported; the error names it.
    """

    def __init__(self, page: tifffile.TiffPage, stored: int):
        kind, alpha = page.photometric, sum(extra in ALPHA for extra in page.extrasamples)
        self._visible = max(1, stored - alpha) if stored > 1 else 1
        self._convert: Callable[[np.ndarray], np.ndarray] = _unchanged
        if kind == PHOTOMETRIC.RGB and stored in (3, 4):
            self._visible = 3
        elif kind == PHOTOMETRIC.MINISWHITE:
            self._convert = _inverse(page)
        elif kind == PHOTOMETRIC.PALETTE and page.colormap is not None:
            self._convert = _palette(page.colormap)
        elif kind == PHOTOMETRIC.YCBCR and self._visible == 3:
            self._convert = _unchanged if page.compression in JPEG else _bytes_only(_from_ycbcr, page)
        elif kind == PHOTOMETRIC.SEPARATED and self._visible == 4 and page.dtype.kind == "u":
            self._convert = _from_cmyk
        elif kind in (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB) and self._visible == 3:
            signed = kind == PHOTOMETRIC.CIELAB
            self._convert = _bytes_only(lambda lab: _from_lab(lab, signed), page)
        elif kind not in (*GREY, PHOTOMETRIC.RGB):
            raise ValueError(f"{_name(page)} are not supported; save the image as RGB or grey")
        colours = kind not in (*GREY, PHOTOMETRIC.MINISWHITE)
        self.samples = self(np.zeros((1, 1, 1, stored), page.dtype)).shape[-1]
        self.rgb = colours and self.samples == 3

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(h, w, C, S) stored samples -> (h, w, C, `samples`)."""
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return self._convert(values[..., : self._visible])


def _name(page: tifffile.TiffPage) -> str:
    kind = page.photometric
    name = getattr(kind, "name", str(kind))
    return f"{page.dtype} values with the photometric interpretation {name}"


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


def _bytes_only(convert: Callable, page: tifffile.TiffPage) -> Callable:
    if page.dtype != np.uint8:
        raise ValueError(f"{_name(page)} are not supported, only those of 8 bits; save the image as RGB")
    return convert


def _inverse(page: tifffile.TiffPage) -> Callable[[np.ndarray], np.ndarray]:
    """White is zero: return what turns the values round within their range."""
    if page.dtype.kind == "f":
        raise ValueError(f"{_name(page)} are not supported; save the image with black as zero")
    if page.dtype.kind == "u":
        white = page.dtype.type(2**page.bitspersample - 1)
        return lambda values: white - values
    return np.invert  # of signed integers: -1 - value; of bool: not


def _palette(colormap: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what looks up indices in a (3, N) uint16 palette.

    Where colours get brighter from each entry to the next, as in the display colours of a microscope's
    software, the indices are the measured values and stay.
    """
    luminance = np.array([0.299, 0.587, 0.114]) @ colormap
    if (np.diff(luminance) >= 0).all() and luminance[-1] > luminance[0]:
        return _unchanged
    if colormap.shape[1] <= 256:  # 8 bits of 16; some programs write 8 bits only
        colormap = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8)
    return lambda values: colormap.T[values[..., 0]]


def _from_ycbcr(values: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 with the full range of 8 bits, as in JPEG files (JFIF 1.02)."""
    y, cb, cr = np.moveaxis(values.astype(np.float32) - (0, 128, 128), -1, 0)
    rgb = (y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb)
    return np.round(np.clip(np.stack(rgb, axis=-1), 0, 255)).astype(np.uint8)


def _from_cmyk(values: np.ndarray) -> np.ndarray:
    """Inks to light, without a colour profile: each ink takes its share of what black leaves."""
    white = np.iinfo(values.dtype).max
    light = 1 - values / white
    return np.round(white * light[..., :3] * light[..., 3:]).astype(values.dtype)


def _from_lab(values: np.ndarray, signed: bool) -> np.ndarray:
    """CIE L*a*b* of 8 bits, with signed a and b (TIFF 6.0) or with an offset of 128 (ICC)."""
    from skimage.color import lab2rgb

    a_b = values[..., 1:].view(np.int8) if signed else values[..., 1:].astype(np.int16) - 128
    lab = np.concatenate([values[..., :1] * (100 / 255), a_b], axis=-1)
    return np.round(255 * np.clip(lab2rgb(lab), 0, 1)).astype(np.uint8)
