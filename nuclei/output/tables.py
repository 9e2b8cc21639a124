"""CSV tables: numbers rounded sensibly, text that no spreadsheet runs, many tables joined into one."""

import csv
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

FORMULA = r"'*[=+\-@\t\r]"
"""How text begins that a spreadsheet would run, or that is such text behind apostrophes."""


def rounded(values: np.ndarray) -> np.ndarray:
    """Round to six significant digits, or to three decimals where that keeps more.

    >>> rounded(np.array([0.32499999999999996, 12345.678901, 0.000123456789, 0])).tolist()
    [0.325, 12345.679, 0.000123457, 0.0]
    """
    out = np.array(values, float)
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(out)))
    decimals = np.clip(np.nan_to_num(5 - size, nan=3, posinf=3, neginf=3), 3, 300).astype(int)
    for each in np.unique(decimals):
        out[decimals == each] = np.round(out[decimals == each], each)
    return out


def safe(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run: see https://owasp.org, "CSV Injection".

    One more where there already is one, so that `read_csv` can tell both.

    >>> safe("=1+1"), safe("'=1+1"), safe("plate 1")
    ("'=1+1", "''=1+1", 'plate 1')
    """
    return f"'{text}" if re.match(FORMULA, text) else text


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with rounded numbers and safe text."""
    table = table.copy()
    for name, column in table.items():
        if column.dtype.kind == "f":
            table[name] = rounded(column.to_numpy())
        elif column.dtype.kind not in "iub":
            table[name] = [safe(each) if isinstance(each, str) else each for each in column]
    table.to_csv(path, index=False, lineterminator="\n", errors="surrogateescape")  # see `_open`


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that `write_csv` or `join_csv` wrote, with the names of images as they were."""
    options: dict = {"keep_default_na": False, "na_values": [""]}  # an image may be called NA, or 001
    table = pd.read_csv(path, dtype={"image": object}, encoding_errors="surrogateescape", **options)
    table["image"] = [re.sub(f"^'(?={FORMULA})", "", str(name)) for name in table["image"]]
    return table


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table one by one, each value as the text in the file."""
    with _open(path) as file:
        yield from csv.DictReader(file)


def join_csv(out: Path, paths: Sequence[Path]) -> None:
    """Write the rows of several tables into one, row by row, with the columns of all."""
    columns: dict[str, None] = {}
    for path in paths:
        with _open(path) as file:
            columns |= dict.fromkeys(next(csv.reader(file)))
    with _open(out, "w") as joined:
        writer = csv.DictWriter(joined, columns, lineterminator="\n")
        writer.writeheader()
        for path in paths:
            with _open(path) as file:
                if (header := next(csv.reader(file))) == list(columns):
                    shutil.copyfileobj(file, joined)  # forty times as fast
                else:
                    writer.writerows(csv.DictReader(file, header))


def _open(path: Path, mode: str = "r") -> IO[str]:
    """Open a table; the name of a file in it need not be UTF-8, and is written as the disk has it."""
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")
