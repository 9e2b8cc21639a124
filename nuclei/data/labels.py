"""Label images: integers, 0 is background, every other number is one nucleus."""

import numpy as np
import numpy.typing as npt
from skimage.measure import label
from skimage.segmentation import clear_border, relabel_sequential

from nuclei.common import counted, some

JPEG = (".jpg", ".jpeg")


def paint(nuclei: list[np.ndarray], size: int) -> np.ndarray:
    """Label the pixels of nuclei, each given as the places of its pixels among `size`.

    Returns (size,) int32 with 0 = background; the first nucleus of the list is 1, the next 2. Smaller
    nuclei are painted over larger ones, so that none disappears behind another. One that leaves no pixel gets
    no number, and those after it a smaller one.
    """
    labels = np.zeros(size, np.int32)
    for k in sorted(range(len(nuclei)), key=lambda k: -nuclei[k].size):
        labels[nuclei[k]] = k + 1
    return relabel_sequential(labels)[0].astype(np.int32)


def as_labels(picture: np.ndarray, name: str) -> np.ndarray:
    """Check what the file called `name` holds, and return it as (H, W) labels with its own numbers.

    `picture` is an (H, W) array of whole numbers, of any type: 0 = background, any other number = one
    nucleus. It may also be (H, W, 1 to 4): equal colours, perhaps with alpha. Raises ValueError for a JPEG,
    for colours, stacks, negative numbers and fractions, and as `check_nuclei` does. Labels are int32, or
    int64 where numbers are larger.
    """
    if name.lower().endswith(JPEG):
        raise ValueError(f"{name}: JPEG changes the numbers of a label image. Save it again as PNG or TIFF.")
    labels = picture
    if labels.ndim == 3 and labels.shape[2] <= 4:
        colours = without_alpha(labels, name)
        if (colours != colours[..., :1]).any():
            raise ValueError(f"{name}: a picture in colours, expected a label image, a number per nucleus")
        labels = colours[..., 0]
    if labels.ndim != 2:
        raise ValueError(f"{name}: an array of shape {picture.shape}, expected a label image (H, W)")
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.round(labels))).all():
        found = f"{labels.dtype} numbers that are not whole, expected a whole number per nucleus"
        raise ValueError(f"{name}: {found}. Threshold and label a map of probabilities first.")
    if labels.min() < 0:
        raise ValueError(f"{name}: the number {labels.min()}, expected 0 for the background and up")
    if (largest := int(labels.max())) >= 2**63:
        raise ValueError(f"{name}: the number {largest}, expected numbers below 2**63")
    labels = labels.astype(np.int32 if largest < 2**31 else np.int64)
    check_nuclei(labels, name)
    return labels


def without_alpha(picture: np.ndarray, name: str) -> np.ndarray:
    """Return an (H, W, C) picture without alpha, its second or fourth channel; ValueError if all is in it."""
    alpha = picture.shape[2] in (2, 4)
    visible = picture[..., : picture.shape[2] - alpha]
    if alpha and not visible.any() and np.ptp(picture[..., -1]):
        found = "all of it is black, only its transparency varies, expected numbers or white on black"
        raise ValueError(f"{name}: {found}. Save it without transparency.")
    return visible


IN_BETWEEN = 0.1
"""Share of a label image's changing pixels that lie between their neighbours' numbers; at most 0.006 in the
1,629 images of five data sets, and about 1 where labels were interpolated."""


def check_nuclei(labels: np.ndarray, name: str, are_masks: bool = False) -> None:
    """Raise ValueError unless (H, W) integer labels, 0 = background, can be those of nuclei.

    They cannot if one covers most of the image and most of its border (it is the background), if they change
    by steps along edges (interpolated, or soft edges), if most enclose large holes (they are outlines), or if
    there are twice as many separate pieces as labels, or very many of one label (a mask of all nuclei, or a
    map of classes). Of the 1,629 images of five data sets, none has a nucleus over more than 9 % of it or its
    border, and one has more than 1.2 pieces a label: 1.8.

    `name` is for errors, and so is `are_masks`: whether each label is a mask file of its own.
    """
    labels, _, numbers = relabel_sequential(labels)
    areas = np.bincount(labels.ravel())
    if len(areas) < 2:
        return
    largest = areas[1:].argmax() + 1
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    if 2 * areas[largest] > labels.size and 2 * np.count_nonzero(border == largest) > border.size:
        found = f"the number {numbers[largest]} covers most of the image and of its border"
        raise ValueError(f"{name}: {found}, expected 0 for the background and one number per nucleus.")
    if _in_between(labels) > IN_BETWEEN:
        found = "numbers change by steps along the edges of nuclei, expected one number per nucleus"
        raise ValueError(f"{name}: {found}. Threshold and label soft edges; resize without interpolation.")
    holes = _hole_areas(labels)
    nuclei, pieces = len(areas) - 1, _count_pieces(labels)
    if 2 * len(holes) >= nuclei and 4 * holes.sum() > areas[1:].sum():
        found = "most numbers enclose large holes, as outlines do, expected filled nuclei"
        raise ValueError(f"{name}: {found}. Fill each: scipy.ndimage.binary_fill_holes(labels == number).")
    if pieces.sum() >= 2 * nuclei or pieces.max() >= max(5, nuclei / 2):
        values = f"{counted(nuclei, 'number')} ({some(np.asarray(numbers)[1:])})"
        have = counted(nuclei, "mask file") if are_masks else values
        raise ValueError(
            f"{name}: {counted(pieces.sum(), 'separate piece')} have {have}, up to {pieces.max()} "
            "each, expected one for each nucleus, no binary mask or map of classes, no number for borders. "
            "skimage.measure.label(mask) numbers nuclei that do not touch."
        )


def _count_pieces(labels: np.ndarray) -> np.ndarray:
    """Count the pieces of each label, without those smaller than a tenth of its largest: (N + 1,) int."""
    pieces = label(labels)
    sizes, owner = np.bincount(pieces.ravel()), np.zeros(pieces.max() + 1, int)
    owner[pieces.ravel()] = labels.ravel()
    largest = np.zeros(labels.max() + 1)
    np.maximum.at(largest, owner, sizes)
    return np.bincount(owner[1:][10 * sizes[1:] >= largest[owner[1:]]])


def _hole_areas(labels: np.ndarray) -> np.ndarray:
    """Return the areas of background that labels enclose, in pixels."""
    holes = clear_border(label(labels == 0, connectivity=1))
    return np.unique(holes[holes > 0], return_counts=True)[1]


def hard_mask(mask: np.ndarray, name: str) -> np.ndarray:
    """Return an (H, W) mask, cut at half of its maximum where its edges are soft, or it is a JPEG."""
    two_valued = not ((mask > 0) & (mask < mask.max())).any()  # nearly all are, and this is fast
    is_soft = not two_valued and _in_between(mask) > IN_BETWEEN
    return mask > mask.max() / 2 if is_soft or name.lower().endswith(JPEG) else mask


def _in_between(labels: np.ndarray) -> float:
    """Return which share of the pixels that differ from a neighbour lie between both, in 0..1."""
    steps, changes = 0, 0
    for lines in (labels, labels.T):
        before, here, after = lines[:, :-2], lines[:, 1:-1], lines[:, 2:]
        steps += int(np.sum(((before < here) & (here < after)) | ((before > here) & (here > after))))
        changes += int(np.sum((before != here) | (here != after)))
    return steps / max(changes, 1)


SPECK = 10  # pixels; smaller objects do not count where the size of nuclei is estimated


def check_labels(
    labels: npt.ArrayLike, name: str = "labels", shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Return `labels`, (H, W) of integers with 0 as background, as an array; `name` is for errors.

    Raises TypeError for floats or booleans (a probability map or a mask is no label image), ValueError if the
    shape is another than `shape`, there are no pixels, or a label is negative.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        expected = "expected integers, 0 for the background and one number per nucleus"
        raise TypeError(f"{name} are {labels.dtype}, {expected}; threshold and label a map, or cast it")
    if shape is not None and labels.shape != tuple(shape):
        raise ValueError(f"{name} have shape {labels.shape}, expected {tuple(shape)}; sizes must be equal")
    if labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"{name} have shape {labels.shape}, expected (H, W) with at least one pixel")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"{name} hold the negative number {labels.min()}, expected 0 for background and up")
    return labels


def smallest_area(areas: np.ndarray, min_area: float) -> float:
    """Return the pixels under which a nucleus is dropped, among nuclei of these (N,) `areas` in pixels.

    It is `min_area` itself, or where that is below 1, this share of the median area, specks of fewer than 10
    pixels aside. Where there are only specks, a share above 0 drops them all.
    """
    if not 0 < min_area < 1:
        return min_area
    areas = areas[areas >= SPECK]
    return float(min_area * np.median(areas)) if areas.size else SPECK
