"""Images and labels at another size."""

import numpy as np
from PIL import Image

from nuclei.images.tiles import STRIDE


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize an (H, W, 3) uint8 image to `shape`: bilinear, and anti-aliased where it shrinks."""
    height, width = shape
    picture = Image.fromarray(np.ascontiguousarray(image))
    for size in ((width, picture.height), (width, height)):  # Pillow's own order depends on its version
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def rescale_image(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize an (H, W, 3) uint8 image by a factor, to at least one pixel a side: see `resize_image`."""
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return image if (height, width) == image.shape[:2] else resize_image(image, (height, width))


def pad_to_stride(image: np.ndarray) -> np.ndarray:
    """Mirror an (H, W, 3) image at its lower and right edge, up to multiples of the network's stride."""
    padding = [(0, -side % STRIDE) for side in image.shape[:2]]
    return np.pad(image, [*padding, (0, 0)], "symmetric")


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) labels to `shape` by the nearest neighbour, so that no number is invented."""
    sides = zip(shape, labels.shape, strict=True)
    nearest = [((np.arange(n) + 0.5) * side / n).astype(int) for n, side in sides]
    return labels[np.ix_(*nearest)]
