"""Grey levels of an image too large for memory.

They come from the whole image, window by window, or else the same nucleus would look different from one tile
to the next.
"""

from collections.abc import Callable

import numpy as np

from nuclei.images.tiles import windows


def as_rgb8(image: np.ndarray) -> np.ndarray:
    """Bring any image to the one form that the model knows: (H, W, 3) uint8.

    Parameters
    ----------
    image : (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4) array of bool, integers or floats
        Grey, grey + alpha, RGB or RGB + alpha. Alpha is dropped.

    Returns
    -------
    (H, W, 3) uint8
        8-bit values as they are; any other type is stretched so that the 0.1 and 99.9 percentiles
        of the whole image become 0 and 255. A constant image becomes 0.

    Raises
    ------
    ValueError
        The array has another shape, or no pixels, or values that are NaN, infinite or beyond float32.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4) or image.size == 0:
        raise ValueError(
            f"an image of shape {image.shape} was found, expected (H, W) or (H, W, 1 to 4); "
            "save one plane of a stack"
        )
    image = image[..., :1] if image.shape[2] < 3 else image[..., :3]
    if image.dtype != np.uint8:
        with np.errstate(over="ignore"):
            image = image.astype(np.float32)
        if bad := np.count_nonzero(~np.isfinite(image)):
            raise ValueError(f"{bad:,} of {image.size:,} values are NaN or infinite; replace them first")
        low, high = np.percentile(image, (0.1, 99.9))
        image = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
        image = np.round(image * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


SAMPLE = 2**22  # values; where not all can be counted, percentiles are taken from so many


def rgb8_converter(image, normalize: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Read a whole image, window by window, to bring any part of it to the model's range.

    Parameters
    ----------
    image : nuclei.images.reading.Image
    normalize : bool
        Whether to stretch as `nuclei.images.intensity.normalize` does, afterwards.

    Returns
    -------
    function
        A window of ``image.pixels``, (h, w) or (h, w, 3) -> (h, w, 3) uint8: what `as_rgb8` and `normalize`
        would have made of it as a part of the whole.

    Notes
    -----
    The percentiles are exact for integers of 8 and 16 bits, whose values are counted. For other types they
    come from some four million values, on a regular grid.
    """
    first = second = (0, 255)
    if image.dtype != np.uint8 or normalize:
        values, counts = _distribution(image)
        if image.dtype != np.uint8:
            first = _percentiles(values, counts, (0.1, 99.9))
        if normalize:
            counts = np.bincount(_stretch(values, *first), counts, minlength=256)
            second = _percentiles(np.arange(256), counts, (1, 99.8))

    def convert(part: np.ndarray) -> np.ndarray:
        for limits in (first, second):
            part = part if part.dtype == np.uint8 and limits == (0, 255) else _stretch(part, *limits)
        return as_rgb8(part)

    return convert


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bring low..high to 0..255 uint8."""
    scaled = (values.astype(np.float32) - low) / max(high - low, 1e-12)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def _distribution(image) -> tuple[np.ndarray, np.ndarray]:
    """Return values of the image's colours in ascending order, and how often each occurs."""
    height, width = image.shape
    colours = (np.atleast_3d(image.pixels(tile.core)) for tile in windows((height, width), halo=0))
    if image.dtype.kind in "iu" and image.dtype.itemsize <= 2:
        least, most = np.iinfo(image.dtype).min, np.iinfo(image.dtype).max
        values = np.arange(least, most + 1)
        counts = np.zeros(values.size, int)
        for each in colours:
            counts += np.bincount(each.ravel().astype(int) - least, minlength=values.size)
        return values, counts
    step = int(np.ceil(np.sqrt(3 * height * width / SAMPLE)))
    values = np.concatenate([c[::step, ::step].ravel() for c in colours]).astype(np.float32)
    return np.sort(values), np.ones(values.size, int)


def _percentiles(values: np.ndarray, counts: np.ndarray, percentages: tuple[float, float]) -> tuple:
    """Return what `numpy.percentile` does for `values` repeated `counts` times."""
    ends = np.cumsum(counts)
    place = np.asarray(percentages) / 100 * (ends[-1] - 1)
    below, above = (values[np.searchsorted(ends, n, side="right")] for n in (np.floor(place), np.ceil(place)))
    return tuple((below + (above - below) * (place % 1)).tolist())


def normalize(image: np.ndarray) -> np.ndarray:
    """Stretch the grey values of a whole image, so that a dim one looks like a bright one.

    Parameters
    ----------
    image : (H, W, 3) uint8

    Returns
    -------
    (H, W, 3) uint8
        The 1 and 99.8 percentiles over all pixels and colours together, so that colours keep their tone, have
        become 0 and 255; what lies beyond is cut off. A constant image becomes 0.
    """
    low, high = np.percentile(image, (1, 99.8))
    table = np.clip((np.arange(256) - low) / max(high - low, 1e-6), 0, 1)
    return np.round(table * 255).astype(np.uint8)[image]
