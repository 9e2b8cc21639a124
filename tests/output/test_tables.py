"""CSV tables as spreadsheets read them."""

import csv

import numpy as np
import pandas as pd
import pytest

from nuclei.output.tables import join_csv, read_csv, rounded, safe, write_csv


@pytest.mark.parametrize(
    "value, expected",
    [
        (0.32499999999999996, 0.325),
        (1 / 3, 0.333333),
        (1e-7 / 3, 3.33333e-8),
        (-12345.678901, -12345.679),
        (123456789.25, 123456789.25),
        (0, 0),
    ],
)
def test_rounded(value, expected):
    assert rounded(np.array([value, 5.0])).tolist() == [expected, 5]


def test_what_is_no_number_stays():
    np.testing.assert_array_equal(rounded(np.array([np.nan, np.inf])), [np.nan, np.inf])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\t=1", "'=1"])
def test_formulas_become_text(text):
    assert safe(text) == "'" + text and safe(f"a{text}") == f"a{text}"


def test_names_are_read_as_they_were_written(tmp_path):
    names = ["001", "NA", "=a", "'=a", "'a"]
    write_csv(tmp_path / "table.csv", pd.DataFrame({"image": names, "n": [np.nan, 2, 3, 4, 5]}))
    assert read_csv(tmp_path / "table.csv")["image"].tolist() == names


def test_written_and_joined(tmp_path):
    write_csv(tmp_path / "1", pd.DataFrame({"image": ["=a,b", "c"], "x": [0.1 + 0.2, np.nan], "n": [1, 2]}))
    write_csv(tmp_path / "2", pd.DataFrame({"image": ["-d\udce9"], "y": [True], "n": [-3]}))
    join_csv(tmp_path / "all", [tmp_path / "1", tmp_path / "2"])
    with open(tmp_path / "all", newline="", errors="surrogateescape") as file:
        assert list(csv.reader(file)) == [
            ["image", "x", "n", "y"],
            ["'=a,b", "0.3", "1", ""],
            ["c", "", "2", ""],
            ["'-d\udce9", "", "-3", "True"],
        ]
