"""`nuclei segment`, with a segmenter that takes what is bright for nuclei."""

import csv
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import roifile
import shapely
import tifffile
from conftest import write_ome_set
from PIL import Image
from skimage.measure import label

from nuclei import ROOT
from nuclei.cli import main
from nuclei.data.run_lengths import read_rle_csv
from nuclei.data.samples import load_samples
from nuclei.images import open_image
from nuclei.images.finding import find_images
from nuclei.images.intensity import as_rgb8
from nuclei.output.formats import FORMATS
from nuclei.output.run_folder import RunFolder
from nuclei.segmentation.segmenter import Prediction, Segmenter
from nuclei.segmentation.watershed import confidence
from nuclei.workflows.segment import segment


class Thresholder:
    """Bright pixels that touch are a nucleus."""

    settings = {"thresholds": {"foreground_threshold": 0.5}}

    def __init__(self):
        self.seen = []

    def check_scale(self, scale):
        if scale == 7:
            raise ValueError("`scale` is 7, but this model sees every image at one size")

    def predict(self, image, **options):
        self.seen.append((image, options))
        maps = as_rgb8(image)[..., :1] / np.float32(255)
        labels = label(maps[..., 0] > 0.5).astype(np.int32)
        return Prediction(labels, confidence(labels, maps[..., 0]), as_rgb8(image), maps)


@pytest.fixture
def segmenter(monkeypatch):
    fake = Thresholder()
    monkeypatch.setattr(Segmenter, "load", lambda *_: fake)
    return fake


@pytest.fixture
def images(tmp_path):
    """Three images with 1, 2 and 3 nuclei, two of them of one name; the last is in a folder below."""
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for k, name in enumerate(("a.png", "b b.tif", "below/a.png"), start=1):
        iio.imwrite(folder / name, picture(k))
    return folder


def picture(nuclei, dtype=np.uint8):
    image = np.zeros((40, 50), dtype)
    for k in range(nuclei):
        image[5 + k : 15 + 2 * k, 4 + 15 * k : 12 + 15 * k] = 200
    return image


@pytest.fixture
def run(images, model, segmenter, tmp_path, capsys):
    """Call `nuclei segment`; return its exit code and what it printed."""

    def call(*words, places=(images,), out=tmp_path / "out"):
        code = main([str(w) for w in ("segment", *places, "--out", out, "--model", model, *words)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def visible(out):
    """The files below a folder of results; an OME-Zarr counts as one."""
    below = [p.relative_to(out) for p in out.rglob("*") if p.is_file() or p.suffix == ".zarr"]
    return sorted(p.as_posix() for p in below if p.parts[0] != ".done" and ".zarr/" not in p.as_posix())


def leftovers(out):
    return [path for path in out.rglob("*") if path.suffix == ".tmp"]


def test_every_kind_of_file_has_the_same_nuclei(run, out, images):
    code, printed, err = run("--save", "all")
    assert (code, err) == (0, ""), err
    assert printed == f"3 images, 6 nuclei found.\nResults are in {out}/.\n"
    endings = ("_labels.tif", "_labels.zarr", "_overlay.png", ".geojson", "_rois.zip")
    per_image = [f"{name}{ending}" for name in ("a", "b b", "below/a") for ending in endings]
    assert visible(out) == sorted(
        [*per_image, "measurements.csv", "summary.csv", "review.csv", "review.png", "rle.csv", "run.json"]
    )

    table = pd.read_csv(out / "measurements.csv")
    summary = pd.read_csv(out / "summary.csv").set_index("image")
    decoded = read_rle_csv(out / "rle.csv", {name: (40, 50) for name in summary.index})
    assert summary["nuclei"].to_dict() == {"a": 1, "b b": 2, "below/a": 3}
    assert summary["file"].tolist() == ["a.png", "b b.tif", "below/a.png"]
    for name, rows in table.groupby("image"):
        labels = tifffile.imread(out / f"{name}_labels.tif")
        numbers = [str(number) for number in rows["label"]]
        np.testing.assert_array_equal(rows["area_px"], np.bincount(labels.ravel())[1:])
        np.testing.assert_array_equal(decoded[name], labels)
        np.testing.assert_array_equal(open_image(out / f"{name}_labels.zarr").pixels(), labels)
        assert [roi.name for roi in roifile.roiread(out / f"{name}_rois.zip")] == numbers
        features = json.loads((out / f"{name}.geojson").read_text())["features"]
        assert [each["properties"]["name"] for each in features] == numbers
        areas = [shapely.geometry.shape(each["geometry"]).area for each in features]
        assert areas == rows["area_px"].tolist()
        assert min(iio.imread(out / f"{name}_overlay.png").shape[:2]) >= 400


def test_the_default_kinds(run, out):
    assert run()[0] == 0
    assert {path.split("_")[-1] for path in visible(out)} == {
        "labels.tif", "overlay.png", "measurements.csv", "summary.csv", "run.json",
    }  # fmt: skip


def test_labels_come_back_as_training_data(run, images, monkeypatch):
    """Also after another program has written them anew, with other numbers and another type."""
    monkeypatch.setattr("nuclei.data.samples.ROOT", images)  # for the cache
    assert run("--save", "labels,overlay", places=[images / "below"], out=images / "below")[0] == 0
    path = images / "below" / "a_labels.tif"
    tifffile.imwrite(path, tifffile.imread(path).astype(np.float32) * 7)
    (sample,) = load_samples(images / "below")
    np.testing.assert_array_equal(sample.labels > 0, sample.image[..., 0] > 0)
    assert sample.labels.max() == 3


def test_an_image_of_one_dye_is_segmented_as_grey_with_a_note(run, out, images):
    blue = np.zeros((40, 50, 3), np.uint8)
    blue[..., 2] = picture(3)
    iio.imwrite(images / "blue.png", blue)
    assert run(places=[images / "blue.png", images / "a.png"])[0] == 0
    summary = pd.read_csv(out / "summary.csv", keep_default_na=False).set_index("image")
    assert summary["nuclei"].to_dict() == {"a": 1, "blue": 3}
    assert "one dye" in summary.loc["blue", "note"] and summary.loc["a", "note"] == ""


def test_warnings_of_an_image_are_noted(run, out, images):
    """Also of a unit that is not known."""
    mosaic = picture(3, np.uint16) + np.random.default_rng(0).integers(20_000, 20_100, (40, 50), np.uint16)
    mosaic[:, :6] = 0  # 12 % of the pixels
    tifffile.imwrite(images / "mosaic.tif", mosaic, imagej=True, metadata={"unit": "furlong"})
    code, _, err = run(places=[images / "mosaic.tif", images / "a.png"])
    assert code == 0 and "mosaic.tif: 12.0% of the values are 0" in err
    summary = pd.read_csv(out / "summary.csv", keep_default_na=False).set_index("image")
    assert summary.loc["mosaic", "nuclei"] == 3 and summary.loc["a", "note"] == ""
    assert "furlong" in summary.loc["mosaic", "note"] and "12.0%" in summary.loc["mosaic", "note"]


def test_a_scale_bar_and_hot_pixels_do_not_hide_the_nuclei(run, out, tmp_path):
    """In a 12-bit image: 0.6 % of the pixels in white as a bar, and 0.5 % single ones of any brightness."""
    plain = 300 + 10 * picture(3, np.uint16) + np.random.default_rng(0).integers(0, 20, (40, 50), np.uint16)
    bar, hot = plain.copy(), plain.copy()
    bar[35:37, 40:46] = 65_535
    hot[27:38:5, 5:50:15] = [[9_000, 20_000, 65_535], [40_000, 11_000, 50_000], [30_000, 65_000, 15_000]]
    spoiled = {"bar": bar, "hot": hot}
    for name, pixels in spoiled.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    code, _, err = run(places=[tmp_path / "bar.tif", tmp_path / "hot.tif"])
    notes = pd.read_csv(out / "summary.csv").set_index("image")["note"]
    assert code == 0 and len(err.splitlines()) == 2
    for name, pixels in spoiled.items():
        found, kept = tifffile.imread(out / f"{name}_labels.tif"), pixels == plain
        np.testing.assert_array_equal(found[kept] > 0, picture(3)[kept] > 0)
        assert f"{name}.tif" in err and "left out of the contrast" in notes[name]


def test_the_nuclei_are_the_same_however_a_file_states_its_greys(run, out, tmp_path):
    folder, rgb = tmp_path / "greys", Image.fromarray(picture(3)).convert("RGB")
    folder.mkdir()
    negative = np.arange(255, -1, -1)
    palette = np.tile(257 * negative, (3, 1)).astype(np.uint16)
    tifffile.imwrite(folder / "palette.tif", 255 - picture(3), photometric="palette", colormap=palette)
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        inverted = np.iinfo(dtype).max - picture(3, dtype)
        tifffile.imwrite(folder / f"white is zero {bits}.tif", inverted, photometric="miniswhite")
    for name in ("YCbCr.tif", "CMYK.tif", "CMYK.jpg", "LA.tif", "LA.png", "LAB.tif"):
        rgb.convert(name[:-4]).save(folder / name)
    rgb.save(folder / "jpeg.tif", compression="jpeg")
    deep = np.asarray(rgb.convert("CMYK")).astype(np.uint16) * 257
    tifffile.imwrite(folder / "deep.tif", deep, photometric="separated")

    code, printed, err = run(places=[folder])
    assert code == 1 and printed.startswith("9 images, 27 nuclei")
    for path in out.glob("*_labels.tif"):
        np.testing.assert_array_equal(tifffile.imread(path), label(picture(3)), path.name)
    for name, refused in (("LAB.tif", "CIELAB"), ("deep.tif", "CMYK")):
        (line,) = [line for line in err.splitlines() if f"skipped {folder / name}" in line]
        assert f"{refused} are not supported" in line and "as RGB" in line


def test_each_file_of_an_ome_set_gives_its_own_position(run, out, tmp_path):
    """Several positions in one file are several pages."""
    pictures = [picture(k, np.uint16) for k in (1, 2, 3)]
    write_ome_set(tmp_path / "set", pictures)
    with tifffile.TiffWriter(tmp_path / "all.ome.tif", ome=True) as tiff:
        for pixels in pictures:
            tiff.write(pixels)
    for page in ((), ("--page", "0")):
        assert run(*page, "--overwrite", places=[tmp_path / "set"])[0] == 0
        counts = pd.read_csv(out / "summary.csv").set_index("image")["nuclei"]
        assert counts.to_dict() == {"p0.ome": 1, "p1.ome": 2, "p2.ome": 3}
    code, _, err = run(places=[tmp_path / "all.ome.tif"], out=tmp_path / "none")
    assert code == 1 and "all.ome.tif: a stack of 3 pages" in err and "choose a --page, 0 to 2" in err
    assert "3 nuclei" in run("--page", "2", places=[tmp_path / "all.ome.tif"], out=tmp_path / "last")[1]


def test_linked_folders_are_searched_and_files_that_are_not_read_named_once(run, images, tmp_path):
    (tmp_path / "far").mkdir()
    iio.imwrite(tmp_path / "far" / "d.png", picture(4)[:, :50])
    (images / "link").symlink_to(tmp_path / "far", target_is_directory=True)
    for name in ("below/c.czi", "e.lif", "f.nd2", "link/g.webp"):
        (images / name).touch()
    code, printed, err = run()
    assert code == 0 and printed.startswith("4 images, 10 nuclei")
    (line,) = err.splitlines()
    assert "below/c.czi, e.lif, f.nd2 and 1 more" in line and "convert" in line


def test_a_calibrated_model_warns_of_images_with_doubtful_nuclei(run, out, segmenter):
    segmenter.settings = segmenter.settings | {"calibration": {"confidence": [0, 1], "probability": [0, 1]}}
    predict = segmenter.predict

    def doubtful(image, **options):
        found = predict(image, **options)
        return found._replace(confidence=np.linspace(0.5, 1.2, 3)[: found.labels.max()])

    segmenter.predict = doubtful
    for _ in range(2):  # also by a run that has nothing left to do
        code, _, err = run()
        assert code == 0 and "2 of 3 images (a, b b)" in err and "summary.csv" in err
    code, _, err = run("--save", "labels", out=out / "labels")
    assert code == 0 and "2 of 3 images" in err and "summary.csv" not in err
    summary = pd.read_csv(out / "summary.csv", keep_default_na=False).set_index("image")
    assert "50%" in summary.loc["a", "warning"] and summary.loc["below/a", "warning"] == ""
    assert pd.read_csv(out / "measurements.csv")["confidence"].tolist()[-3:] == [0.5, 0.85, 1.2]


def test_an_image_unlike_the_training_images_is_warned_of(run, out, segmenter):
    predict = segmenter.predict

    def strange(image, **options):
        found = predict(image, **options)
        return found._replace(strangeness=2.25 if found.labels.max() > 1 else 0.75)

    segmenter.predict = strange
    code, _, err = run()
    summary = pd.read_csv(out / "summary.csv", keep_default_na=False).set_index("image")
    assert code == 0 and set(summary["strangeness"]) <= {0.75, 2.25}
    for _, row in summary.iterrows():
        assert ("2.2" in row["warning"]) == (row["nuclei"] > 1)
    assert f"{(summary['nuclei'] > 1).sum()} of 3 images" in err


def test_the_next_call_goes_on(run, out, images, segmenter):
    iio.imwrite(images / "c.png", picture(1))
    (images / "c.png").rename(images / "c.txt")
    assert run("--save", "all")[0] == 0
    before = {path: (out / path).stat().st_mtime_ns for path in visible(out)}
    tables = (out / "measurements.csv").read_text()
    assert len(segmenter.seen) == 3

    code, printed, _ = run("--save", "all")
    assert code == 0 and "0 images (3 more complete before)" in printed
    assert len(segmenter.seen) == 3 and (out / "measurements.csv").read_text() == tables

    (images / "c.txt").rename(images / "c.png")  # a new image, a changed one, and a result that is gone
    iio.imwrite(images / "a.png", picture(2))
    (out / "below" / "a_rois.zip").unlink()
    code, printed, _ = run("--save", "all")
    assert "2 images (2 more complete before), 3 nuclei" in printed
    assert len(segmenter.seen) == 5 and len(roifile.roiread(out / "below" / "a_rois.zip")) == 3
    assert pd.read_csv(out / "measurements.csv").groupby("image").size().to_dict() == {
        "a": 2, "b b": 2, "below/a": 3, "c": 1,
    }  # fmt: skip
    assert (out / "b b_labels.tif").stat().st_mtime_ns == before["b b_labels.tif"]


def test_results_made_otherwise_are_not_mixed(run, out, images, model, segmenter):
    assert run("--channel", "0")[0] == 0
    before = visible(out)
    for words, told in [
        (["--channel", "0", "--scale", "2"], "scale was auto, now 2.0"),
        (["--channel", "0", "--save", "labels"], "save was"),
        ([], "channel was 0, now not given"),
    ]:
        code, _, err = run(*words)
        assert code == 2 and told in err and "--overwrite" in err
    assert "images was" in run("--channel", "0", places=[images / "below"])[2]
    (model / "model.keras").write_bytes(b"other weights")
    (problem,) = run("--channel", "0")[2].splitlines()
    assert "fingerprint was" in problem and problem.count(f" of {model}") == 2  # both models are named
    assert visible(out) == before

    (out / "mine.txt").touch()
    code, printed, err = run("--save", "labels", "--overwrite")
    assert (code, err) == (0, "")
    assert visible(out) == ["a_labels.tif", "b b_labels.tif", "below/a_labels.tif", "mine.txt", "run.json"]
    assert segmenter.seen[-1][1] == {"scale": "auto", "augment": False}


def test_other_parameters_may_follow_a_run_that_skipped_every_image(run, out, images):
    channels = np.stack([picture(1), picture(2)])
    tifffile.imwrite(images / "two.ome.tif", channels, photometric="minisblack", metadata={"axes": "CYX"})
    code, _, err = run(places=[images / "two.ome.tif"])
    assert code == 1 and "choose the --channel" in err
    assert run("--channel", "1", places=[images / "two.ome.tif"])[0] == 0
    assert json.loads((out / "run.json").read_text())["channel"] == 1
    assert "channel was 1, now 0" in run("--channel", "0", places=[images / "two.ome.tif"])[2]


def test_run_json_tells_how(run, out, images, model):
    assert run("--pixel-size", "0.5", "--save", "rle, labels")[0] == 0
    about = json.loads((out / "run.json").read_text())
    assert about["model"] == str(model) and len(about["fingerprint"]) == 16
    assert about["thresholds"] == Thresholder.settings["thresholds"]
    assert (about["images"], about["save"]) == (str(images), ["labels", "rle"])
    assert about["pixel_size"] == 0.5 and about["versions"]["tensorflow"]


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
@pytest.mark.parametrize("file", ["a_labels.tif", "below/a_overlay.png", "summary.csv"])
def test_files_of_others_are_not_replaced(run, images, words, file):
    (images / file).write_text("by hand")
    code, _, err = run(*words, out=images)
    assert code == 2 and f"{file}: is there already" in err and "another folder for --out" in err
    assert (images / file).read_text() == "by hand" and not (images / "run.json").exists()


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
@pytest.mark.parametrize("content", ['{"plate": 7}', "mine"])
def test_a_run_json_of_mine_is_not_replaced(run, out, words, content):
    out.mkdir()
    (out / "run.json").write_text(content)
    code, _, err = run(*words)
    assert code == 2 and "run.json: is there already" in err
    assert (out / "run.json").read_text() == content and len(list(out.iterdir())) == 2  # and .done


def test_a_folder_with_the_name_of_a_result_is_named(run, out):
    (out / "a_overlay.png").mkdir(parents=True)
    code, _, err = run()
    assert code == 2 and "a_overlay.png: is there already" in err


def test_images_of_earlier_runs_are_reported_and_reviewed(run, out, images):
    assert run("--save", "review", places=[images / "a.png"])[0] == 0
    code, printed, _ = run("--save", "review", places=[images / "b b.tif"])
    assert code == 0 and "1 image of earlier runs (a)" in printed
    assert set(pd.read_csv(out / "review.csv")["image"]) == {"a", "b b"}
    (images / "a.png").unlink()
    code, printed, _ = run("--save", "review", places=[images / "b b.tif"])
    assert code == 0 and "1 image of earlier runs (a)" in printed
    assert set(pd.read_csv(out / "review.csv")["image"]) == {"b b"}


def test_formats_that_a_corrected_image_lacks_are_named(run, out):
    assert run()[0] == 0
    tifffile.imwrite(out / "a_labels.tif", np.ones((40, 50), np.uint16))
    code, _, err = run("--save", "labels,measurements,overlay,geojson")
    assert code == 0 and "Not written for them: geojson." in err
    assert (out / "b b.geojson").exists() and not (out / "a.geojson").exists()


def test_results_beside_their_images(run, images):
    before = {path: path.read_bytes() for path in images.rglob("*") if path.is_file()}
    assert run(out=images)[0] == 0
    assert run("--overwrite", out=images)[1].startswith("3 images, 6 nuclei")
    assert {path: path.read_bytes() for path in before} == before


def test_long_names_are_shortened(run, out, images):
    long = "ä" * 60 + "x" * 120  # 240 bytes
    for name in (long, long[:-1] + "y"):
        iio.imwrite(images / f"{name}.png", picture(1))
    code, printed, err = run("--save", "all")
    assert (code, err) == (0, "") and printed.startswith("5 images")
    names = pd.read_csv(out / "summary.csv").set_index("file")["image"]
    first, second = names[f"{long}.png"], names[f"{long[:-1]}y.png"]
    assert first != second and max(len(os.fsencode(name)) for name in names) <= 200
    assert tifffile.imread(out / f"{first}_labels.tif").max() == 1
    assert run("--save", "all")[1].startswith("0 images (5 more")


def test_names_that_spreadsheets_would_run(run, out, images):
    (images / "a.png").rename(images / "=1+1.png")
    assert run("--save", "all")[0] == 0
    for table in ("measurements.csv", "summary.csv", "rle.csv"):
        lines = (out / table).read_text().splitlines()[1:]
        assert any(line.startswith("'=1+1,") for line in lines) and not any(line[0] == "=" for line in lines)
    assert (out / "=1+1_labels.tif").exists()


def test_a_second_file_of_one_name(run, out, images):
    assert run()[0] == 0
    iio.imwrite(images / "a.tif", picture(3))
    assert run()[0] == 0
    counts = pd.read_csv(out / "summary.csv").set_index("image")["nuclei"].to_dict()
    assert counts == {"a.png": 1, "a.tif": 3, "b b": 2, "below/a": 3}
    assert {"a.png_labels.tif", "a.tif_labels.tif"} < set(visible(out))


def test_pixel_sizes_reach_tables_and_labels(run, out, images):
    known = {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}
    tifffile.imwrite(images / "known.tif", picture(1, np.uint16), **known)
    assert run()[0] == 0
    table = pd.read_csv(out / "measurements.csv").set_index("image")
    assert table.loc["known", "area_um2"] == table.loc["known", "area_px"] / 16
    assert table.loc[["a", "below/a"], "area_um2"].isna().all()
    with tifffile.TiffFile(out / "known_labels.tif") as tiff:
        assert tiff.pages[0].get_resolution() == (4, 4)
    assert run("--pixel-size", "2", "--overwrite")[0] == 0
    table = pd.read_csv(out / "measurements.csv")
    np.testing.assert_array_equal(table["area_um2"], 4 * table["area_px"])


@pytest.mark.parametrize(
    "options",
    [
        {"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}},
        {"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}},
    ],
    ids=["OME", "ImageJ"],
)
def test_both_sides_of_pixels_that_are_not_square_count(run, out, tmp_path, options):
    """A nucleus of 10 rows and 8 columns; of a perimeter nothing is said."""
    tifffile.imwrite(tmp_path / "flat.tif", picture(1), **options)
    assert run(places=[tmp_path / "flat.tif"])[0] == 0
    (row,) = pd.read_csv(out / "measurements.csv").to_dict("records")
    assert (row["area_px"], row["area_um2"]) == (80, 10)
    assert (row["centroid_x_um"], row["centroid_y_um"]) == (7.5 / 2, 9.5 / 4)
    assert row["major_axis_um"] / row["minor_axis_um"] == pytest.approx(np.sqrt(63 / 99) * 2, rel=1e-3)
    assert np.isnan(row["perimeter_um"]) and np.isnan(row["circularity"])
    (image,) = pd.read_csv(out / "summary.csv").to_dict("records")
    assert (image["pixel_width_um"], image["pixel_height_um"]) == (0.5, 0.25)
    with tifffile.TiffFile(out / "flat_labels.tif") as tiff:
        assert tiff.pages[0].get_resolution() == (2, 4)


def test_the_chosen_channel_is_seen_and_all_are_measured(run, out, images, segmenter):
    channels = np.stack([picture(k, np.uint16) for k in (1, 2, 3, 0, 0)]) * 50
    tifffile.imwrite(images / "five.tif", channels, imagej=True, metadata={"axes": "CYX"})
    code, _, err = run("--channel", "1", places=[images / "five.tif"])
    assert code == 0, err
    np.testing.assert_array_equal(segmenter.seen[0][0], channels[1])
    table = pd.read_csv(out / "measurements.csv")
    assert len(table) == 2 and table["intensity_max_ch1"].tolist() == [10_000, 10_000]
    assert table["intensity_max_ch4"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "words, options",
    [
        (["--scale", "2"], {"scale": 2.0, "augment": False}),
        (["--scale", "0.5", "--augment"], {"scale": 0.5, "augment": True}),
        (["--scale", "auto"], {"scale": "auto", "augment": False}),
    ],
)
def test_options_reach_the_segmenter(run, images, segmenter, words, options):
    assert run(*words, places=[images / "a.png"])[0] == 0
    assert segmenter.seen[0][1] == options


def test_bad_images_are_named_and_skipped(run, out, images):
    iio.imwrite(images / "zellkerne größe.png", picture(1))
    (images / "no image.png").write_text("text")
    whole = images / "cut.tif"
    tifffile.imwrite(whole, picture(2))
    whole.write_bytes(whole.read_bytes()[:-900])
    tifffile.imwrite(
        images / "stack.tif", np.zeros((6, 40, 50), np.uint8), imagej=True, metadata={"axes": "ZYX"}
    )
    tifffile.imwrite(
        images / "five.tif", np.zeros((5, 40, 50), np.uint8), imagej=True, metadata={"axes": "CYX"}
    )
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        tifffile.imwrite(images / f"{name}.tif", np.where(picture(1) > 0, value, 0).astype(np.float32))
    code, printed, err = run("--save", "all")
    assert code == 1 and printed.startswith("4 images, 7 nuclei found.")
    for name, reason in {
        "no image.png": "cannot be read as an image",
        "cut.tif": "cannot be read as an image",
        "stack.tif": "a stack of 6 pages was found (axes ZYX of shape (6, 40, 50))",
        "five.tif": "5 channels were found (axes CYX of shape (5, 40, 50); ch0, ch1",
        "nan.tif": "80 of 2,000 values are NaN or infinite",
        "inf.tif": "80 of 2,000 values are NaN or infinite",
    }.items():
        (line,) = [line for line in err.splitlines() if f"skipped {images / name}" in line]
        assert line.startswith("nuclei: warning: ") and reason in line
    assert "6 images skipped: cut, five, inf, nan, no image, stack" in err
    assert sorted(pd.read_csv(out / "summary.csv")["image"]) == ["a", "b b", "below/a", "zellkerne größe"]
    assert (out / "zellkerne größe_overlay.png").exists() and not list(out.glob("*cut*"))

    code, printed, _ = run("--save", "all")
    assert code == 1 and "(4 more complete before)" in printed


def test_tables_are_sorted_by_name(run, out, images):
    for name in ("img", "img-2"):
        iio.imwrite(images / f"{name}.png", picture(1))
    run()
    names = list(pd.read_csv(out / "summary.csv")["image"])
    assert {"img", "img-2"} < {*names} and names == sorted(names)


def test_an_image_that_the_model_refuses_is_skipped(run, segmenter):
    maps = segmenter.predict

    def refuse_one_nucleus(image, **_):
        if label(image).max() == 1:
            raise ValueError("of no use")
        return maps(image)

    segmenter.predict = refuse_one_nucleus
    code, printed, err = run()
    assert code == 1 and "a.png: of no use" in err and printed.startswith("2 images")


@pytest.mark.parametrize("shape", [(40, 50), (1, 1), (3, 2), (1, 60)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_black_and_tiny_images_have_a_note_and_an_empty_table(run, out, tmp_path, shape, dtype):
    tifffile.imwrite(tmp_path / "black.tif", np.zeros(shape, dtype))
    code, printed, err = run("--save", "all", places=[tmp_path / "black.tif"])
    assert code == 0 and "1 image, 0 nuclei" in printed
    table = pd.read_csv(out / "measurements.csv")
    assert len(table) == 0 and {"image", "label", "area_px", "intensity_mean"} <= set(table)
    summary = pd.read_csv(out / "summary.csv", keep_default_na=False)
    assert summary["nuclei"].tolist() == [0] and summary["warning"].tolist() == [""]
    noted = dtype != np.uint8  # 8 bits are not stretched by this model, and so not examined
    assert ("only one grey value" in summary["note"][0]) == ("black.tif: only one" in err) == noted
    assert (out / "rle.csv").read_text() == "ImageId,EncodedPixels\nblack,\n"
    assert not tifffile.imread(out / "black_labels.tif").any()


@pytest.mark.parametrize(
    "words, told",
    [
        (["--save", "labels,paint"], "--save has paint, expected any of labels, measurements"),
        (["--save", ""], "--save has an empty name"),
        (["--pixel-size", "0"], "--pixel-size is 0.0, expected a number from 0.001 to 1000"),
        (["--pixel-size", "1e300"], "--pixel-size is 1e+300"),
        (["--pixel-size", "nan"], "--pixel-size is nan"),
        (["--pixel-size", "wide"], "--pixel-size: 'wide', expected a number"),
        (["--scale", "-1"], "--scale is -1.0"),
        (["--scale", "0"], "--scale is 0.0"),
        (["--scale", "inf"], "--scale is inf"),
        (["--scale", "big"], "--scale: 'big', expected a number or auto"),
        (["--scale", "7"], "--scale is 7, but this model sees every image at one size"),
        (["--channel", "-1"], "--channel is -1, expected a whole number from 0"),
        (["--workers", "2", "--dask", "tcp://127.0.0.1:9"], "--workers and --dask are both given"),
        (["--channel", "1.5"], "--channel: '1.5', expected a whole number"),
        (["--page", "-2"], "--page is -2"),
        (["--out", ""], "--out is '', expected the name of a file or folder"),
        (["--out", "s3://a/b"], "--out is the address s3://a/b, expected a file or folder of this machine"),
        (["--model", ""], "--model is ''"),
        (["--model", "saved_model/none"], "--model saved_model/none: no such folder"),
    ],
)
def test_bad_usage_is_told_before_any_work(run, out, segmenter, words, told):
    code, printed, err = run(*words)
    assert code == 2 and printed == ""
    (line,) = err.splitlines()
    assert line.startswith("nuclei: error: ") and told in line
    assert not segmenter.seen and not out.exists()


def test_paths_that_cannot_be(run, images, tmp_path):
    assert "IMAGES" in run(places=[tmp_path / "nothing"])[2]
    assert "no images found" in run(places=[tmp_path / "model"])[2]
    for out in (images / "a.png", images / "a.png" / "new"):
        code, _, err = run(out=out)
        assert code == 2 and "a.png is a file, expected a folder" in err


def test_a_model_folder_that_lacks_a_file(images, model, tmp_path, capsys):
    (model / "model.keras").unlink()
    assert main(["segment", str(images), "--out", str(tmp_path / "out"), "--model", str(model)]) == 2
    assert "not a complete model folder" in (err := capsys.readouterr().err) and "model.keras" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "full", ["a_labels.tif", "below/a_overlay.png", "b b.geojson", "run.json", "rle.csv"]
)
def test_a_full_disk_ends_the_run_and_the_next_call_goes_on(run, out, monkeypatch, full):
    replace = Path.replace

    def replace_where_there_is_room(self, target):
        if target == out / full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_where_there_is_room)
        code, printed, err = run("--save", "all")
    assert (code, printed) == (2, "")
    assert f"--out {out}: cannot be written to (No space left on device)" in err.splitlines()[-1]
    assert not (out / full).exists() and not leftovers(out)
    for record in (out / ".done").rglob("*.json"):
        name = record.relative_to(out / ".done").as_posix().removesuffix(".json")
        assert all(path.exists() for path in RunFolder(out).files(name, FORMATS).values())

    code, printed, err = run("--save", "all")
    assert (code, err) == (0, "")
    assert pd.read_csv(out / "summary.csv")["nuclei"].tolist() == [1, 2, 3]


def test_interrupted_and_gone_on(run, out, segmenter):
    maps = segmenter.predict

    def interrupted(image, **_):
        found = maps(image)
        if found.labels.max() == 3:
            raise KeyboardInterrupt
        return found

    segmenter.predict = interrupted
    code, printed, err = run()
    assert (code, printed, err) == (130, "", "nuclei: interrupted\n")
    assert not leftovers(out) and not (out / "measurements.csv").exists()
    segmenter.predict = maps
    code, printed, _ = run()
    assert code == 0 and "1 image (2 more complete before)" in printed
    assert pd.read_csv(out / "measurements.csv").groupby("image").size().tolist() == [1, 2, 3]


def test_what_a_killed_run_left_is_cleared(run, out):
    assert run()[0] == 0
    (out / ".a_labels.tif.123.tmp").touch()
    (out / ".mine.tmp").touch()
    (out / ".mine.1a.tmp").touch()
    (out / "..tmp").touch()
    assert run()[0] == 0
    assert {path.name for path in leftovers(out)} == {".mine.tmp", ".mine.1a.tmp", "..tmp"}


def test_images_are_worked_on_at_a_time(run, monkeypatch, segmenter, images):
    """The third image has been read when the model sees the first; files are written by other threads."""
    third_was_read = threading.Event()
    threads = set()

    def read(file, read=sys.modules["nuclei.workflows.segment"].open_image, **options):
        picture = read(file, **options)
        if file == images / "below" / "a.png":
            third_was_read.set()
        return picture

    def polygons(labels, polygons=sys.modules["nuclei.output.formats"].polygons):
        threads.add(threading.current_thread())
        return polygons(labels)

    maps = segmenter.predict
    segmenter.predict = lambda image, **_: third_was_read.wait(10) and maps(image)
    monkeypatch.setattr("nuclei.workflows.segment.open_image", read)
    monkeypatch.setattr("nuclei.output.formats.polygons", polygons)
    code, _, err = run("--save", "roi")
    assert code == 0, err
    assert threading.main_thread() not in threads


def test_a_slow_image_does_not_keep_others_waiting(run, segmenter, images):
    for k in range(20):
        iio.imwrite(images / f"more{k}.png", picture(1))
    others = threading.Semaphore(0)
    maps = segmenter.predict

    def predict(image, **_):
        found = maps(image)
        if found.labels.max() == 2:
            assert all(others.acquire(timeout=10) for _ in range(22))
        others.release()
        return found

    segmenter.predict = predict
    code, printed, err = run()
    assert code == 0 and "23 images" in printed, err


@pytest.mark.parametrize("pixels, together", [(40 * 50, 1), (2 * 40 * 50, 2), (40 * 50 - 1, 1)])
def test_no_more_pixels_than_fit_into_memory_at_a_time(run, segmenter, images, monkeypatch, pixels, together):
    monkeypatch.setattr("nuclei.workflows.pixel_limit.PIXELS", pixels)
    begun = []
    most = []
    maps = segmenter.predict

    def predict(image, **_):
        begun.append(image)
        most.append(len(begun))
        time.sleep(0.05)
        begun.pop()
        return maps(image)

    segmenter.predict = predict
    assert run()[0] == 0
    assert len(most) == 3 and max(most) == together


def test_after_an_interrupt_no_image_is_begun(run, segmenter, images):
    for k in range(20):
        iio.imwrite(images / f"more{k}.png", picture(1))
    maps = segmenter.predict

    def predict(image, **_):
        if maps(image).labels.max() == 2:
            raise KeyboardInterrupt
        time.sleep(0.05)
        return maps(image)

    segmenter.predict = predict
    assert run()[0] == 130
    assert len(segmenter.seen) < 20


def test_from_python(images, model, segmenter, tmp_path):
    report = segment(images / "b b.tif", tmp_path / "out", model, save="labels")
    assert report == ({"b b": 2}, [], {}, [], [])
    report = segment([images / "b b.tif", str(images / "a.png")], tmp_path / "out", model, save=["labels"])
    assert report == ({"a": 1}, ["b b"], {}, [], [])


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"images": None}, "`images` is None"),
        ({"images": [3]}, "`images` is 3"),
        ({"images": []}, "no images found"),
        ({"images": ""}, "`images` is ''"),
        ({"save": None}, "`save` has None"),
        ({"save": [5]}, "`save` has 5"),
        ({"channel": True}, "`channel` is True"),
        ({"overwrite": "no"}, "`overwrite` is 'no'"),
        ({"augment": 1}, "`augment` is 1"),
    ],
)
def test_parameters_of_a_wrong_type(images, model, segmenter, out, wrong, told):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=re.escape(told)):
        segment(**{"images": images, "out": out, "model": model} | wrong)
    assert not segmenter.seen and not out.exists()


def test_numbers_of_numpy_resume_as_others_do(images, model, segmenter, out):
    for channel, size in ((np.int64(0), np.float32(0.25)), (0, 0.25)):
        report = segment(images, out, model, channel=channel, pixel_size=size, scale=None)
    assert len(report.earlier) == 3 and json.loads((out / "run.json").read_text())["pixel_size"] == 0.25


def test_a_pipe_is_no_image_and_a_name_may_be_too_long(run, images, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "IMAGES" in (err := run(places=[tmp_path / "pipe.png"])[2]) and "neither a file nor" in err
    code, _, err = run(out=tmp_path / ("x" * 300))
    assert code == 2 and "--out" in err and "too long" in err


def test_a_home_folder_that_the_shell_did_not_expand(run, images, tmp_path, monkeypatch):
    """As in --out=~/results."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(places=["~/images"], out="~/out")[0] == 0
    assert (tmp_path / "out" / "summary.csv").exists() and not Path("~").exists()


def test_help_fits_a_small_screen(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 90
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in FORMATS)
    assert sum(line.startswith("  nuclei segment ") for line in lines) == 3


def test_the_real_model_on_the_sample_killed_and_gone_on(tmp_path):
    """A run is killed after its first image; the next call ends with whole files and complete tables."""
    out = tmp_path / "out"
    sample = ROOT / "data" / "sample"
    names = sorted(find_images([sample])[1])
    words = ["segment", sample, "--out", out, "--model", "saved_model/baseline", "--save", "all"]
    command = [sys.executable, "-m", "nuclei", *map(str, words)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records = (out / ".done").rglob
    while first.poll() is None and not any(records("*.json")):
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "more complete before" in done.stdout and not leftovers(out)
    with open(out / "summary.csv", newline="") as file:
        counts = {row["image"]: int(row["nuclei"]) for row in csv.DictReader(file)}
    assert sorted(counts) == names and sum(counts.values()) > 200
    for name, count in counts.items():
        assert tifffile.imread(out / f"{name}_labels.tif").max() == count
        assert len(roifile.roiread(out / f"{name}_rois.zip")) == count


def test_records_without_the_run_that_made_them_do_not_count(run, out, images, model):
    assert run("--save", "measurements")[0] == 0
    for path in out.iterdir():
        if path.is_file():
            path.unlink()
    (model / "model.keras").write_bytes(b"other weights")
    assert run("--save", "measurements")[1].startswith("3 images, 6 nuclei")


def test_another_file_of_the_same_name_is_refused(run, out, images):
    iio.imwrite(images / "a.tif", picture(3))
    assert run(places=[images / "a.png"])[0] == 0
    code, _, err = run(places=[images / "a.tif"])
    assert code == 2 and "holds results of a.png under the name a, as a.tif would" in err
    assert label(tifffile.imread(out / "a_labels.tif")).max() == 1


def test_files_of_mine_survive_overwriting(run, out):
    assert run("--save", "labels")[0] == 0
    (out / "a_rois.zip").write_text("by hand")
    (out / "summary.csv").write_text("mine")
    assert run("--save", "labels", "--overwrite")[0] == 0
    assert (out / "a_rois.zip").read_text() == "by hand" and (out / "summary.csv").read_text() == "mine"


def test_tables_of_mine_survive_overwriting_where_nothing_was_written_before(run, out):
    out.mkdir()
    for name in ("summary.csv", "rle.csv"):
        (out / name).write_text("mine")
    assert run("--save", "labels", "--overwrite")[0] == 0
    assert (out / "summary.csv").read_text() == (out / "rle.csv").read_text() == "mine"


def test_no_table_is_written_where_no_image_can_be_used(run, out, images):
    (images / "a.png").write_text("broken")
    assert run(places=[images / "a.png"])[0] == 1
    assert visible(out) == ["run.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_unicode(run, out, images):
    (images / "a.png").rename(os.fsdecode(os.fsencode(images) + b"/zell\xe9.png"))
    assert run()[0] == 0
    assert b"zell\xe9," in (out / "summary.csv").read_bytes()
    assert run("--save", "all")[0] == 0
    assert b"zell\xe9," in (out / "review.csv").read_bytes()


def test_a_name_with_dollars_is_no_formula(run, out, images):
    (images / "a.png").rename(images / "a$5_$6.png")
    assert run("--save", "review")[0] == 0 and (out / "review.png").exists()


def test_an_image_cut_short_keeps_its_earlier_results(run, out, images):
    assert run()[0] == 0
    before = (out / "a_labels.tif").read_bytes(), (out / "summary.csv").read_text()
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:40])
    for _ in range(2):
        code, _, err = run()
        assert code == 1 and "a.png" in err and "its earlier results are kept" in err
        assert ((out / "a_labels.tif").read_bytes(), (out / "summary.csv").read_text()) == before


def test_labels_corrected_by_hand_are_kept(run, out, images):
    assert run("--save", "all")[0] == 0
    corrected = np.ones((40, 50), np.uint16)
    tifffile.imwrite(out / "a_labels.tif", corrected)
    for spoil in (lambda: os.utime(images / "a.png"), (out / "a_overlay.png").unlink, lambda: None):
        spoil()
        code, printed, err = run("--save", "all")
        assert code == 0 and "(3 more complete before)" in printed
        assert "warning: kept a_labels.tif: changed after being written" in err and "--overwrite" in err
        np.testing.assert_array_equal(tifffile.imread(out / "a_labels.tif"), corrected)
    iio.imwrite(images / "a.tif", picture(1))  # a.png would get another name
    assert run("--save", "all")[0] == 0
    np.testing.assert_array_equal(tifffile.imread(out / "a_labels.tif"), corrected)
    code, _, err = run("--save", "all", "--overwrite")
    assert (code, err) == (0, "") and not (out / "a_labels.tif").exists()
    assert (out / "a.png_labels.tif").exists()


def test_results_written_anew_without_a_change_are_not_by_hand(run, out):
    assert run()[0] == 0
    os.utime(out / "a_labels.tif")
    code, _, err = run()
    assert (code, err) == (0, "")


def test_a_table_changed_by_hand_is_kept(run, out, images):
    assert run()[0] == 0
    (out / "summary.csv").write_text("image,comment\na,good\n")
    iio.imwrite(images / "c.png", picture(1))
    code, _, err = run()
    assert code == 0 and "summary.csv was changed after it was written, and is kept" in err
    assert (out / "summary.csv").read_text() == "image,comment\na,good\n"
    assert set(pd.read_csv(out / "measurements.csv")["image"]) == {"a", "b b", "below/a", "c"}
    (out / "summary.csv").rename(out / "mine.csv")
    assert run()[::2] == (0, "")
    assert len(pd.read_csv(out / "summary.csv")) == 4


def test_a_file_of_mine_among_the_results_is_not_replaced(run, out, images):
    assert run()[0] == 0
    iio.imwrite(images / "c.png", picture(1))
    (out / "c_labels.tif").write_text("by hand")
    code, _, err = run()
    assert code == 2 and "c_labels.tif: is there already, and was not written by a run" in err
    assert (out / "c_labels.tif").read_text() == "by hand"


def test_files_of_a_run_that_was_killed_while_writing_are_replaced(run, out):
    assert run()[0] == 0
    (out / ".done" / "a.json").unlink()
    (out / "a_overlay.png").unlink()
    code, printed, err = run()
    assert (code, err) == (0, "") and printed.startswith("1 image (2 more")
    assert tifffile.imread(out / "a_labels.tif").max() == 1 and (out / "a_overlay.png").exists()


def test_formats_are_added_without_the_network(run, out, images, segmenter):
    """They are what they would have been at once; labels that a person changed are kept as they are."""
    assert run("--save", "all", out=out.with_name("at once"))[0] == 0
    assert run("--save", "labels")[0] == 0
    seen, labels = len(segmenter.seen), (out / "below" / "a_labels.tif").stat().st_mtime_ns
    tifffile.imwrite(out / "a_labels.tif", np.ones((40, 50), np.uint16))
    code, printed, err = run("--save", "all")
    assert code == 0 and "kept a_labels.tif" in err and "0 images (3 more complete before)" in printed
    assert len(segmenter.seen) == seen and (out / "below" / "a_labels.tif").stat().st_mtime_ns == labels
    assert not (out / "a.geojson").exists()
    for file in ("below/a.geojson", "b b_overlay.png", "measurements.csv", "summary.csv"):
        assert (out / file).read_bytes() == (out.with_name("at once") / file).read_bytes()
    assert set(read_rle_csv(out / "rle.csv", dict.fromkeys(("b b", "below/a"), (40, 50)))) == {
        "b b",
        "below/a",
    }
    assert run("--save", "all")[1].startswith("0 images (3 more") and len(segmenter.seen) == seen
    os.utime(images / "b b.tif")
    assert run("--save", "all")[1].startswith("1 image (2 more") and len(segmenter.seen) == seen + 1
    (out / ".done" / "b b.measurements.csv").unlink()
    (out / "b b_overlay.png").unlink()
    assert run("--save", "all")[1].startswith("1 image (2 more") and len(segmenter.seen) == seen + 2


def test_a_record_that_was_cut_short_is_made_again(run, out):
    assert run()[0] == 0
    (out / ".done" / "a.json").write_text("")
    assert run()[1].startswith("1 image (2 more complete before)")


def test_a_warning_names_its_image(run, images, segmenter):
    maps = segmenter.predict

    def odd(image, **options):
        warnings.warn("odd sizes", stacklevel=2)
        return maps(image, **options)

    segmenter.predict = odd
    lines = run()[2].splitlines()  # in any order: several images are worked on at a time
    for name in ("a.png", "b b.tif", "below/a.png"):
        assert sum(line.endswith(f" {images / name}: odd sizes") for line in lines) == 1
    assert len(lines) == 3


def test_too_little_memory_to_write_one_image_skips_it(run, out, monkeypatch):
    overlay = FORMATS["overlay"]

    def write_small(path, result):
        if result.labels.max() == 2:
            raise MemoryError
        overlay.write(path, result)

    monkeypatch.setitem(FORMATS, "overlay", replace(overlay, write=write_small))
    code, printed, err = run()
    assert (
        code == 1 and printed.startswith("2 images, 4 nuclei found") and "b b.tif: not enough memory" in err
    )
    assert pd.read_csv(out / "summary.csv")["image"].tolist() == ["a", "below/a"]
    assert not (out / "b b_labels.tif").exists()


def test_too_little_memory_for_one_image_skips_it(run, out, segmenter):
    maps = segmenter.predict

    def large(image, **options):
        if label(image).max() == 2:
            raise MemoryError
        return maps(image, **options)

    segmenter.predict = large
    code, _, err = run()
    assert code == 1 and "b b.tif: not enough memory" in err
    assert pd.read_csv(out / "summary.csv")["image"].tolist() == ["a", "below/a"]


def test_what_to_check_first_is_written_at_the_end(images, segmenter, tmp_path, capsys):
    (images / "a.png").rename(images / "=a.png")  # a name that spreadsheets would run
    assert main(["segment", str(images), "--out", str(tmp_path / "out"), "--save", "review"]) == 0
    rows = pd.read_csv(tmp_path / "out" / "review.csv")
    assert sorted(rows["image"]) == ["'=a"] + ["b b"] * 2 + ["below/a"] * 3
    assert rows["confidence"].is_monotonic_increasing
    assert iio.imread(tmp_path / "out" / "review.png").shape[2] >= 3
    assert (tmp_path / "out" / "measurements.csv").exists()
    (tmp_path / "out" / "review.csv").write_text("checked\n")
    assert main(["segment", str(images), "--out", str(tmp_path / "out"), "--save", "review"]) == 0
    assert "review.csv was changed after it was written, and is kept" in capsys.readouterr().err
    assert (tmp_path / "out" / "review.csv").read_text() == "checked\n"


def rewrite(path, **columns):
    """Change columns of a table in a file."""
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("measurements.csv", lambda path: path.write_text(""), "cannot be used"),
        ("measurements.csv", lambda path: path.write_text(path.read_text().replace(",", ";")), "commas"),
        ("measurements.csv", lambda path: pd.read_csv(path)[["image", "label"]].to_csv(path), "confidence"),
        ("measurements.csv", lambda path: rewrite(path, confidence="high"), "'high'"),
        ("a_labels.tif", lambda path: tifffile.imwrite(path, np.ones((2, 2), np.uint16)), "shape"),
    ],
)
def test_what_was_changed_so_that_it_cannot_be_reviewed_is_named(run, out, file, change, message):
    assert run()[0] == 0
    change(out / file)
    code, _, err = run("--save", "all")
    assert code == 2 and f"{out / file}: " in err and message in err
    assert (out / "rle.csv").exists()
    (out / file).unlink()
    assert run("--save", "all")[0] == 0 and (out / "review.png").exists()


def test_without_a_usable_image_there_is_no_review(images, run, out):
    for path in images.rglob("*.*"):
        path.write_text("no image")
    code, _, err = run("--save", "all")
    assert code == 1 and "images skipped" in err
    assert not list(out.glob("*.csv")) and not (out / "review.png").exists()
