"""Draw microscope images with exact labels, in the looks of the data set's five image types.

The drawings serve demonstrations and tests, where no real image can be shipped. Colours, grey levels and nuclear
sizes were measured on the real images; how nuclei lie (scattered, in clumps, along a gland, between fibres) was
copied by eye. Nuclear size in pixels does not depend on the size of the image: a larger image shows more nuclei.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from nuclei.image_types import IMAGE_TYPES

SMALLEST_SIZE = 32  # pixels; below this, an image may have no room for a nucleus
SMALLEST_AREA = 12  # pixels; less than this of a nucleus at the image's edge is not drawn

# RGB from the clear background (density 0) in equal steps to the darkest nucleus (density 1)
PURPLE = np.array([(190, 172, 214), (174, 153, 206), (143, 106, 199), (113, 57, 194), (92, 29, 188), (66, 10, 165)])
MAGENTA = np.array(
    [(214, 217, 217), (186, 160, 204), (156, 103, 190), (126, 61, 167), (98, 33, 137), (48, 16, 72)]
)


class Blob(NamedTuple):
    """An outline, filled: where it lies in the image, and how far inside it each pixel is."""

    window: tuple[slice, slice]  # rows and columns of the image
    depth: np.ndarray  # (h, w) float, pixels inward from the outline; negative outside
    radius: float  # pixels, of the circle of about the same area


def draw(image_type: str, seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image and its labels; the same arguments always give the same drawing.

    Parameters
    ----------
    image_type : str
        One of `nuclei.image_types.IMAGE_TYPES`.
    seed : int
        Not negative. Each image type has its own sequence of drawings.
    size : int
        Height and width in pixels, at least 32.

    Returns
    -------
    image : (size, size, 3) uint8, RGB, 0-255
    labels : (size, size) int32
        0 is background; 1..N, each present and in one piece, are the nuclei. Where nuclei overlap, the pixel
        belongs to the one on top. Blurred shadows, debris and cell bodies have no label.

    Raises
    ------
    ValueError
        If the image type is unknown or the size too small.
    """
    if image_type not in IMAGE_TYPES:
        raise ValueError(f"image_type: found {image_type!r}, expected one of {', '.join(map(repr, IMAGE_TYPES))}")
    if size < SMALLEST_SIZE:
        raise ValueError(f"size: found {size} pixels, expected at least {SMALLEST_SIZE}")
    rng = np.random.default_rng([IMAGE_TYPES.index(image_type), seed])
    if image_type.endswith("fluorescent"):
        image, labels = _fluorescent(rng, size, large=image_type.startswith("large"))
    elif image_type == "grayscale tissue":
        image, labels = _smear(rng, size)
    elif image_type == "purple tissue":
        image, labels = _purple_tissue(rng, size)
    else:
        image, labels = _pink_and_purple_tissue(rng, size)
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def _noise(rng, size, sigma):
    """Return (size, size) noise of mean 0 and variance 1, with bumps about `sigma` pixels wide."""
    noise = ndi.gaussian_filter(rng.standard_normal((size, size)), sigma)
    return (noise - noise.mean()) / noise.std()


def _fibres(rng, size, angle, width):
    """Return (size, size) noise drawn out along `angle` (radians) into wavy strands `width` pixels wide."""
    rows, columns = np.indices((size, size))
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle) + 9 * _noise(rng, size, 28)
    sheet = ndi.gaussian_filter(rng.standard_normal((256, 256)), 1, mode="wrap")
    strands = ndi.map_coordinates(sheet, [across / width, along / (12 * width)], order=1, mode="grid-wrap")
    return strands / strands.std()


def _blob(rng, size, y, x, radius, elongation=1.0, angle=0.0, wobble=0.1, bend=0.0):
    """Return an ellipse whose outline is bent and made irregular by a few smooth waves, as a `Blob`."""
    long, short = radius * np.sqrt(elongation), radius / np.sqrt(elongation)
    reach = 1.4 * long + 4
    top, left = max(0, int(y - reach)), max(0, int(x - reach))
    window = np.s_[top : max(top, min(size, int(y + reach))), left : max(left, min(size, int(x + reach)))]
    rows, columns = np.ogrid[window]
    u = ((columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)) / long
    v = ((rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)) / short + bend * (u_squared := u * u) - bend / 3
    waves = np.arange(2, 8)[:, np.newaxis, np.newaxis]
    height = wobble * rng.standard_normal(waves.shape) * 2 / waves
    outline = 1 + np.sum(height * np.cos(waves * np.arctan2(v, u) + rng.uniform(0, 2 * np.pi, waves.shape)), axis=0)
    return Blob(window, (outline - np.sqrt(u_squared + v * v)) * short, radius)


def _scatter(rng, size, count, radius, clumping):
    """Return (count, 2) centres, denser here than there, a third of them beside another one."""
    y, x = rng.uniform(-radius / 2, size + radius / 2, (2, 6 * count))
    density = _noise(rng, size, size / 7)[y.clip(0, size - 1).astype(int), x.clip(0, size - 1).astype(int)]
    weight = np.exp(clumping * density)
    centres = np.stack([y, x], axis=1)[rng.choice(6 * count, count, replace=False, p=weight / weight.sum())]
    beside = rng.random(count) < 0.33
    direction = rng.uniform(0, 2 * np.pi, count)
    step = radius * rng.uniform(1.5, 2, count)[:, np.newaxis] * np.stack([np.sin(direction), np.cos(direction)], axis=1)
    return np.where(beside[:, np.newaxis], centres[rng.permutation(count)] + step, centres)


def _place(size, blobs, overlap):
    """Return labels and the blobs that found room: at most a share `overlap` of each lies under earlier ones."""
    labels, placed = np.zeros((size, size), np.int32), []
    for blob in blobs:
        inside = blob.depth > 0
        seen = inside & (labels[blob.window] == 0)
        enough = max(SMALLEST_AREA, (1 - overlap) * np.count_nonzero(inside))
        if np.count_nonzero(seen) >= enough and ndi.label(seen)[1] == 1:
            placed.append(blob)
            labels[blob.window][seen] = len(placed)
    return labels, placed


def _edge(depth, softness):
    """Return 0 outside, 1 inside and a ramp `softness` pixels wide at the outline."""
    return np.clip(depth / softness + 0.5, 0, 1)


def _fluorescent(rng, size, large):
    """Return a grey image of glowing nuclei on black, and its labels."""
    dim_camera = rng.random() < (0.6 if large else 0.3)
    radius = rng.uniform(24, 28) if large else rng.choice([7, 8, 10, 12]) * rng.uniform(0.9, 1.1)
    covered = rng.uniform(0.25, 0.5) if large else rng.uniform(0.06, 0.3)
    count = max(4, int(covered * size**2 / (np.pi * radius**2)))
    direction, spread = rng.uniform(0, np.pi), rng.uniform(0.2, 2)
    longest, wobble = rng.uniform(1.3, 2), rng.uniform(0.04, 0.09)
    blobs = [
        _blob(
            rng, size, y, x, radius * rng.lognormal(0, 0.15), rng.uniform(1, longest), rng.normal(direction, spread),
            wobble, bend=rng.normal(0, 0.12),
        )
        for y, x in _scatter(rng, size, count, radius, rng.uniform(0.3, 0.6) if large else rng.uniform(0.2, 1.2))
    ]  # fmt: skip
    labels, nuclei = _place(size, blobs, overlap=0.2)

    level = rng.uniform(18, 32) if dim_camera else rng.uniform(45, 110)
    dying = 0.02 if large else rng.choice([0.0, 0.05, 0.2])
    grain, spots = _noise(rng, size, 1.2 if not large else 2), _noise(rng, size, 0.14 * radius)
    spotted = rng.uniform(0.05, 0.3)
    light, unfocused = np.zeros((2, size, size))
    for nucleus in nuclei:
        brightness = level * rng.lognormal(0, 0.25)
        if rng.random() < dying:  # shrunken chromatin glows
            brightness *= rng.uniform(2, 4)
        dome = 0.72 + 0.28 * np.clip(nucleus.depth / (0.6 * nucleus.radius), 0, 1)
        chromatin = 1 + 0.08 * grain[nucleus.window] + spotted * np.clip(spots[nucleus.window], -0.8, 2)
        layer = unfocused if rng.random() < 0.12 else light
        layer[nucleus.window] += brightness * dome * np.clip(chromatin, 0.3, 2) * _edge(nucleus.depth, 1.5)
    for y, x in rng.uniform(0, size, (rng.poisson((size / 150) ** 2), 2)):  # debris: specks and crumbs
        for _ in range(rng.integers(1, 6)):
            crumb = _blob(rng, size, *(np.array([y, x]) + rng.normal(0, 4, 2)), rng.uniform(0.8, 1.8))
            unlabelled = _edge(crumb.depth, 1) * (labels[crumb.window] == 0)
            light[crumb.window] += level * rng.uniform(0.3, 1) * unlabelled
    blur = rng.uniform(0.5, 0.9) * (1.4 if large else 1)
    light = ndi.gaussian_filter(light, blur) + ndi.gaussian_filter(0.7 * unfocused, 2.2 * blur)
    haze = 0.25 * ndi.gaussian_filter(light, 2 * radius) + 0.04 * ndi.gaussian_filter(light, 0.6 * radius)
    streaks = 0.02 * level * np.clip(_fibres(rng, size, direction, 5) - 1, 0, 2) * rng.integers(0, 2)
    lamp = 1 + 0.12 * _noise(rng, size, size / 4)
    image = (light + haze + streaks) * lamp + rng.uniform(2, 14) * (1 + 0.06 * lamp)
    return image + rng.standard_normal((size, size)) * np.sqrt(0.3 + 0.02 * image), labels


def _smear(rng, size):
    """Return a grey image of stained loose cells on a bright background, and its labels."""
    density = 0.01 * np.abs(_noise(rng, size, 30))
    grain, folds = _noise(rng, size, 0.8), _noise(rng, size, 6)
    blobs = []
    count = max(3, int(rng.uniform(0.3, 1.1) * size**2 / 70**2))
    for y, x in _scatter(rng, size, count, 40, clumping=1.3):
        cell = _blob(rng, size, y, x, rng.uniform(26, 50), rng.uniform(1, 1.8), rng.uniform(0, np.pi), 0.1)
        body, rim = _edge(cell.depth + 1.5 * folds[cell.window], 2.5), np.exp(-(((cell.depth - 2) / 2.5) ** 2))
        texture = 1 + 0.16 * grain[cell.window] + 0.12 * folds[cell.window] + 0.25 * rim
        density[cell.window] += rng.uniform(0.08, 0.3) * body * np.clip(texture, 0.2, 2)
        y, x = (y, x) + rng.normal(0, 4, 2)
        shape = rng.uniform(1, 1.7), rng.uniform(0, np.pi), 0.06
        blobs.append(_blob(rng, size, y, x, rng.choice([6.5, 9.5, 11]) * rng.lognormal(0, 0.1), *shape))
        if rng.random() < 0.3:  # a white blood cell: a nucleus of a few small lobes
            y, x = (y, x) + rng.normal(0, 18, 2)
            for _ in range(rng.integers(2, 6)):
                blobs.append(_blob(rng, size, *(np.array([y, x]) + rng.normal(0, 5, 2)), rng.uniform(2.8, 4.2)))
    labels, nuclei = _place(size, blobs, overlap=0.25)
    for nucleus in reversed(nuclei):
        depth = rng.uniform(0.45, 0.75) + 0.4 * (nucleus.radius < 7)
        texture = 1 + 0.1 * grain[nucleus.window] + 0.08 * folds[nucleus.window]
        density[nucleus.window] += depth * texture * _edge(nucleus.depth, 2)
    specks = np.clip(_noise(rng, size, 0.7) - 3.6, 0, 1) * (labels == 0)
    image = rng.uniform(226, 238) * np.exp(-ndi.gaussian_filter(density + 0.3 * specks, 0.6))
    return image * (1 + 0.006 * _noise(rng, size, size / 4)) + rng.normal(0, 1, (size, size)), labels
