"""Run-length encoding and its CSV: by hand, there and back, and what a broken file says."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nuclei.data.run_lengths import encode_nuclei, read_rle_csv

HEADER = "ImageId,EncodedPixels\n"
SIZED = "ImageId,EncodedPixels,Height,Width,Usage\n"
shapes = array_shapes(min_dims=2, max_dims=2, max_side=9)


def write_rle_csv(path, labels_by_id):
    """Write labels as the competition does."""
    rows = [(id, runs) for id, labels in labels_by_id.items() for runs in encode_nuclei(labels) or [""]]
    pd.DataFrame(rows, columns=HEADER.strip().split(",")).to_csv(path, index=False)


def consecutive(labels):
    """Number the nuclei 1, 2, ... by ascending label, as a reader does."""
    return np.unique(np.append(labels, 0), return_inverse=True)[1][:-1].reshape(labels.shape)


def csv(tmp_path, text):
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_runs_by_hand():
    # 1 4
    # 2 5   the numbers of the pixels: down the columns, from 1
    # 3 6
    assert encode_nuclei(np.array([[0, 1], [1, 1], [1, 0]])) == ["2 4"]
    assert encode_nuclei(np.array([[3, 0], [0, 3], [3, 2]])) == ["6 1", "1 1 3 1 5 1"]
    assert encode_nuclei(np.zeros((3, 2), int)) == []


def test_runs_in_any_order_that_overlap(tmp_path):
    path = csv(tmp_path, HEADER + "a,5 2 1 1\nb,1 2 2 2\n")
    labels = read_rle_csv(path, {"a": (3, 2), "b": (3, 2)})
    assert labels["a"].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert labels["b"].sum() == 3, "their union"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        arrays(st.sampled_from([np.uint8, np.int32, np.uint64]), shapes, elements=st.integers(0, 5)),
        max_size=3,
    )
)
def test_labels_there_and_back(tmp_path, images):
    labels_by_id = {
        f"0e{n}": labels for n, labels in enumerate(images)
    }  # ids that a reader might take for numbers
    path = tmp_path / "labels.csv"
    write_rle_csv(path, labels_by_id)
    back = read_rle_csv(path, {key: labels.shape for key, labels in labels_by_id.items()})
    assert list(back) == list(labels_by_id)
    for key, labels in labels_by_id.items():
        assert back[key].dtype == np.int32
        np.testing.assert_array_equal(back[key], consecutive(labels))


def test_many_runs(tmp_path):
    """A checkerboard has no run longer than a pixel: 125,000 of them, in 1,000 nuclei."""
    board = np.indices((500, 500)).sum(axis=0) % 2
    labels = (board * (np.arange(500 * 500).reshape(500, 500) // 250 + 1)).astype(np.int32)
    write_rle_csv(tmp_path / "board.csv", {"board": labels})
    np.testing.assert_array_equal(
        read_rle_csv(tmp_path / "board.csv", {"board": (500, 500)})["board"], labels
    )


def test_solution_file(tmp_path):
    text = SIZED + "a,1 2,2,2,Private\nb,1 1,9,9,Ignored\na,4 1,2,2,Private\nc,,1,2,Public\n"
    labels = read_rle_csv(csv(tmp_path, text), {"a": (2, 2), "b": (9, 9), "c": (1, 2)})
    assert {key: value.tolist() for key, value in labels.items()} == {"a": [[1, 0], [1, 2]], "c": [[0, 0]]}


def test_columns_in_another_order_and_more_of_them(tmp_path):
    path = csv(tmp_path, "\ufeffnote,EncodedPixels,ImageId\nx,1 1,a\n,,b\n")
    assert read_rle_csv(path, {"a": (1, 2), "b": (1, 1)})["a"].tolist() == [[1, 0]]


def test_overlapping_nuclei_the_smaller_on_top(tmp_path):
    path = csv(tmp_path, HEADER + "a,2 1\na,1 4\n")
    with pytest.warns(UserWarning, match="truth.csv, ImageId a: nuclei overlap on 1 pixel"):
        assert read_rle_csv(path, {"a": (1, 4)})["a"].tolist() == [[2, 1, 2, 2]]
    path = csv(tmp_path, HEADER + "a,1 2\na,1 2\na,4 1\n")
    with pytest.warns(UserWarning, match="2 pixels"):
        assert read_rle_csv(path, {"a": (1, 4)})["a"].tolist() == [[1, 1, 0, 2]]


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ("1 2 3", "'1 2 3', expected whole numbers: start-length pairs"),
        ("1 x", "'1 x', expected whole numbers"),
        ("1 1.5", "'1 1.5', expected whole numbers"),
        ("1 99999999999999999999", "expected whole numbers"),
        ("0 2", "the run '0 2', .*1 or more"),
        ("1 1 -3 2", "the run '-3 2', .*1 or more"),
        ("1 0", "the run '1 0', .*1 or more"),
        ("1 2 5 3", "the run '5 3', .* within the image's 6 pixels"),
        ("7 1", "the run '7 1', .* within"),
        ("9223372036854775807 9223372036854775807", "within"),
    ],
)
def test_malformed_runs(tmp_path, runs, text):
    with pytest.raises(ValueError, match=f"truth.csv, line 4, ImageId b: .*{text}"):
        read_rle_csv(csv(tmp_path, HEADER + f"a,1 1\n\nb,{runs}\n"), {"a": (2, 3), "b": (2, 3)})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            HEADER + "a,1 1\nz,1 1\n",
            "line 3, ImageId z: unknown, expected one of the 1 images given, such as 'a'",
        ),
        (
            SIZED + "a,1 1,2,2,Public\n",
            "line 2, ImageId a: Height and Width are 2 and 2, expected 1 and 2",
        ),
        (SIZED + "a,1 1,1,wide,Public\n", "line 2, ImageId a: Height and Width are 1 and wide"),
        ("Image,EncodedPixels\na,1 1\n", "truth.csv: column ImageId not found .* 'Image,EncodedPixels'"),
        ("ImageId;EncodedPixels\na;1 1\n", "'ImageId;EncodedPixels'; add it. Commas separate columns"),
        ("", "truth.csv: no CSV with the columns ImageId, EncodedPixels"),
    ],
)
def test_bad_files(tmp_path, content, text):
    with pytest.raises(ValueError, match=text):
        read_rle_csv(csv(tmp_path, content), {"a": (1, 2)})


def test_a_row_without_an_image_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="line 3, ImageId : unknown"):
        read_rle_csv(csv(tmp_path, HEADER + "a,1 1\n,1 1\n"), {"a": (1, 2)})
