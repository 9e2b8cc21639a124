"""Kaggle's run-length encoding of labels.

It numbers the pixels from 1, down the columns first, and writes a nucleus as "start length start length ...".
Its CSV has the columns ImageId and EncodedPixels and one row a nucleus; the competition's solution files add
Height, Width and Usage.
"""

import warnings

import numpy as np
import pandas as pd

from nuclei.common import replacing
from nuclei.data.labels import check_labels


def encode_nuclei(labels):
    """(H, W) integer or bool labels, 0 = background -> list of the runs of each nucleus, by ascending label.

    Examples
    --------
    >>> encode_nuclei(np.array([[1, 1, 2], [1, 0, 1]]))
    ['1 3 6 1', '5 1']
    """
    numbers, starts, lengths = find_runs(labels)
    pairs = np.stack([starts + 1, lengths], axis=1)
    ends = np.flatnonzero(np.diff(numbers)) + 1
    return [" ".join(map(str, one.ravel().tolist())) for one in np.split(pairs, ends)] if len(pairs) else []


def find_runs(labels):
    """Find the runs of equal labels down the columns; one may go on at the top of the next column.

    Parameters
    ----------
    labels : (H, W) integer or bool array, 0 = background

    Returns
    -------
    numbers, starts, lengths : (R,) integer arrays
        The label of each run, its first pixel (from 0, down the columns first) and its pixels; by ascending
        label, then start. The background is left out.
    """
    flat = labels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    inside = flat[starts] > 0
    starts, lengths, numbers = starts[inside], lengths[inside], flat[starts[inside]]
    order = np.argsort(numbers, kind="stable")
    return numbers[order], starts[order], lengths[order]


def write_rle_csv(path, labels_by_id, sizes=False):
    """Write label images as one run-length CSV.

    Parameters
    ----------
    path : str or Path
        Written under a temporary name and then renamed: what was there stays until the new file is complete.
    labels_by_id : dict of str to (H, W) integer array
        0 is background. Rows follow the dict's order, then ascending labels; an image without nuclei gets one
        row with nothing in EncodedPixels.
    sizes : bool
        Whether to add Height, Width and Usage ("Public"), so that the file can be read without `shapes`.

    Raises
    ------
    TypeError, ValueError
        See `nuclei.data.labels.check_labels`; names the image.
    """
    rows = []
    for image_id, labels in labels_by_id.items():
        labels = check_labels(labels, f"labels of {image_id}")
        rows += [(image_id, text, *labels.shape, "Public") for text in encode_nuclei(labels) or [""]]
    table = pd.DataFrame(rows, columns=["ImageId", "EncodedPixels", "Height", "Width", "Usage"])
    with replacing(path) as temporary:
        (table if sizes else table.iloc[:, :2]).to_csv(temporary, index=False, lineterminator="\n")


def read_rle_csv(path, shapes=None):
    """Read a run-length CSV or a solution file of the competition.

    Parameters
    ----------
    path : str or Path
    shapes : dict of str to (height, width), optional
        The images that may occur. Without it the file's own Height and Width say how large an image is.

    Returns
    -------
    dict of str to (H, W) int32
        Labels by ImageId in the file's order: 0 is background, and a nucleus's number is the place of its row
        among those of its image that hold runs. Images without a row in the file are not in it.

    Raises
    ------
    ValueError
        If a column is missing, an ImageId unknown, a size no number or not that of `shapes`, a run malformed
        or beyond the image. The error names file, line, ImageId and what was found.

    Warns
    -----
    UserWarning
        Where nuclei of one image overlap. As in `data.labels.merge_masks` the smaller one is drawn over the
        larger, and the numbers close up if that hides one altogether.

    Notes
    -----
    Rows whose Usage is "Ignored" are dropped. The competition marks whole images that way, which then are
    absent, as are all images whose every row is dropped.
    """
    shapes = None if shapes is None else {str(key): tuple(map(int, shape)) for key, shape in shapes.items()}
    needed = ["ImageId", "EncodedPixels"] + ([] if shapes is not None else ["Height", "Width"])
    table = read_table(path)
    missing = [name for name in needed if name not in table]
    if missing:
        hint = "" if "ImageId" in missing or "EncodedPixels" in missing else ", or pass the images' shapes"
        raise ValueError(
            f"{path}: column {', '.join(missing)} not found in the first line, {','.join(table)!r}; add it"
            f"{hint}. Commas separate columns."
        )
    table["line"] = np.arange(len(table)) + 2
    if "Usage" in table:
        table = table[table["Usage"] != "Ignored"]

    table = table[(table[["ImageId", "EncodedPixels"]] != "").any(axis=1)]  # blank lines
    nameless = table["line"][table["ImageId"] == ""]
    if len(nameless):
        raise ValueError(f"{path}, line {nameless.iloc[0]}: no ImageId, expected one in every row")

    labels_by_id = {}
    for image_id, rows in table.groupby("ImageId", sort=False):
        shape, runs = None, []
        for row in rows.to_dict("records"):
            try:
                shape = _row_shape(row, shapes, shape)
                runs.append(_parse(row["EncodedPixels"], shape[0] * shape[1]))
            except ValueError as error:
                raise ValueError(f"{path}, line {row['line']}, ImageId {image_id}: {error}") from error
        labels_by_id[image_id] = _draw(
            [one for one in runs if one[0].size], shape, f"{path}, ImageId {image_id}"
        )
    return labels_by_id


def read_table(path):
    """Read a CSV as text, with one row a line: a DataFrame, "" where a value is missing. Or ValueError."""
    try:
        table = pd.read_csv(
            path,
            dtype=str,  # an ImageId may look like a number
            keep_default_na=False,
            index_col=False,
            skip_blank_lines=False,  # or the line numbers in errors would be off
            encoding="utf-8-sig",  # spreadsheets put a mark before the first column's name
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no CSV with the columns ImageId, EncodedPixels ({error})") from error
    return table.rename(columns=str.strip).fillna("")  # fields that a line lacks


def _parse(text, size):
    """Text -> starts (from 0) and lengths of its runs, each (R,) int64, inside an image of `size` pixels."""
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"EncodedPixels holds {_short(text)}, expected whole numbers") from error
    if numbers.size % 2:
        raise ValueError(
            f"EncodedPixels holds {numbers.size} numbers ({_short(text)}), expected start-length pairs"
        )
    starts, lengths = numbers[0::2], numbers[1::2]
    wrong = (starts < 1) | (lengths < 1)
    beyond = lengths > size - starts + 1
    if (wrong | beyond).any():
        first = np.argmax(wrong | beyond)
        run = f"the run '{starts[first]} {lengths[first]}'"
        if wrong[first]:
            raise ValueError(f"{run} in EncodedPixels, expected a start and a length of 1 or more")
        raise ValueError(f"{run} in EncodedPixels ends beyond the image, which has {size} pixels")
    return starts - 1, lengths


def _short(text):
    return repr(text if len(text) <= 60 else f"{text[:60]} ...")


def _pixels(starts, lengths):
    """Runs -> the position of every pixel in them."""
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def _row_shape(row, shapes, previous):
    """The height and width of the image that a row belongs to."""
    shape = None
    if "Height" in row and "Width" in row:
        size = (row["Height"], row["Width"])
        try:
            shape = tuple(map(int, size))
        except ValueError:
            shape = (0, 0)
        if min(shape) < 1:
            raise ValueError(f"Height and Width are {size}, expected two whole numbers from 1 up")
    if shapes is None:
        expected = previous or shape
    elif row["ImageId"] in shapes:
        expected = shapes[row["ImageId"]]
    else:
        raise ValueError(
            f"unknown, expected one of the {len(shapes)} images given, such as {next(iter(shapes))!r}; "
            "check the folder or the file"
        )
    if shape not in (None, expected):
        raise ValueError(f"Height and Width are {shape}, expected {expected}")
    return expected


def _draw(runs, shape, where):
    """Runs of each nucleus -> (H, W) int32 labels, the smaller over the larger."""
    areas = np.array([lengths.sum() for _, lengths in runs], dtype=np.int64)
    flat = np.zeros(shape[0] * shape[1], np.int32)
    shared = 0
    for index in np.argsort(-areas, kind="stable"):
        pixels = _pixels(*runs[index])
        shared += np.count_nonzero(flat[pixels])
        flat[pixels] = index + 1
    if shared:
        warnings.warn(f"{where}: {shared} pixels belong to more than one nucleus", stacklevel=3)
        flat = np.unique(np.append(flat, 0), return_inverse=True)[1][:-1].astype(np.int32)
    return flat.reshape(shape, order="F")
