"""CSV tables: numbers rounded sensibly, text that no spreadsheet runs, many tables joined into one."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet runs as a formula; see https://owasp.org, "CSV Injection"."""


def rounded(values: np.ndarray) -> np.ndarray:
    """Round to six significant digits, or to three decimals where that keeps more.

    >>> rounded(np.array([0.32499999999999996, 12345.678901, 0.000123456789, 0])).tolist()
    [0.325, 12345.679, 0.000123457, 0.0]
    """
    values = np.asarray(values, float)
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    decimals = np.clip(np.nan_to_num(5 - size, nan=3, posinf=3, neginf=3), 3, 300)
    out = values.copy()
    for each in np.unique(decimals).astype(int):
        out[decimals == each] = np.round(values[decimals == each], each)
    return out


def safe(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula.

    >>> safe("=1+1"), safe("plate 1")
    ("'=1+1", 'plate 1')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with rounded numbers and safe text."""
    table = table.copy()
    for name, column in table.items():
        if column.dtype.kind == "f":
            table[name] = rounded(column.to_numpy())
        elif column.dtype.kind not in "iub":
            table[name] = [safe(each) if isinstance(each, str) else each for each in column]
    # a file's name need not be UTF-8: it is written as the disk has it
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8", errors="surrogateescape")


def join_csv(paths: Sequence[Path], out: Path) -> None:
    """Write the rows of several tables into one, row by row, with the columns of all."""
    columns = dict.fromkeys(column for path in paths for column in _columns(path))
    with _open(out, "w") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(paths))


def _columns(path: Path) -> list[str]:
    with _open(path) as file:
        return next(csv.reader(file))


def _rows(paths: Iterable[Path]) -> Iterable[dict[str, str]]:
    for path in paths:
        with _open(path) as file:
            yield from csv.DictReader(file)


def _open(path: Path, mode: str = "r") -> IO[str]:
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")
