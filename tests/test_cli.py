"""`nuclei score`, with a segmenter that reads the number of a nucleus off its brightness."""

import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import write_sample
from PIL import Image
from scipy import ndimage as ndi

import nuclei
from nuclei.cli import main
from nuclei.data.run_lengths import encode_nuclei
from nuclei.data.samples import Sample
from nuclei.output.formats import write_labels
from nuclei.segmentation.segmenter import Segmenter


def perfect(image):
    return image[..., 0].astype(np.int32) // 60


class Fake:
    settings = {"thresholds": {"marker_threshold": 0.5}}
    split = {}
    labels = staticmethod(perfect)

    def predict(self, image):
        labels = self.labels(image)
        return SimpleNamespace(labels=labels, confidence=np.ones(np.count_nonzero(np.unique(labels))))


@pytest.fixture
def segmenter(monkeypatch):
    """What `Segmenter.load` returns; a test may give it other labels."""
    fake = Fake()
    monkeypatch.setattr(Segmenter, "load", lambda *_: fake)
    return fake


@pytest.fixture
def score(folder, tmp_path, segmenter, capsys):
    """Run `nuclei score` on the squares, or with other words; return its exit code and what it printed."""

    def run(images=folder, truth=folder, out=tmp_path / "out", model=tmp_path, more=()):
        words = ("score", images, "--truth", truth, "--out", out, "--model", model, *more)
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def solution(tmp_path, squares):
    """The squares' truth as a solution file."""
    rows = [(s.id, runs, *s.labels.shape, "Public") for s in squares for runs in encode_nuclei(s.labels)]
    table = pd.DataFrame(rows, columns=["ImageId", "EncodedPixels", "Height", "Width", "Usage"])
    table.to_csv(tmp_path / "solution.csv", index=False)
    return tmp_path / "solution.csv"


@pytest.fixture
def flat(tmp_path, squares):
    """The squares as two folders of files: pictures of several kinds, and label images."""
    for s, suffix in zip(squares, ("png", "tif", "png", "TIFF"), strict=True):
        for kind, pixels in (("pictures", s.image), ("labels", s.labels.astype(np.uint16))):
            (tmp_path / kind).mkdir(exist_ok=True)
            iio.imwrite(tmp_path / kind / f"{s.id}.{suffix}", pixels)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures", tmp_path / "labels"


def scores(out):
    return json.loads((out / "scores.json").read_text())


def test_the_perfect_predictor_scores_one(score, tmp_path, squares):
    code, printed, _ = score()
    assert code == 0
    assert "4 images, 12 nuclei, 12 predicted" in printed
    assert "competition score  1.000  (95% interval 1.000 to 1.000)" in printed
    assert "image type" not in printed, "all are of one type"

    report = scores(tmp_path / "out")
    whole = report["all"]
    assert whole["score"] == whole["ap_50"] == whole["panoptic_quality_75"] == whole["dice"] == 1
    assert (whole["nuclei"], whole["merges"], whole["splits"]) == (12, 0, 0)
    assert [each["id"] for each in report["per_image"]] == [s.id for s in squares]
    assert report["model"]["settings"]["thresholds"] and report["versions"]["python"]
    for s in squares:
        labels = tifffile.imread(tmp_path / "out" / "labels" / f"{s.id}.tif")
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, s.labels)


def test_a_score_by_hand(score, tmp_path, segmenter):
    # one of three nuclei is missed everywhere, another has 6 of its 9 rows: an IoU of 2/3
    def labels(image):
        found = perfect(image)
        found[found == 3] = 0
        rows = np.flatnonzero((found == 1).any(axis=1))
        found[rows[6:]] *= found[rows[6:]] != 1
        return found

    segmenter.labels = labels
    assert score()[0] == 0
    whole = scores(tmp_path / "out")["all"]
    assert whole["ap_50"] == pytest.approx(2 / 3)  # 2 found, 1 missed
    assert whole["ap_75"] == pytest.approx(1 / 4)  # 1 found, 1 invented, 2 missed
    assert whole["score"] == pytest.approx((4 * 2 / 3 + 6 * 1 / 4) / 10)  # 2/3 is above 0.5 to 0.65
    assert whole["recall_75"] == pytest.approx(1 / 3) and whole["precision_75"] == pytest.approx(1 / 2)
    assert whole["pixel_accuracy"] == pytest.approx(1 - (3 * 7 + 9 * 7) / 64**2)


def test_every_layout_gives_the_same_scores(score, tmp_path, folder, flat, solution):
    pictures, labels = flat
    zipped = shutil.make_archive(tmp_path / "squares", "zip", folder)
    pairs = [(folder, folder), (folder, solution), (pictures, labels), (pictures, solution)]
    reports = []
    for k, (images, truth) in enumerate([*pairs, (pictures, folder), (zipped, zipped)]):
        code, _, err = score(images, truth, tmp_path / str(k))
        assert code == 0, err
        reports.append(scores(tmp_path / str(k)))
    for report in reports:
        assert report["all"] == reports[0]["all"]
        assert report["per_image"] == reports[0]["per_image"]


def test_images_beside_their_label_images(score, tmp_path, flat):
    pictures, labels = flat
    for path in labels.iterdir():
        shutil.copy(path, pictures / f"{path.stem}_labels{path.suffix}")
    shutil.copy(pictures / "square-0.png", pictures / "square-0_overlay.png")
    shutil.copytree(pictures, tmp_path / "results")  # as nuclei segment leaves them
    places = [(pictures, pictures), (pictures, labels), (pictures, tmp_path / "results")]
    for k, (images, truth) in enumerate(places):
        assert score(images, truth, tmp_path / str(k))[0] == 0
        assert scores(tmp_path / str(k))["all"]["score"] == 1
        assert scores(tmp_path / str(k))["all"]["images"] == 4


def test_types_are_told_apart(score, tmp_path, folder, squares):
    bright = Sample("bright", 255 - squares[0].image, squares[0].labels)
    write_sample(folder, bright)
    _, printed, _ = score()
    assert "small fluorescent" in printed and "grayscale tissue" in printed
    by_type = scores(tmp_path / "out")["by_type"]
    assert {kind: each["images"] for kind, each in by_type.items()} == {
        "small fluorescent": 4,
        "grayscale tissue": 1,
    }
    assert by_type["grayscale tissue"]["score"] < by_type["small fluorescent"]["score"] == 1


def test_images_that_taught_the_model_are_told(score, segmenter, squares):
    segmenter.split = {"train": [squares[1].id, "elsewhere"], "validation": [squares[0].id]}
    code, _, err = score()
    assert code == 0 and f"of the same names or pixels as {squares[1].id}:" in err


def test_a_truth_without_any_nucleus_is_told(score, tmp_path, folder, flat, segmenter):
    segmenter.labels = lambda image: 0 * perfect(image)
    for path in flat[1].iterdir():
        iio.imwrite(path, 0 * iio.imread(path))
    code, printed, err = score(truth=flat[1])
    assert code == 0 and "0 nuclei, 0 predicted" in printed
    assert "labels: no nucleus in any image" in err
    assert "no nucleus" not in score(out=tmp_path / "with")[2]


def test_labels_that_are_probably_wrong_are_listed(score, tmp_path, flat):
    pictures, labels = flat
    wrong = iio.imread(labels / "square-0.png")
    iio.imwrite(labels / "square-0.png", np.where(wrong == 3, 0, wrong))
    code, printed, _ = score(pictures, labels, more=["--audit"])
    table = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert code == 0 and "audit.csv" in printed
    assert table[["image", "kind", "label", "predicted"]].to_numpy().tolist() == [
        ["square-0", "missing", 0, 3]
    ]
    score(out=tmp_path / "without")
    assert not (tmp_path / "without" / "audit.csv").exists()


@pytest.mark.parametrize("beside", [False, True])
def test_the_audit_has_the_numbers_of_the_label_images(score, tmp_path, flat, segmenter, beside):
    for path in flat[1].iterdir():
        iio.imwrite(path, np.uint16(100) * iio.imread(path))
    segmenter.labels = lambda image: np.where(perfect(image) == 2, 0, perfect(image))
    if beside:
        shutil.copytree(flat[0], tmp_path / "set" / "images")
        shutil.copytree(flat[1], tmp_path / "set" / "labels")
        flat = (tmp_path / "set", tmp_path / "set")
    for _ in range(2):  # then from the cache
        assert score(*flat, more=["--audit"])[0] == 0
        assert pd.read_csv(tmp_path / "out" / "audit.csv")["label"].tolist() == [200] * 4


def test_names_too_long_and_names_that_spreadsheets_would_run(score, tmp_path, flat, segmenter):
    pictures, labels = flat
    long, formula = "x" * 250, "=1+1"
    for folder in flat:
        (folder / "square-0.png").rename(folder / f"{long}.png")
        (folder / "square-2.png").rename(folder / f"{formula}.png")
    segmenter.labels = lambda image: np.where(perfect(image) == 3, 0, perfect(image))
    assert score(pictures, labels, more=["--audit"])[0] == 0
    assert set(pd.read_csv(tmp_path / "out" / "audit.csv")["image"]) == {
        long, "square-1", "'=1+1", "square-3",
    }  # fmt: skip
    names = [path.stem for path in (tmp_path / "out" / "labels").iterdir()]
    assert len(names) == 4 and formula in names and max(map(len, names)) <= 200
    assert {each["id"] for each in scores(tmp_path / "out")["per_image"]} >= {long, formula}


def test_ignored_images_are_left_out(score, tmp_path, solution):
    lines = solution.read_text().splitlines()
    lines = [line.replace("Public", "Ignored") if line.startswith("square-2") else line for line in lines]
    solution.write_text("\n".join(lines))
    code, printed, _ = score(truth=solution)
    assert code == 0 and "3 images (1 more ignored)" in printed
    assert scores(tmp_path / "out")["ignored"] == ["square-2"]
    assert not (tmp_path / "out" / "labels" / "square-2.tif").exists()


def test_many_nuclei_need_more_bits(tmp_path):
    labels = np.arange(65_537, dtype=np.int32)[None]
    write_labels(tmp_path / "many.tif", labels)
    found = tifffile.imread(tmp_path / "many.tif")
    assert found.dtype == np.uint32 and np.array_equal(found, labels)


def test_overlaps_in_the_truth_are_one_line(score, solution):
    solution.write_text(solution.read_text() + "square-0,1 2,64,64,Public\nsquare-0,1 3,64,64,Public\n")
    code, _, err = score(truth=solution)
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("nuclei: warning: ") and "square-0" in line


def test_pictures_of_16_bits_are_read(score, tmp_path, flat):
    pictures, labels = flat
    deep = (iio.imread(pictures / "square-0.png").astype(np.uint16) + 1) * 200
    (pictures / "square-0.png").unlink()
    tifffile.imwrite(pictures / "square-0.tif", deep)  # 16-bit RGB, which Pillow cannot read
    assert score(pictures, labels)[0] == 0


def test_pictures_are_read_by_their_photometric_interpretation(score, tmp_path, flat, squares):
    """Also beside their labels, as training reads them."""
    pictures, labels = flat
    inverted = 255 - squares[1].image[..., 0]
    tifffile.imwrite(pictures / "square-1.tif", inverted, photometric="miniswhite")
    Image.fromarray(squares[3].image).convert("CMYK").save(pictures / "square-3.TIFF")
    assert score(pictures, labels)[0] == 0
    for path in labels.iterdir():
        shutil.copy(path, pictures / f"{path.stem}_labels{path.suffix}")
    assert score(pictures, pictures, tmp_path / "beside")[0] == 0
    assert scores(tmp_path / "out")["all"]["score"] == scores(tmp_path / "beside")["all"]["score"] == 1


def test_images_beside_a_separate_truth_are_not_read(score, tmp_path, flat, folder):
    for path in folder.glob("*/images/*.png"):
        path.write_bytes(b"of several channels")
    assert score(flat[0], folder)[0] == 0
    assert scores(tmp_path / "out")["all"]["score"] == 1


def test_numbers_of_a_grey_palette_do_not_merge(score, tmp_path, flat):
    pictures, labels = flat
    picture = Image.fromarray(iio.imread(labels / "square-0.png").astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0] + 255 * [90, 90, 90])
    picture.save(labels / "square-0.png")
    assert score(pictures, labels)[0] == 0
    assert scores(tmp_path / "out")["all"]["score"] == 1


def test_linked_folders_are_searched_and_files_that_are_not_read_named(score, tmp_path, folder, squares):
    (tmp_path / "all").mkdir()
    for s in squares:
        (tmp_path / "all" / s.id).symlink_to(folder / s.id, target_is_directory=True)
    (folder / "square-2" / "raw.nd2").touch()
    code, printed, err = score(tmp_path / "all", tmp_path / "all")
    assert code == 0 and "4 images, 12 nuclei" in printed
    (line,) = [line for line in err.splitlines() if "warning" in line]
    assert "square-2/raw.nd2" in line and "convert" in line


def break_nothing_there(folder, solution, flat):
    return {"images": folder / "elsewhere"}, ["IMAGES", "elsewhere", "no such file"]


def break_no_truth(folder, solution, flat):
    return {"truth": folder / "no.csv"}, ["--truth", "no.csv", "no such file"]


def break_images_is_a_file(folder, solution, flat):
    return {"images": solution}, ["solution.csv: not a complete zip file"]


def break_no_pictures(folder, solution, flat):
    empty = folder.parent / "empty"
    empty.mkdir()
    return {"images": empty}, ["empty: no pictures found"]


def break_no_model(folder, solution, flat):
    return {"model": "saved_model/none"}, ["--model", "saved_model/none", "no such folder"]


def break_out_is_a_file(folder, solution, flat):
    return {"out": solution / "new"}, ["--out", "solution.csv is a file"]


def break_picture(folder, solution, flat):
    (folder / "square-2" / "images" / "square-2.png").write_bytes(b"no picture")
    return {"truth": solution}, ["square-2/images/square-2.png", "cannot be read"]


def break_image_shape(folder, solution, flat):
    tifffile.imwrite(flat[0] / "square-1.tif", np.zeros((5, 64, 64, 3), np.uint8))
    return {"images": flat[0]}, ["square-1", "(5, 64, 64, 3)"]


def break_two_of_a_name(folder, solution, flat):
    shutil.copy(flat[0] / "square-0.png", flat[0] / "square-0.jpg")
    return {"images": flat[0]}, ["more than one picture for square-0"]


def break_unknown_id(folder, solution, flat):
    solution.write_text(solution.read_text() + "stranger,1 2,64,64,Public\n")
    return {"truth": solution}, ["solution.csv, line 14", "stranger", "unknown"]


def break_unknown_label_image(folder, solution, flat):
    shutil.copy(flat[1] / "square-0.png", flat[1] / "stranger.png")
    return {"truth": flat[1]}, ["stranger not among the images"]


def break_images_without_truth(folder, solution, flat):
    shutil.rmtree(flat[1])
    flat[1].mkdir()
    write_labels(flat[1] / "square-3.tif", np.eye(64, dtype=int))
    return {"truth": flat[1]}, ["no truth for square-0, square-1, square-2 in"]


def break_images_missing_from_csv(folder, solution, flat):
    solution.write_text("\n".join(line for line in solution.read_text().splitlines() if "e-1" not in line))
    return {"truth": solution}, ["solution.csv: no truth for square-1"]


def break_all_ignored(folder, solution, flat):
    solution.write_text(solution.read_text().replace("Public", "Ignored"))
    return {"truth": solution}, ["all rows are marked as Ignored"]


def break_images_for_truth(folder, solution, flat):
    return {"images": flat[0], "truth": flat[0]}, ["no labels for square-0.png"]


def break_broken_labels(folder, solution, flat):
    (flat[1] / "square-1.tif").write_bytes((flat[1] / "square-1.tif").read_bytes()[:150])
    return {"truth": flat[1]}, ["labels/square-1.tif"]


def break_masks_without_images(folder, solution, flat):
    bare = folder.parent / "bare"
    shutil.copytree(folder, bare)
    for images in bare.glob("*/images"):
        shutil.rmtree(images)
    return {"truth": bare}, ["bare: no pictures found, expected label images directly in it"]


def break_no_masks(folder, solution, flat):
    shutil.rmtree(folder / "square-1" / "masks")
    return {}, ["square-1 has no masks"]


def break_truth_shape(folder, solution, flat):
    write_labels(flat[1] / "square-1.tif", np.eye(64, 60, dtype=int))
    return {"truth": flat[1]}, ["the labels of square-1", "(64, 60)", "expected (64, 64)"]


def break_csv_shape(folder, solution, flat):
    solution.write_text(solution.read_text().replace("64,64", "64,60", 1))
    return {"truth": solution}, ["line 2", "64 and 60", "expected 64 and 64"]


def break_float_labels(folder, solution, flat):
    tifffile.imwrite(flat[1] / "square-1.tif", np.full((64, 64), 0.5, np.float32))
    return {"truth": flat[1]}, ["square-1.tif: float32 numbers that are not whole"]


def break_negative_labels(folder, solution, flat):
    tifffile.imwrite(flat[1] / "square-1.tif", np.full((64, 64), -1, np.int16))
    return {"truth": flat[1]}, ["square-1.tif: the number -1, expected 0"]


def break_binary_labels(folder, solution, flat):
    mask = np.zeros((64, 64), np.uint8)
    mask[4:9, 4:9] = mask[20:29, 4:9] = 255
    tifffile.imwrite(flat[1] / "square-1.tif", mask)
    return {"truth": flat[1]}, ["square-1.tif: 2 separate pieces have 1 number (255)"]


def changed_labels(flat, change):
    """The label images as a truth, with one of them changed to something else, of whole numbers."""
    path = flat[1] / "square-1.tif"
    tifffile.imwrite(path, np.round(change(tifffile.imread(path).astype(float))).astype(np.uint16))
    return {"truth": flat[1]}


def break_classes_of_ilastik(folder, solution, flat):
    words = changed_labels(flat, lambda labels: np.where(labels > 0, 2, 1))
    return words, ["square-1.tif: the number 1 covers most", "expected 0 for the background"]


def break_background_255(folder, solution, flat):
    words = changed_labels(flat, lambda labels: np.where(labels > 0, labels, 255))
    return words, ["square-1.tif: the number 255 covers most", "expected 0 for the background"]


def break_borders_as_a_class(folder, solution, flat):
    words = changed_labels(flat, lambda labels: 2 * (labels > 0) - ndi.binary_erosion(labels > 0))
    return words, ["square-1.tif: 6 separate pieces have 2 numbers (1, 2)", "skimage.measure.label"]


def break_soft_edges(folder, solution, flat):
    words = changed_labels(flat, lambda labels: ndi.gaussian_filter(255.0 * (labels > 0), 1))
    return words, ["square-1.tif: numbers change by steps along the edges", "Threshold and label"]


def break_interpolated_labels(folder, solution, flat):
    words = changed_labels(flat, lambda labels: ndi.zoom(ndi.zoom(60 * labels, 0.5, order=1), 2, order=1))
    return words, ["square-1.tif: numbers change by steps along the edges", "without interpolation"]


def break_one_mask_for_all(folder, solution, flat):
    masks = folder / "square-1" / "masks"
    every = np.max([iio.imread(path) for path in masks.iterdir()], axis=0)
    shutil.rmtree(masks)
    masks.mkdir()
    iio.imwrite(masks / "all.png", every)
    return {}, ["square-1/masks: 3 separate pieces have 1 mask file", "skimage.measure.label"]


def break_one_row_for_all(folder, solution, flat):
    lines = solution.read_text().splitlines()
    rows = [line.split(",") for line in lines if line.startswith("square-1,")]
    every = " ".join(runs for _, runs, *_ in rows)
    lines = [line for line in lines if not line.startswith("square-1,")] + [f"square-1,{every},64,64,Public"]
    solution.write_text("\n".join(lines))
    return {"truth": solution}, ["solution.csv: the labels of square-1: 3 separate pieces have 1 number"]


def break_channel(folder, solution, flat):
    return {"more": ["--channel", "-1"]}, ["--channel is -1, expected a whole number from 0"]


def break_page(folder, solution, flat):
    return {"more": ["--page", "-1"]}, ["--page is -1, expected a whole number from 0"]


def break_jpeg_labels(folder, solution, flat):
    shutil.move(flat[1] / "square-0.png", flat[1] / "square-0.jpg")
    return {"truth": flat[1]}, ["square-0.jpg: JPEG changes the numbers"]


def break_csv_runs(folder, solution, flat):
    solution.write_text(solution.read_text() + "square-3,4096 2,64,64,Public\n")
    return {"truth": solution}, ["line 14", "square-3", "'4096 2'", "image's 4096 pixels"]


def break_csv_columns(folder, solution, flat):
    solution.write_text("id,runs\na,1 2\n")
    return {"truth": solution}, ["solution.csv: column ImageId and EncodedPixels not found"]


BREAKS = [value for name, value in list(globals().items()) if name.startswith("break_")]


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__.removeprefix("break_"))
def test_bad_input_is_one_clear_line(spoil, score, tmp_path, folder, solution, flat, segmenter):
    segmenter.labels = None  # nothing may be segmented before the error
    words, expected = spoil(folder, solution, flat)
    code, printed, err = score(**words)
    (line,) = [
        line for line in err.splitlines() if line and not line.startswith("reading ")
    ]  # a progress bar
    assert code == 2 and printed == ""
    assert line.startswith("nuclei: error: ")
    for part in expected:
        assert part in line
    assert not re.search("delete|remove", line, re.IGNORECASE), "no file of a user's"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["images", "truth"])
@pytest.mark.parametrize("name", ["slides.czi", "plate.tar.gz", "plate.zip", "cut.zip"])
def test_another_file_than_a_zip_is_named_and_stays(score, tmp_path, folder, name, place):
    path, content = tmp_path / name, b"something else"
    if name == "cut.zip":
        shutil.make_archive(tmp_path / "cut", "zip", folder)
        content = path.read_bytes()[:-100]
    path.write_bytes(content)
    code, _, err = score(**{place: path})
    assert code == 2 and f"{name}: " in err and ("zip" in err or "ImageId" in err)
    assert not re.search("delete|remove", err, re.IGNORECASE) and path.read_bytes() == content


@pytest.mark.parametrize(
    "words, expected",
    [
        (["paint"], "paint"),
        (["score"], "required: IMAGES, --truth, --out"),
        (["score", "a", "--truth", "b", "--out", "c", "--fast"], "--fast"),
    ],
)
def test_bad_usage_is_one_clear_line(words, expected, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nuclei: error: ") and expected in line and "--help" in line


@pytest.mark.parametrize("place", ["folder", "truth", "below"])
def test_the_truth_is_never_written_over(score, tmp_path, flat, place):
    """Neither label images in the folder of results, nor a folder around them, nor one in it."""
    pictures, labels = flat
    out = {"folder": labels.parent, "truth": labels, "below": labels / "results"}[place]
    before = {path: path.read_bytes() for path in labels.iterdir()}
    code, _, err = score(pictures, labels, out)
    assert code == 2 and "would be written into --truth" in err
    assert {path: path.read_bytes() for path in labels.iterdir()} == before


def test_label_images_beside_masks_are_never_written_over(score, tmp_path, folder):
    code, _, err = score(folder, folder, folder)
    assert code == 2 and "would be written into IMAGES" in err
    assert not (folder / "labels").exists() and not (folder / "scores.json").exists()


def test_label_images_of_others_are_not_replaced(score, tmp_path):
    (tmp_path / "out" / "labels").mkdir(parents=True)
    (tmp_path / "out" / "labels" / "square-1.tif").write_text("by hand")
    code, _, err = score()
    assert code == 2 and "square-1.tif: is there already, and was not written by an earlier run" in err
    assert (tmp_path / "out" / "labels" / "square-1.tif").read_text() == "by hand"


def test_results_of_an_earlier_run_are_replaced(score, tmp_path, segmenter):
    assert score()[0] == 0
    segmenter.labels = lambda image: 0 * perfect(image)
    assert score()[0] == 0
    assert scores(tmp_path / "out")["all"]["score"] == 0
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(names) == [".written", "labels", "scores.json"]


def test_an_audit_does_not_stay_beside_the_labels_of_a_later_run(score, tmp_path):
    code, printed, _ = score(more=["--audit"])
    audited = tmp_path / "out" / "audit.csv"
    assert code == 0 and audited.exists() and "audit.csv" not in printed  # it has no row
    assert score()[0] == 0 and not audited.exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "audit.csv").write_text("of another program")
    assert score(out=tmp_path / "new")[0] == 0 and (tmp_path / "new" / "audit.csv").exists()


@pytest.mark.parametrize("again", [["--audit"], []])
@pytest.mark.parametrize("file", ["labels/square-1.tif", "scores.json", "audit.csv"])
def test_results_changed_by_hand_are_not_replaced(score, tmp_path, file, again):
    assert score(more=["--audit"])[0] == 0
    (tmp_path / "out" / file).write_text("corrected")
    code, _, err = score(more=again)
    assert code == 2 and f"{file}: is there already" in err and "another folder for --out" in err
    assert (tmp_path / "out" / file).read_text() == "corrected"
    assert (tmp_path / "out" / "scores.json").exists()


def test_a_full_disk_is_reported(score, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("nuclei.workflows.score.write_labels", full)
        code, printed, err = score()
    assert (code, printed) == (2, "")
    assert f"--out {tmp_path / 'out'}: cannot be written to (No space left on device)" in err
    assert score()[0] == 0


@pytest.mark.parametrize("name", ["images", "truth", "out", "model"])
def test_an_empty_name_is_reported(score, name):
    code, _, err = score(**{name: ""})
    option = "IMAGES" if name == "images" else f"--{name}"
    assert code == 2 and f"{option} is '', expected the name of a file or folder" in err


def test_an_interrupted_run_leaves_whole_files_and_no_scores(score, tmp_path, segmenter):
    assert score()[0] == 0
    done = []

    def labels(image):
        if done:
            raise KeyboardInterrupt
        done.append(image)
        return perfect(image)

    segmenter.labels = labels
    code, printed, err = score()
    assert (code, printed, err) == (130, "", "nuclei: interrupted\n")
    left = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.tif*"))
    assert left == [f"labels/square-{k}.tif" for k in range(4)], "nothing half written"
    assert not (tmp_path / "out" / "scores.json").exists()
    segmenter.labels = perfect
    assert score()[0] == 0


def test_a_relative_model_may_start_from_the_root(score, tmp_path, segmenter, monkeypatch):
    folder = tmp_path / "saved_model" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = []
    monkeypatch.setattr(Segmenter, "load", lambda path, *_: loaded.append(path) or segmenter)
    assert score(model="saved_model/mine")[0] == 0
    assert loaded == [folder]
    assert scores(tmp_path / "out")["model"]["folder"] == "saved_model/mine"


def test_help_fits_a_screen(capsys):
    for words in (["--help"], ["score", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 30 and max(map(len, lines)) <= 90
    assert "nuclei score data/sample --truth data/sample" in "\n".join(lines)


def test_the_module_is_the_command():
    run = subprocess.run([sys.executable, "-m", "nuclei", "--help"], capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stdout.startswith("usage: nuclei ") and "score" in run.stdout


def test_without_a_command_the_help_is_printed(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: nuclei ")


def test_the_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"nuclei {nuclei.__version__}\n"


@pytest.mark.parametrize(
    "words, closed, code", [("--help", "| true", 0), ("--help", ">&-", 0), ("score", ">&- 2>&-", 2)]
)
def test_closed_streams_change_no_exit_code(words, closed, code):
    command = f"set -o pipefail; {sys.executable} -m nuclei {words} {closed}"
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == code


def test_names_that_a_stream_cannot_show_do_not_silence_it(tmp_path):
    words = [sys.executable, "-m", "nuclei", "segment", tmp_path / "é.png", "--out", tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2 and rb"\xe9.png: no such file" in done.stderr


def test_a_fault_of_the_program_is_no_skipped_image(score, segmenter):
    segmenter.labels = lambda image: 1 / 0
    code, _, errors = score()
    assert code == 2 and "ZeroDivisionError" in errors


def test_results_are_whole_though_nobody_reads_the_messages(score, tmp_path, monkeypatch, segmenter):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    segmenter.split = {"train": ["square-1"]}  # a warning, in the middle of the run
    monkeypatch.setattr(sys, "stdout", Broken())
    monkeypatch.setattr(sys, "stderr", Broken())
    assert score()[0] == 0
    assert scores(tmp_path / "out")["all"]["score"] == 1


def test_help_does_not_wait_for_tensorflow():
    code = "import sys, nuclei.cli; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
