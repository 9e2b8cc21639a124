"""Single changes of an image, as other specimens, microscopes, cameras and files would make them.

Each takes an (H, W, 3) float32 image, 0 to 1, and returns a new one of the same shape, whose values may leave
that range; `crowd` returns the labels too. None inverts an image: dark holes would be learned as nuclei.
"""

import io

import numpy as np
from PIL import Image
from scipy import ndimage as ndi
from skimage.color import hed_from_rgb, rgb_from_hed
from skimage.segmentation import expand_labels

HALO = 3  # pixels around a nucleus that its blurred edge still brightens


def stain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the concentrations of haematoxylin, eosin and DAB in stained tissue.

    Colour deconvolution: Ruifrok and Johnston, Analytical and Quantitative Cytology and Histology 23, 2001.
    Jitter of this kind generalised best in Tellez et al., Medical Image Analysis 58, 2019.
    """
    concentrations = -np.log(np.maximum(image, 1e-3)) @ hed_from_rgb.astype(np.float32)
    factors = np.exp(rng.uniform(-0.5, 0.5, 3)).astype(np.float32)
    shifts = rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    return np.exp(-(concentrations * factors + shifts) @ rgb_from_hed.astype(np.float32))


def white_balance(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Multiply each channel by 0.85 to 1.15."""
    return image * rng.uniform(0.85, 1.15, 3).astype(np.float32)


def hue(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix the channels; grey stays grey, as the weights of each new colour add up to 1."""
    mixing = rng.normal(0, 0.15, (3, 3)).astype(np.float32)
    return image + image @ (mixing - mixing.mean(axis=0))


def grey(image: np.ndarray) -> np.ndarray:
    """Replace every colour by its grey value."""
    return np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)


def tint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Show a grey image in one colour, as fluorescence is often saved: one channel strong, two weak or 0."""
    weights = rng.permutation([1, rng.choice([0, rng.random()]), rng.choice([0, rng.uniform(0, 0.4)])])
    return image * weights.astype(np.float32)


def dim_some_nuclei(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dim some nuclei of a fluorescence image, down to a seventh of their light above the background."""
    share = rng.uniform(0.2, 0.8)
    factors = np.exp(rng.uniform(-2, 0, labels.max() + 1)).astype(np.float32)
    factors[rng.random(factors.size) > share] = 1
    factors[0] = 1
    around = ndi.gaussian_filter(factors[expand_labels(labels, HALO)], 1)[..., None]
    dark = np.percentile(image[::4, ::4], 10)
    return np.where(image > dark, dark + (image - dark) * around, image)


def crowd(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paste the nuclei of a rotated copy of a square fluorescence image into its gaps, so that nuclei touch.

    A nucleus that would cover others by more than a tenth of its area is left out. Others get new labels.
    """
    turns = int(rng.integers(1, 4))
    other, numbers = np.rot90(image, turns), np.rot90(labels, turns)
    areas = np.bincount(numbers.ravel())
    covered = np.bincount(numbers[labels > 0], minlength=areas.size)
    kept = covered <= 0.1 * areas
    kept[0] = False
    new = np.where(kept[numbers], numbers + labels.max(), 0)
    merged = np.where(labels > 0, labels, new)
    weight = ndi.gaussian_filter((expand_labels(new, HALO) > 0).astype(np.float32), 1)[..., None]
    return np.maximum(image, other * weight), merged


def haze(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add out-of-focus light: a very blurred copy of the image, an even veil, or both."""
    cells = int(rng.integers(2, 9))
    blurred = _coarser(image, (cells, cells))
    amount = rng.uniform(0.1, 0.6)
    return (1 - amount) * image + amount * (blurred + rng.uniform(0, 0.5)) * rng.uniform(0.6, 1)


def uneven_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Multiply by smooth uneven illumination, which differs by a factor of up to about two."""
    points = np.exp(rng.normal(0, 0.3, (3, 3))).astype(np.float32)
    light = np.asarray(Image.fromarray(points).resize(image.shape[1::-1], Image.Resampling.BICUBIC))
    return image * (light / max(light.mean(), 0.1))[..., None]


def defocus(image: np.ndarray, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian, of a standard deviation of up to an eighth of the median nucleus's diameter."""
    sigma = rng.uniform(0.3, np.clip(diameter / 8, 0.5, 3))
    return ndi.gaussian_filter(image, (sigma, sigma, 0))


def downsample(image: np.ndarray, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Shrink by up to four and enlarge again, as a coarser camera would; nuclei keep about five pixels."""
    height, width = image.shape[:2]
    factor = rng.uniform(1, np.clip(diameter / 5, 1.2, 4))
    return _coarser(image, (round(height / factor), round(width / factor)))


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add shot noise, whose variance grows with the light, and read noise, which is the same everywhere.

    Model: Foi et al., IEEE Transactions on Image Processing 17, 2008, drawn as a normal one. In one image
    of three the grain is two pixels wide. A grey image gets the same noise in all channels.
    """
    height, width = image.shape[:2]
    photons, read = np.exp(rng.uniform(np.log(20), np.log(1000))), rng.uniform(0, 0.06)
    channels = 1 if np.array_equal(image[..., 0], image[..., 2]) else 3
    step = 2 if rng.random() < 1 / 3 else 1
    grain = rng.standard_normal((-(-height // step), -(-width // step), channels), np.float32)
    if step > 1:
        grain = ndi.zoom(grain, (step, step, 1), order=1)[:height, :width]
    return image + grain * np.sqrt(np.maximum(image, 0) / np.float32(photons) + np.float32(read**2))


def outliers(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let a few spots, or a scale bar, saturate, and make all else darker."""
    height, width = image.shape[:2]
    image = image * np.float32(rng.uniform(0.25, 0.9))
    if rng.random() < 0.3:
        top, left = rng.integers(height - 4), rng.integers(width // 2)
        image[top : top + rng.integers(2, 5), left : left + rng.integers(width // 8, width // 2)] = 1
    else:
        spots = np.zeros((height, width), bool)
        spots[rng.integers(height, size=8), rng.integers(width, size=8)] = True
        image[ndi.binary_dilation(spots, iterations=int(rng.integers(1, 3)))] = 1
    return image


def gamma(image: np.ndarray, rng: np.random.Generator, most: float = 0.92) -> np.ndarray:
    """Raise to a power whose logarithm is at most `most`, up or down."""
    return np.maximum(image, 0) ** np.float32(np.exp(rng.uniform(-most, most)))


def contrast(image: np.ndarray, rng: np.random.Generator, least: float = 0.5) -> np.ndarray:
    """Scale the distance from the mean by `least` to 1.4, and shift the mean by up to a tenth."""
    mean = image.mean()
    return (image - mean) * np.float32(rng.uniform(least, 1.4)) + mean + np.float32(rng.uniform(-0.1, 0.1))


def jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress as JPEG with a quality of 25 to 90."""
    file = io.BytesIO()
    picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
    picture.save(file, "JPEG", quality=int(rng.integers(25, 91)))
    return np.asarray(Image.open(file), np.float32) / 255


def stretch(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stretch the grey values once more, between random percentiles (0 to 3, and 97 to 99.99).

    They are random, as those of a crop differ from those of its image. The factor is at most four, as more
    would turn an empty crop into noise.
    """
    low, high = np.percentile(image[::2, ::2], (rng.uniform(0, 3), 100 - 10 ** rng.uniform(-2, 0.48)))
    return (image - np.float32(low)) / np.float32(max(high - low, 0.25))


def _coarser(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Shrink an image to `shape`, anti-aliased, and enlarge it again, both bilinear."""
    planes = [Image.fromarray(plane) for plane in np.moveaxis(image, 2, 0)]
    for size in ([max(1, side) for side in shape[::-1]], image.shape[1::-1]):
        planes = [plane.resize(size, Image.Resampling.BILINEAR) for plane in planes]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)
