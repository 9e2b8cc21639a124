"""Images and labels at another size."""

import numpy as np
from PIL import Image


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize an (H, W, 3) uint8 image to `shape`: bilinear, and anti-aliased where it shrinks."""
    height, width = shape
    picture = Image.fromarray(np.ascontiguousarray(image))
    for size in ((width, picture.height), (width, height)):  # Pillow's own order depends on its version
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) labels to `shape` by the nearest neighbour, so that no number is invented."""
    sides = zip(shape, labels.shape, strict=True)
    nearest = [((np.arange(n) + 0.5) * side / n).astype(int) for n, side in sides]
    return labels[np.ix_(*nearest)]
