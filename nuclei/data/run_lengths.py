"""Kaggle's run-length encoding of labels.

Pixels are numbered from 1, down the columns first; "start length start length ..." is one nucleus and one row
of a CSV with the columns ImageId and EncodedPixels, in solution files also Height, Width and Usage.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from nuclei.common import counted
from nuclei.data.labels import paint

Shapes = Mapping[str, tuple[int, int]]  # height and width of images by ImageId


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

    Returns the label, the first pixel (from 0, down the columns first) and the length of each run, (R,) each,
    sorted by label, then start; without those of the background, 0.
    """
    flat = labels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    numbers = flat[starts]
    order = np.argsort(numbers, kind="stable")[np.count_nonzero(numbers == 0) :]
    return numbers[order], starts[order], lengths[order]


def read_rle_csv(path: str | Path, shapes: Shapes) -> dict[str, np.ndarray]:
    """Read a run-length CSV or a solution file of the competition.

    Returns labels by ImageId, (H, W) int32 each: 0 = background, nuclei in the order of their rows. Images
    without a row, or marked "Ignored" under Usage as the competition does, are missing.

    Raises ValueError where a column is missing, an ImageId is not in `shapes`, Height or Width differs from
    them, or a run is malformed or outside the image. Warns where nuclei overlap; see `labels.paint`.
    """
    table = read_table(path)
    needed = ["ImageId", "EncodedPixels"]
    if missing := [name for name in needed if name not in table]:
        found = f"column {' and '.join(missing)} not found in the first line, {','.join(table)[:60]!r}"
        raise ValueError(f"{path}: {found}; add it. Commas separate columns.")
    table["line"] = np.arange(len(table)) + 2
    if "Usage" in table:
        table = table[table["Usage"] != "Ignored"]
    table = table[(table[needed] != "").any(axis=1)]  # without blank lines

    labels_by_id = {}
    for image_id, rows in table.groupby("ImageId", sort=False):
        nuclei = []
        for row in rows.to_dict("records"):
            try:
                nuclei.append(_pixels(row, shapes))
            except ValueError as error:
                raise ValueError(f"{path}, line {row['line']}, ImageId {image_id}: {error}") from error
        height, width = shapes[str(image_id)]
        flat = paint(nuclei, height * width)
        if shared := sum(pixels.size for pixels in nuclei) - int(np.count_nonzero(flat)):
            overlap = f"nuclei overlap on {counted(shared, 'pixel')}"
            warnings.warn(f"{path}, ImageId {image_id}: {overlap}", stacklevel=2)
        labels_by_id[str(image_id)] = flat.reshape((height, width), order="F")
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
    except Exception as error:  # of any type: pandas unpacks files by their names, such as .tar.gz
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        raise ValueError(f"{path}: no CSV with the columns ImageId, EncodedPixels ({error})") from error
    return table.rename(columns=str.strip).fillna("")  # fields missing from a line


def _pixels(row: dict, shapes: Shapes) -> np.ndarray:
    """Return the places of a nucleus's pixels, (P,) int64, from 0 down the columns first."""
    if row["ImageId"] not in shapes:
        example = next(iter(shapes), "")
        raise ValueError(f"unknown, expected one of the {len(shapes)} images given, such as {example!r}")
    height, width = shapes[row["ImageId"]]
    found = row.get("Height", str(height)), row.get("Width", str(width))
    if found != (str(height), str(width)):
        raise ValueError(f"Height and Width are {' and '.join(found)}, expected {height} and {width}")
    text = row["EncodedPixels"]
    try:
        starts, lengths = np.array(text.split(), dtype=np.int64).reshape(-1, 2).T
    except (ValueError, OverflowError) as error:
        expected = "expected whole numbers: start-length pairs"
        raise ValueError(f"EncodedPixels holds {text[:60]!r}, {expected}") from error
    starts = starts - 1  # pixels are numbered from 1
    wrong = (starts < 0) | (lengths < 1) | (lengths > height * width - starts)
    if wrong.any():
        run = f"{starts[wrong][0] + 1} {lengths[wrong][0]}"
        expected = f"expected numbers of 1 or more, within the image's {height * width} pixels"
        raise ValueError(f"EncodedPixels holds the run '{run}', {expected}")
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
