"""Every rule that changes grey values: to 8 bits, stretched; and which colour of an RGB image shows one dye.

Grey values are stretched by percentiles of the whole image, so that a nucleus looks the same in every window.
"""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage as ndi

from nuclei.images.tiles import Window, windows

EIGHT_BITS, NORMAL = (0.1, 99.9), (1, 99.8)  # percentiles that become 0 and 255
FAR = 3  # times the range of all other values: what lies beyond is no part of the picture
BURNED_IN, EDGE = 0.05, 0.5  # of the pixels at most: a scale bar or text in white; an edge in black
SAMPLE = 2**22  # values; where not all can be counted, percentiles are taken from so many


def as_rgb8(image: np.ndarray) -> np.ndarray:
    """Bring any image, (H, W) or (H, W, 1 to 4), to the one form that the model takes: (H, W, 3) uint8.

    Alpha is dropped. 8-bit values are unchanged; any other type is stretched so that the 0.1 and 99.9
    percentiles of the whole image become 0 and 255. A constant image becomes 0. Warns as `normalize` does.
    Raises ValueError for another shape, no pixels, or values that are NaN or infinite.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (2,), (3,), (4,)) or image.size == 0:
        expected = "(H, W) or (H, W, 1 to 4); save one plane of a stack"
        raise ValueError(f"an image of shape {image.shape} was found, expected {expected}")
    image = np.atleast_3d(image)[..., : 3 if image.shape[2:] >= (3,) else 1]
    if image.dtype.kind == "f" and (bad := np.count_nonzero(~np.isfinite(image))):
        raise ValueError(f"{bad:,} of {image.size:,} values are NaN or infinite; replace them first")
    if image.dtype != np.uint8:
        image = _stretch(image, *_limits(lambda: [image], image.dtype, EIGHT_BITS))
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def normalize(image: np.ndarray) -> np.ndarray:
    """Stretch the grey values of a whole (H, W, 3) uint8 image, so that a dim one looks like a bright one.

    Returns (H, W, 3) uint8: the 1 and 99.8 percentiles over all pixels and colours together, so that colours
    keep their tone, have become 0 and 255; what lies beyond is clipped. A constant image becomes 0.

    Warns where outliers would leave the picture less than a third of the range, and leaves them out of the
    percentiles: single hot or dead pixels, which a median filter of 3 x 3 pixels removes; or a scale bar or
    text (up to 5 % of the pixels) or a dark edge (up to half) that has an end value of the type, in floats of
    the image. Warns of larger ones, and of an image of one grey value or two, too.
    """
    return _stretch(image, *_limits(lambda: [image], image.dtype, NORMAL))


def rgb8_converter(image, normalize: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that converts windows of an image as `as_rgb8`, and then `normalize`, do the whole.

    It takes a window of ``image.pixels`` and returns (h, w, 3) uint8. All of the `Image` is read first. The
    percentiles are exact for integers of 8 and 16 bits, others come from four million values on a grid.
    """
    tiles = [tile.core for tile in windows(image.shape, halo=0)]
    step = int(np.ceil(np.sqrt(3 * image.shape[0] * image.shape[1] / SAMPLE)))
    limits: list[tuple[float, float]] = []

    def convert(part: np.ndarray) -> np.ndarray:
        for low, high in limits:
            part = _stretch(part, low, high)
        return as_rgb8(part)

    def add(read: Callable[[Window], np.ndarray], dtype: np.dtype, percents: tuple[float, float]) -> None:
        limits.append(_limits(lambda: (np.atleast_3d(read(tile)) for tile in tiles), dtype, percents, step))

    if image.dtype != np.uint8:
        add(image.pixels, image.dtype, EIGHT_BITS)
    if normalize:
        add(lambda tile: convert(image.pixels(tile)), np.dtype(np.uint8), NORMAL)
    return convert


def one_dye(image: np.ndarray) -> int | None:
    """Return the colour, 0 to 2, that holds the picture of an (H, W, 3) RGB image of one dye, or None.

    A fluorescence picture shown in blue, green, magenta and so on: all pixels lie on one line from the
    background's dark colour, and the line is far from grey.
    """
    pixels = image.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // 2**16)].astype(np.float64)
    background, brightest = np.median(pixels, axis=0), np.percentile(pixels.max(axis=1), 99.5)
    if not background.max() < brightest / 4:
        return None
    signal = pixels - background
    variances, directions = np.linalg.eigh(signal.T @ signal)
    hue = np.abs(directions[:, -1])
    is_line = variances[-1] > 0.95 * variances.sum()
    return int(hue.argmax()) if is_line and hue.min() < hue.max() / 2 else None


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bring low..high to 0..255 uint8."""
    if (every := _every_value(values.dtype)) is not None:  # a table is faster
        return _stretch(every.astype(np.float32), low, high)[values.astype(np.intp) - every[0]]
    with np.errstate(over="ignore"):  # where a constant image has a few other values
        scaled = np.clip((_floats(values) - np.float64(low)) / max(high - low, 1e-300), 0, 1)
    return np.round(scaled * 255).astype(np.uint8)


def _floats(values: np.ndarray) -> np.ndarray:
    """Return values as float32, or as float64 where they are too large, too small or too fine for it."""
    if values.dtype.itemsize > (2 if values.dtype.kind in "iu" else 4):  # 32 bits would round them
        return values.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    fits = 1e-30 < np.abs(single).max() < np.inf or not values.any()
    return single if fits else values.astype(np.float64)


def _every_value(dtype: np.dtype) -> np.ndarray | None:
    """Return all values of a type of 8 or 16 bits, ascending; None for larger types."""
    if dtype.kind not in "biu" or dtype.itemsize > 2:
        return None
    return np.arange(2) if dtype.kind == "b" else np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1)


def _limits(
    read: Callable[[], Iterable[np.ndarray]], dtype: np.dtype, percents: tuple[float, float], step: int = 1
) -> tuple[float, float]:
    """Return what becomes 0 and 255: percentiles of an image, without outliers.

    read : function that returns the image's parts, (h, w, C) arrays of `dtype`
    step : int, of the grid of pixels that are sampled where values cannot be counted
    """
    values, counts = _distribution(read(), dtype, step)
    low, high = _percentiles(values, counts, percents)
    first = next(iter(read()))[0, 0]
    if len(values) <= first.size and all((part == first).all() for part in read()):
        only = "only one grey value was found: the image shows nothing; check the file, its channel and page"
        warnings.warn(only, stacklevel=3)
    elif len(values) == 2:
        warnings.warn("only two grey values were found: is it a mask, not a photograph?", stacklevel=3)
    # what marks pixels without a measurement: the ends of a type, of floats those found
    ends = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (values[0], values[-1])
    for end, others, limit, what in (
        (-1, np.s_[:-1], BURNED_IN, "above the rest: a bar or text"),
        (0, np.s_[1:], EDGE, "below the rest: an edge"),
    ):
        if len(values) == 1 or values[end] not in ends:
            continue
        # an edge of a rotated image is not sharp
        least, most = _percentiles(values[others], counts[others], NORMAL)
        if most > least and high - low > FAR * (most - least):
            share = counts[end] / counts.sum()
            kept = " not" if share > limit else ""
            many = f"{share:.1%} of the values are {values[end]:g}, far {what}"
            warnings.warn(f"{many} was{kept} left out of the contrast; check the result", stacklevel=3)
            if not kept:
                low, high, values, counts = least, most, values[others], counts[others]
    if high - low > FAR * np.subtract(*_percentiles(values, counts, (97, 3))):
        smooth = (ndi.median_filter(part, (3, 3, 1)) for part in read())
        least, most = _percentiles(*_distribution(smooth, dtype, step), percents)
        if most > least and high - low > FAR * (most - least):
            hot = f"hot or dead pixels ({low:g} to {high:g}, all others {least:g} to {most:g}) are"
            warnings.warn(f"{hot} left out of the contrast; check the result", stacklevel=3)
            low, high = least, most
    return low, high


def _distribution(parts: Iterable[np.ndarray], dtype: np.dtype, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that occur, in ascending order, and how often each does."""
    if (every := _every_value(dtype)) is not None:
        counts = np.zeros(every.size, np.int64)
        for part in parts:
            for some in np.array_split(part.ravel(), 1 + part.size // SAMPLE):  # as indices take 8 bytes each
                counts += np.bincount(some.astype(np.intp) - every[0], minlength=every.size)
        return every[counts > 0], counts[counts > 0]
    sample = np.concatenate([part[::step, ::step].ravel() for part in parts])
    return np.unique(_floats(sample), return_counts=True)


def _percentiles(values: np.ndarray, counts: np.ndarray, percents: tuple[float, float]) -> tuple:
    """Return what `numpy.percentile` does for `values` repeated `counts` times."""
    ends = np.cumsum(counts)
    places = [percent / 100 * (ends[-1] - 1) for percent in percents]
    pairs = [values[np.searchsorted(ends, (np.floor(p), np.ceil(p)), side="right")] for p in places]
    return tuple(float(np.quantile(pair, p % 1)) for pair, p in zip(pairs, places, strict=True))
