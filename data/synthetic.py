"""Draw synthetic microscope images with exact labels, one style for each image type of the data set.

They serve demonstrations and tests, where real images are too large to ship. Colours, grey values and nuclear
sizes were measured on the data set; the arrangement of nuclei (scattered, in clumps, along a gland, between
fibres) was imitated by eye. A larger image shows more nuclei, not larger ones.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from nuclei.data.image_types import IMAGE_TYPES

SMALLEST_SIZE = 64  # pixels; a smaller image may have no room for a nucleus
SMALLEST_AREA = 12  # pixels; smaller remains of nuclei at the image's edge are not drawn

# RGB from the clear background (density 0) in equal steps to the darkest nucleus (density 1)
PURPLE = np.array(
    [(190, 172, 214), (174, 153, 206), (143, 106, 199), (113, 57, 194), (92, 29, 188), (66, 10, 165)]
)

MAGENTA = np.array(
    [(211, 216, 216), (188, 158, 205), (158, 105, 191), (130, 66, 170), (104, 36, 145), (60, 14, 92)]
)


class Blob(NamedTuple):
    """A filled outline: its position in the image, and the depth of each pixel inside it."""

    window: tuple[slice, slice]  # rows and columns of the image
    depth: np.ndarray  # (h, w) float, pixels inward from the outline; negative outside
    radius: float  # pixels, of a circle of about the same area


def draw(image_type: str, seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image and its labels; the same arguments always give the same drawing.

    Parameters
    ----------
    image_type : str
        One of `nuclei.data.image_types.IMAGE_TYPES`.
    seed : int
        Not negative. Each image type has its own sequence of drawings.
    size : int
        Height and width in pixels, at least 64.

    Returns
    -------
    image : (size, size, 3) uint8, RGB, 0-255
    labels : (size, size) int32
        0 is background; 1..N are the nuclei, at least one, each present and in one piece. Where nuclei
        overlap, the pixel belongs to the one on top. Shadows, debris and cell bodies have no label.

    Raises
    ------
    ValueError
        If the image type is unknown or the size too small.
    """
    if image_type not in IMAGE_TYPES:
        raise ValueError(
            f"image_type: found {image_type!r}, expected one of {', '.join(map(repr, IMAGE_TYPES))}"
        )
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
        image = np.repeat(image[..., None], 3, axis=-1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def _noise(rng, size, sigma):
    """Return (size, size) noise of mean 0 and variance 1, with bumps about `sigma` pixels wide."""
    step = max(1, int(sigma // 3))  # what is smooth can be made on a coarser grid, in less time
    coarse = rng.standard_normal((size // step + 2, size // step + 2))
    noise = ndi.zoom(ndi.gaussian_filter(coarse, sigma / step), step, order=1)[:size, :size]
    return (noise - noise.mean()) / noise.std()


def _turn(rows, columns, angle):
    """Return coordinates along and across a direction that lies `angle` radians from the image's columns."""
    along = columns * np.cos(angle) + rows * np.sin(angle)
    return along, rows * np.cos(angle) - columns * np.sin(angle)


def _fibres(rng, size, angle, width):
    """Return (size, size) noise of variance 1, stretched along `angle` into strands `width` pixels wide."""
    along, across = _turn(*np.indices((size, size)), angle)
    across = across + 9 * _noise(rng, size, 28)
    sheet = ndi.gaussian_filter(rng.standard_normal((256, 256)), 1, mode="wrap")
    strands = ndi.map_coordinates(sheet, [across / width, along / (12 * width)], order=1, mode="grid-wrap")
    return strands / strands.std()


def _blob(rng, size, centre, radius, elongation=1.0, angle=0.0, wobble=0.1, bend=0.0, decay=2):
    """Return an ellipse as a `Blob`, bent, and made irregular by a few waves along its outline.

    The slowest waves are `wobble` radii high; the higher `decay`, the lower the faster ones.
    """
    long, short = radius * np.sqrt(elongation), radius / np.sqrt(elongation)
    low = np.maximum(0, np.subtract(centre, 1.4 * long + 4).astype(int))
    high = np.clip(np.add(centre, 1.4 * long + 4).astype(int), low, np.maximum(low, size))
    window = np.s_[low[0] : high[0], low[1] : high[1]]
    rows, columns = np.ogrid[window]
    along, across = _turn(rows - centre[0], columns - centre[1], angle)
    along, across = along / long, across / short + bend * ((along / long) ** 2 - 1 / 3)
    waves = np.arange(2, 8)[:, None, None]
    heights = wobble * (2 / waves) ** decay * rng.standard_normal(waves.shape)
    phases = rng.uniform(0, 2 * np.pi, waves.shape)
    outline = 1 + np.sum(heights * np.cos(waves * np.arctan2(across, along) + phases), axis=0)
    return Blob(window, (outline - np.hypot(along, across)) * short, radius)


def _edge(depth, softness):
    """Return 0 outside, 1 inside and a ramp `softness` pixels wide at the outline."""
    return np.clip(depth / softness + 0.5, 0, 1)


def _at(field, centre):
    """Return a (size, size) field's value at the pixel nearest to a point, which may lie outside."""
    return field[tuple(np.clip(np.asarray(centre, int), 0, len(field) - 1))]


def _scatter(rng, size, radius, covered, clumping):
    """Return (n, 2) centres of blobs that cover a share of the image, unevenly dense.

    A third of the centres lie beside another one, so that the blobs touch.
    """
    count = max(4, int(covered * size**2 / (np.pi * radius**2)))
    points = rng.uniform(-radius / 2, size + radius / 2, (6 * count, 2))
    density = _noise(rng, size, size / 7)[tuple(points.clip(0, size - 1).astype(int).T)]
    weights = np.exp(clumping * density)
    centres = points[rng.choice(6 * count, count, replace=False, p=weights / weights.sum())]
    angle, distance = rng.uniform(0, 2 * np.pi, (count, 1)), radius * rng.uniform(1.5, 2, (count, 1))
    beside = centres[rng.permutation(count)] + distance * np.hstack([np.sin(angle), np.cos(angle)])
    centres = np.where(rng.random((count, 1)) < 0.33, beside, centres)
    centres[0] = rng.uniform(0.3 * size, 0.7 * size, 2)  # so that no image stays empty
    return centres


def _place(size, blobs, overlap):
    """Return labels and the blobs that were placed: at most a share `overlap` lies under earlier ones."""
    labels, placed = np.zeros((size, size), np.int32), []
    for blob in blobs:
        inside = blob.depth > 0
        visible = inside & (labels[blob.window] == 0)
        enough = max(SMALLEST_AREA, (1 - overlap) * np.count_nonzero(inside))
        if np.count_nonzero(visible) >= enough and ndi.label(visible)[1] == 1:
            placed.append(blob)
            labels[blob.window][visible] = len(placed)
    return labels, placed


def _fluorescent(rng, size, large):
    """Return a grey image of glowing nuclei on black, and its labels."""
    radius = rng.uniform(25, 29) if large else rng.choice([6.5, 7.5, 9, 11]) * rng.uniform(0.9, 1.1)
    covered, clumping = (rng.uniform(0.4, 0.7), 0.1) if large else rng.uniform((0.05, 0.2), (0.28, 1.2))
    direction, spread = rng.uniform((0, 0.2), (np.pi, 2))
    longest, wobble, bend = rng.uniform((1.5, 0.03, 0.1), (2.1, 0.08, 0.22))
    blobs = []
    for centre in _scatter(rng, size, radius, covered, clumping):
        shape = rng.uniform(1, longest), rng.normal(direction, spread), wobble, rng.normal(0, bend)
        blobs.append(_blob(rng, size, centre, radius * rng.lognormal(0, 0.15), *shape))
    labels, nuclei = _place(size, blobs, overlap=0.03 if large else 0.2)

    level = rng.uniform(18, 32) if rng.random() < (0.7 if large else 0.3) else rng.uniform(40, 80)
    dying, spotted = (0.01, 0.1) if large else (rng.choice([0, 0.05, 0.2]), rng.choice([0.06, 0.12, 0.35]))
    grain, spots = _noise(rng, size, 1.2), _noise(rng, size, 2.2 if large else 0.14 * radius)
    focused, unfocused = np.zeros((2, size, size))
    for window, depth, nuclear_radius in nuclei:
        brightness = level * rng.lognormal(0, 0.25)
        if rng.random() < dying:  # pyknotic: condensed chromatin is bright
            brightness *= rng.uniform(1.5, 4)
        dome = 0.72 + 0.28 * np.clip(depth / (0.6 * nuclear_radius), 0, 1)
        chromatin = 1 + 0.08 * grain[window] + spotted * np.clip(spots[window], -0.8, 2)
        layer = unfocused if rng.random() < 0.08 else focused
        layer[window] += brightness * dome * np.clip(chromatin, 0.3, 2) * _edge(depth, 1.5)
    for centre in rng.uniform(0, size, (rng.poisson((size / 150) ** 2), 2)):
        for _ in range(rng.integers(1, 6)):  # crumbs of debris
            window, depth, _ = _blob(rng, size, centre + rng.normal(0, 4, 2), rng.uniform(0.8, 1.8))
            focused[window] += level * rng.uniform(0.3, 1) * _edge(depth, 1) * (labels[window] == 0)
    blur = rng.uniform(0.8, 1.2) if large else rng.uniform(0.5, 1.1)
    light = ndi.gaussian_filter(focused, blur) + 0.7 * ndi.gaussian_filter(unfocused, 2.2 * blur)
    haze = 0.25 * ndi.gaussian_filter(light, 2 * radius) + 0.04 * ndi.gaussian_filter(light, 0.6 * radius)
    streaks = 0.02 * level * np.clip(_fibres(rng, size, direction, 5) - 1, 0, 2) * rng.integers(0, 2)
    lamp = 1 + 0.12 * _noise(rng, size, size / 4)
    image = (light + haze + streaks) * lamp + rng.uniform(2, 14) * (1 + 0.06 * lamp)
    return image + rng.standard_normal(image.shape) * np.sqrt(0.3 + 0.02 * np.clip(image, 0, None)), labels


def _smear(rng, size):
    """Return a grey image of stained loose cells on a bright background, and its labels."""
    density = 0.01 * np.abs(_noise(rng, size, 30)) + 0.3 * np.clip(_noise(rng, size, 0.7) - 3.5, 0, 1)
    grain, folds, creases = _noise(rng, size, 0.8), _noise(rng, size, 5), _noise(rng, size, 20)
    bacteria = _fibres(rng, size, rng.uniform(0, np.pi), 1.3)
    blobs = []
    for centre in _scatter(rng, size, 40, rng.uniform(0.3, 1.1), clumping=1.3):
        shape = rng.uniform(1, 1.8), rng.uniform(0, np.pi), 0.1
        window, depth, _ = _blob(rng, size, centre, rng.uniform(26, 54), *shape, decay=1)
        rim = np.exp(-(((depth - 1.5) / 2) ** 2))
        folded = 0.12 * folds[window] + 0.25 * np.clip(creases[window], -0.5, 2)
        body = rng.uniform(0.06, 0.28) * np.clip(1 + 0.1 * grain[window] + folded + 0.35 * rim, 0.2, 2)
        rods = 0.12 * np.clip(bacteria[window] - rng.uniform(1.3, 3), 0, 1.5)
        density[window] += (body + rods) * _edge(depth + folds[window], 2)
        shape = rng.uniform(1, 1.7), rng.uniform(0, np.pi), 0.06
        radius = rng.choice([6.5, 9.5, 11]) * rng.lognormal(0, 0.1)
        blobs.append(_blob(rng, size, centre + rng.normal(0, 4, 2), radius, *shape))
        if rng.random() < 0.3:  # a white blood cell: its nucleus is a few small lobes
            lobes = centre + rng.normal(0, 18, 2) + rng.normal(0, 5, (rng.integers(2, 6), 2))
            blobs += [_blob(rng, size, lobe, rng.uniform(2.8, 4.2)) for lobe in lobes]
    labels, nuclei = _place(size, blobs, overlap=0.25)
    for window, depth, radius in nuclei:
        dark = rng.uniform(0.45, 0.75) + 0.4 * (radius < 7)
        density[window] += dark * (1 + 0.12 * grain[window] + 0.1 * folds[window]) * _edge(depth, 2.5)
    image = rng.uniform(226, 238) * np.exp(-ndi.gaussian_filter(density, 0.6))
    return image * (1 + 0.006 * _noise(rng, size, size / 4)) + rng.normal(0, 1, image.shape), labels


def _gland(rng, size, radius):
    """Return arguments of `_blob` for nuclei lined up around a gland, and the gland's empty lumen."""
    inner = rng.uniform(0.3, 0.9) * max(size, 6 * radius)
    row = inner + 1.8 * radius  # pixels from the middle to the nuclei, which must be in view
    turn, elongation = rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 2.2)
    middle = size / 2 + (row + rng.uniform(-0.3, 0.3) * size) * np.array([np.sin(turn), np.cos(turn)])
    lumen, cells = np.zeros((size, size)), []
    inside = _blob(rng, size, middle, inner, wobble=0.04)
    lumen[inside.window] = _edge(inside.depth, 6)
    for turn in np.arange(0, 2 * np.pi, 2 * radius / np.sqrt(elongation) / row):
        turn = turn + rng.normal(0, 0.15) * radius / row
        centre = middle + (row + rng.normal(0, 0.35) * radius) * np.array([np.sin(turn), np.cos(turn)])
        shape = elongation * rng.uniform(0.85, 1.15), rng.normal(turn, 0.2)
        cells.append((centre, radius * rng.lognormal(0, 0.1), *shape))
    return cells, lumen


def _stain(rng, density, nuclei, softness, contrast):
    """Add nuclei to a density of 0-1 in place, the first one on top: dark and solid, or pale and dotted."""
    fine, coarse = _noise(rng, len(density), 1), _noise(rng, len(density), 2.2)
    strength = rng.uniform(0.45, 0.75)
    for window, depth, _ in reversed(nuclei):
        dark = np.clip(rng.normal(strength, 0.16), 0.25, 0.95)
        chromatin = 0.06 * fine[window] + 0.13 * np.clip(coarse[window], -1, 2)
        rim = 0.2 * np.exp(-(((depth - 1.5) / 1.5) ** 2))
        inside = np.clip(dark + contrast * (1.3 - dark) * (chromatin + rim), 0, 1)
        inside *= _edge(depth, rng.uniform(1.5, softness))
        density[window] = 1 - (1 - density[window]) * (1 - inside)
    radius = np.median([nucleus.radius for nucleus in nuclei])
    for centre in rng.uniform(0, len(density), (rng.poisson(2 + len(nuclei) / 6), 2)):  # out of focus
        shape = rng.uniform(1, 2.5), rng.uniform(0, np.pi), 0.15
        window, depth, _ = _blob(rng, len(density), centre, radius, *shape)
        density[window] += rng.uniform(0.1, 0.4) * (1 - density[window]) * np.clip(depth / radius + 0.3, 0, 1)


def _colour(density, ramp):
    """Return (H, W, 3) colours of a density of 0-1, interpolated along `ramp` (n, 3)."""
    steps = np.linspace(0, 1, len(ramp))
    return np.stack([np.interp(density, steps, channel) for channel in ramp.T], axis=-1)


def _purple_tissue(rng, size):
    """Return an RGB image of tissue stained purple throughout, and its labels."""
    radius = rng.choice([6.5, 8, 11, 20]) * rng.uniform(0.9, 1.1)
    direction = rng.uniform(0, np.pi)
    cells, lumen = _gland(rng, size, radius) if rng.random() < 0.65 else ([], np.zeros((size, size)))
    slender = rng.uniform(1.2, 4.5) if rng.random() < 0.7 else 1.2
    for centre in _scatter(rng, size, radius, rng.uniform(0.15, 0.5), clumping=0.6):
        if _at(lumen, centre) < 0.5:
            shape = slender * rng.uniform(0.8, 1.3), rng.normal(direction, 0.35)
            cells.append((centre, radius * rng.lognormal(-0.1, 0.2), *shape))
    blobs = [_blob(rng, size, *cell, wobble=0.08, bend=rng.normal(0, 0.2)) for cell in cells]
    labels, nuclei = _place(size, blobs, overlap=0.3)
    from_lumen = ndi.distance_transform_edt(lumen < 0.5) / (1.5 * radius)
    cytoplasm = 0.08 * np.exp(-((from_lumen - 1) ** 2)) * np.any(lumen)
    relief = 0.025 * _fibres(rng, size, direction, 3) + 0.025 * _noise(rng, size, 1.8)
    stroma = 0.16 + 0.03 * _noise(rng, size, size / 6) + cytoplasm + relief
    density = np.clip(stroma * (1 - lumen) + (0.09 + 0.15 * relief) * lumen, 0, 1)
    _stain(rng, density, nuclei, softness=0.3 * radius + 2, contrast=1.2)
    image = _colour(ndi.gaussian_filter(density, 0.5 + 0.02 * radius), PURPLE)
    return image + 2 * _noise(rng, size, size / 3)[..., None] + rng.normal(0, 0.8, image.shape), labels


def _pink_and_purple_tissue(rng, size):
    """Return an RGB image of violet nuclei, loose on a bright slide or in pink tissue, and its labels."""
    pink = rng.random() < 0.25
    radius = rng.uniform(12, 17) if pink else rng.choice([9, 10, 12]) * rng.uniform(0.9, 1.1)
    direction = rng.uniform(0, np.pi)
    fibrous = _edge(_noise(rng, size, size / 5) + rng.uniform(-2.5, 0.5), 0.8) * (not pink)
    covered, clumping = rng.uniform(0.12, 0.25 if pink else 0.55), 0.5 if pink else 1
    blobs = []
    for centre in _scatter(rng, size, radius, covered, clumping):
        shape = rng.uniform(1, 1.6), rng.uniform(0, np.pi)
        if _at(fibrous, centre) > 0.5:
            shape = rng.uniform(2, 5), rng.normal(direction, 0.2)
        blobs.append(
            _blob(rng, size, centre, radius * rng.lognormal(0, 0.2), *shape, 0.1, rng.normal(0, 0.25))
        )
    labels, nuclei = _place(size, blobs, overlap=0.3)
    density = 0.02 + 0.01 * _noise(rng, size, 8) + 0.015 * fibrous * _fibres(rng, size, direction, 3)
    density = np.clip(density, 0, 1)
    _stain(rng, density, nuclei, softness=6, contrast=1.6 if pink else 1)
    density = ndi.gaussian_filter(density, 0.9)
    hue = 0.5 * _noise(rng, size, 15) + rng.normal(0.3, 0.4)  # from violet to pink
    image = _colour(density, MAGENTA) + (density * (1 - density) * hue)[..., None] * (36, 4, -20)
    image = _add_eosin(rng, image, density, direction) if pink else _add_debris(rng, image, density)
    for channel, shift in ((0, 0.7), (2, -0.7)):  # chromatic aberration: coloured fringes
        image[..., channel] = ndi.shift(image[..., channel], shift, order=1, mode="nearest")
    return image + 3 * _noise(rng, size, size / 3)[..., None] + rng.normal(0, 1.2, image.shape), labels


def _add_debris(rng, image, density):
    """Return the image with pale, yellowish scraps between the nuclei, as of burst red blood cells."""
    scraps = np.zeros_like(density)
    for centre in rng.uniform(0, len(density), (rng.poisson(rng.uniform(1e-4, 1e-3) * density.size), 2)):
        shape = rng.uniform(3, 7), 1.3, rng.uniform(0, np.pi), 0.12
        window, depth, _ = _blob(rng, len(density), centre, *shape)
        scraps[window] += rng.uniform(0.3, 1) * _edge(depth, 3) * np.clip(1.1 - depth / 14, 0, 1)
    return image + (scraps * np.clip(1 - 2.5 * density, 0, 1))[..., None] * (-13, -15, -30)


def _add_eosin(rng, image, density, direction):
    """Return the image with all but the nuclei stained pink, and often a vessel full of red blood."""
    size = len(density)
    strands = _fibres(rng, size, direction, 2)
    pink = np.clip(0.85 + 0.3 * _noise(rng, size, 20) + 0.12 * _noise(rng, size, 2.5) + 0.2 * strands, 0.1, 2)
    image = image * np.exp(-(pink * (1 - 0.9 * density))[..., None] * (0.01, 0.32, 0.09))
    _, across = _turn(*(np.indices((size, size)) - rng.uniform(0, size, (2, 1, 1))), direction)
    width = rng.uniform(14, 35) * (rng.random() < 0.6)
    vessel = _edge(width - np.abs(across + 6 * _noise(rng, size, 30)), 4) * (width > 0)
    red = (207, 38, 92) + 7 * (strands + _noise(rng, size, 4))[..., None]
    return image + (0.95 * vessel * np.clip(1.4 - 2.4 * density, 0, 1))[..., None] * (red - image)
