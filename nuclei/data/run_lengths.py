"""Kaggle's run-length encoding of labels.

Pixels are numbered from 1, down the columns first, and a nucleus is written as "start length start length
...". The CSV has the columns ImageId and EncodedPixels and one row per nucleus; the competition's solution
files add Height, Width and Usage.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from nuclei.common import counted
from nuclei.data.labels import paint


def encode_nuclei(labels: np.ndarray) -> list[str]:
    """Return the runs of each nucleus in (H, W) integer labels, 0 = background, by ascending label.

    >>> encode_nuclei(np.array([[1, 1, 2], [1, 0, 1]]))
    ['1 3 6 1', '5 1']
    """
    numbers, starts, lengths = find_runs(labels)
    pairs = np.stack([starts + 1, lengths], axis=1)
    ends = np.flatnonzero(np.diff(numbers)) + 1
    return [" ".join(map(str, one.ravel().tolist())) for one in np.split(pairs, ends)] if len(pairs) else []


def find_runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the runs of equal labels down the columns; a run may continue at the top of the next column.

    `labels` are (H, W) integers or booleans, 0 = background. Returns the label, the first pixel (from 0, down
    the columns first) and the length of each run, (R,) each, sorted by label, then start.
    """
    flat = labels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    inside = flat[starts] > 0
    starts, lengths, numbers = starts[inside], lengths[inside], flat[starts[inside]]
    order = np.argsort(numbers, kind="stable")
    return numbers[order], starts[order], lengths[order]


def read_rle_csv(
    path: str | Path, shapes: Mapping[str, tuple[int, int]] | None = None
) -> dict[str, np.ndarray]:
    """Read a run-length CSV or a solution file of the competition.

    Returns labels by ImageId, (H, W) int32 each: 0 = background, nuclei in the order of their rows. Images
    without a row, or marked "Ignored" under Usage as the competition does, are missing. `shapes` are the (H,
    W) of the images that may occur; by default they are read from the columns Height and Width.

    Raises ValueError where a column is missing, an ImageId is unknown, a size is no number or differs from
    `shapes`, or a run is malformed or outside the image. Warns where nuclei overlap; see `labels.paint`.
    """
    shapes = None if shapes is None else {str(key): (int(h), int(w)) for key, (h, w) in shapes.items()}
    needed = ["ImageId", "EncodedPixels"] + ([] if shapes is not None else ["Height", "Width"])
    table = read_table(path)
    if missing := [name for name in needed if name not in table]:
        hint = ", or pass the images' shapes" if missing[0] == "Height" else ""
        raise ValueError(
            f"{path}: column {', '.join(missing)} not found in the first line, {','.join(table)!r}; add it"
            f"{hint}. Commas separate columns."
        )
    table["line"] = np.arange(len(table)) + 2
    if "Usage" in table:
        table = table[table["Usage"] != "Ignored"]

    table = table[(table[["ImageId", "EncodedPixels"]] != "").any(axis=1)]  # blank lines
    for line in table["line"][table["ImageId"] == ""]:
        raise ValueError(f"{path}, line {line}: no ImageId, expected one in every row")

    labels_by_id = {}
    for image_id, rows in table.groupby("ImageId", sort=False):
        shape, runs = None, []
        for row in rows.to_dict("records"):
            try:
                shape = _row_shape(row, shapes, shape)
                runs.append(_parse(row["EncodedPixels"], shape[0] * shape[1]))
            except ValueError as error:
                raise ValueError(f"{path}, line {row['line']}, ImageId {image_id}: {error}") from error
        runs = [one for one in runs if one[0].size]
        labels_by_id[image_id] = _draw(runs, shape, f"{path}, ImageId {image_id}")
    return labels_by_id


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV as text, one row per line, "" for missing values. Raises ValueError where it is none."""
    try:
        table = pd.read_csv(
            path,
            dtype=str,  # an ImageId may look like a number
            keep_default_na=False,
            index_col=False,
            skip_blank_lines=False,  # for correct line numbers in errors
            encoding="utf-8-sig",  # spreadsheets write a byte order mark
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no CSV with the columns ImageId, EncodedPixels ({error})") from error
    return table.rename(columns=str.strip).fillna("")  # fields missing from a line


def _parse(text: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts (from 0) and lengths of the runs in a text, each (R,) int64; `size` in pixels."""
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"EncodedPixels holds {text[:60]!r}, expected whole numbers") from error
    if numbers.size % 2:
        found = f"{numbers.size} numbers ({text[:60]!r})"
        raise ValueError(f"EncodedPixels holds {found}, expected start-length pairs")
    starts, lengths = numbers[0::2], numbers[1::2]
    wrong = (starts < 1) | (lengths < 1)
    beyond = lengths > size - starts + 1
    if (wrong | beyond).any():
        first = np.argmax(wrong | beyond)
        run = f"the run '{starts[first]} {lengths[first]}' in EncodedPixels"
        problem = f"{run} ends beyond the image, which has {size} pixels"
        raise ValueError(f"{run}, expected numbers of 1 or more" if wrong[first] else problem)
    return starts - 1, lengths


def _row_shape(row, shapes, previous):
    """Return the height and width of the image that a row belongs to."""
    shape = None
    if "Height" in row and "Width" in row:
        size = (row["Height"], row["Width"])
        try:
            shape = tuple(map(int, size))
        except ValueError:
            shape = (0, 0)
        if min(shape) < 1:
            raise ValueError(f"Height and Width are {size}, expected two whole numbers of 1 or more")
    if shapes is None:
        expected = previous or shape
    elif row["ImageId"] in shapes:
        expected = shapes[row["ImageId"]]
    else:
        example = next(iter(shapes), "")
        raise ValueError(f"unknown, expected one of the {len(shapes)} images given, such as {example!r}")
    if shape not in (None, expected):
        raise ValueError(f"Height and Width are {shape}, expected {expected}")
    return expected


def _draw(runs, shape, where):
    """Return (H, W) int32 labels from the runs of each nucleus, the smaller over the larger."""
    nuclei = [
        np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        for starts, lengths in runs
    ]
    flat = paint(nuclei, shape[0] * shape[1])
    if shared := sum(pixels.size for pixels in nuclei) - np.count_nonzero(flat):
        warnings.warn(f"{where}: nuclei overlap on {counted(shared, 'pixel')}", stacklevel=3)
    return flat.reshape(shape, order="F")
