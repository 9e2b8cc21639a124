"""Label images: integers, 0 is background, every other number is one nucleus."""

import numpy as np
from skimage.measure import label


def merge_masks(masks: list[np.ndarray]) -> np.ndarray:
    """Merge one mask per nucleus into a label image.

    Parameters
    ----------
    masks : list of (H, W) arrays, nonzero = this nucleus

    Returns
    -------
    (H, W) int32
        0 = background; nucleus k of the list is k + 1. Where masks overlap, the smaller nucleus is
        painted over the larger, so that none disappears behind another. An empty mask, or one that
        smaller nuclei cover whole, leaves no pixel; the labels are then renumbered without gaps.
    """
    labels = np.zeros(masks[0].shape, np.int32)
    for k in sorted(range(len(masks)), key=lambda k: -np.count_nonzero(masks[k])):
        labels[masks[k] > 0] = k + 1
    present = np.unique(labels[labels > 0])
    if len(present) < len(masks):
        numbers = np.zeros(len(masks) + 1, np.int32)
        numbers[present] = np.arange(1, len(present) + 1)
        labels = numbers[labels]
    return labels


def as_labels(picture: np.ndarray, name: str) -> np.ndarray:
    """Return the nuclei of a label image as its file has them, or say why it is none.

    Parameters
    ----------
    picture : (H, W) array of integers, or of floats that are whole numbers
        0 = background, any other number = one nucleus. Grey may also be stored as (H, W, 1 to 4): equal
        colours, perhaps with alpha.
    name : str
        What errors call the file.

    Returns
    -------
    (H, W) int32
        0 = background, 1..N = the nuclei in the order of their numbers.

    Raises
    ------
    ValueError
        The file is a JPEG, whose numbers are not those that were saved; the picture has colours or is a
        stack; a number is negative or not whole; or the mask is binary: one number for several pieces.
    """
    if name.lower().endswith((".jpg", ".jpeg")):
        raise ValueError(f"{name}: JPEG changes the numbers of a label image. Save it anew as PNG or TIFF.")
    labels = picture
    if labels.ndim == 3 and labels.shape[2] <= 4:
        colours = labels[..., : 1 if labels.shape[2] == 2 else 3]  # all but alpha
        if (colours != colours[..., :1]).any():
            raise ValueError(
                f"{name}: a picture in colours, expected a label image with one number per nucleus. Save the "
                "labels themselves, not the way they are shown."
            )
        labels = colours[..., 0]
    if labels.ndim != 2:
        raise ValueError(f"{name}: an array of shape {picture.shape}, expected a label image (H, W)")
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.round(labels))).all():
        raise ValueError(
            f"{name}: {labels.dtype} numbers that are not whole, expected a label image with 0 as background "
            "and one whole number per nucleus. Threshold and label a map of probabilities first."
        )
    if labels.min() < 0:
        raise ValueError(f"{name}: the number {labels.min()}, expected 0 for the background and up")
    numbers, index = np.unique(np.append(labels, labels.dtype.type(0)), return_inverse=True)  # 0 stays 0
    labels = index[:-1].reshape(labels.shape).astype(np.int32)
    if len(numbers) == 2 and (pieces := label(labels).max()) > 1:
        raise ValueError(
            f"{name}: a binary mask, its {pieces} separate pieces are all {numbers[1]}; expected one number "
            "per nucleus. If nuclei do not touch, skimage.measure.label(mask) numbers them."
        )
    return labels


SPECK = 10  # pixels; what is smaller does not tell how large nuclei are


def check_labels(labels, name="labels", shape=None):
    """Return `labels` as an array, or say why it is no label image.

    Parameters
    ----------
    labels : (H, W) array_like of int
        0 is background.
    name : str
        What the error calls them.
    shape : tuple of int, optional
        The shape they must have.

    Raises
    ------
    TypeError
        If the type is not an integer one (a probability map or a boolean mask is no label image).
    ValueError
        If the shape is another, there are no pixels, or a label is negative.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name} are {labels.dtype}, expected integers with 0 as background and one number a nucleus; "
            "threshold and label a map first, or cast the array if it holds whole numbers"
        )
    if shape is not None and labels.shape != tuple(shape):
        raise ValueError(f"{name} have shape {labels.shape}, expected {tuple(shape)}; sizes must be equal")
    if labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"{name} have shape {labels.shape}, expected (H, W) with at least one pixel")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"{name} hold the negative number {labels.min()}, expected 0 for background and up")
    return labels


def smallest_area(areas, min_area):
    """Return the pixels under which a nucleus is dropped, among nuclei of these (N,) `areas` in pixels.

    It is `min_area` itself, or where that is below 1, this share of the median area, specks of fewer than 10
    pixels aside. Where there are only specks, a share above 0 drops them all.
    """
    if not 0 < min_area < 1:
        return min_area
    areas = areas[areas >= SPECK]
    return min_area * np.median(areas) if areas.size else SPECK
