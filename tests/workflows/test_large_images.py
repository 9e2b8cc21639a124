"""Images too large for memory, with a segmenter that takes what is bright for nuclei."""

import errno
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image
from skimage.measure import label

from nuclei.cli import main
from nuclei.images import open_image
from nuclei.images.intensity import as_rgb8, normalize
from nuclei.images.tiles import reduced, spread_windows
from nuclei.segmentation.scale import circle_diameter
from nuclei.segmentation.segmenter import Maps, Prediction, Segmenter
from nuclei.segmentation.watershed import confidence
from nuclei.workflows.large_images import segment_large, segment_tile

SHAPE = (437, 611)


class Thresholder:
    """Bright pixels that touch are a nucleus; small ones ask for twice the scale."""

    def __init__(self, **settings):
        self.settings = {"thresholds": {}, "resize": None, "normalize": True} | settings
        self.factors, self.sizes, self.seen_whole = [], [], 0

    def predict(self, image, **options):
        self.seen_whole += 1
        image = normalize(as_rgb8(image))
        return self.label(Maps(image, self.multiscale_maps(image)))

    def multiscale_maps(self, image, scales=(1,), augment=False):
        self.factors.extend(scales)
        return image[..., :1] / np.float32(255)

    def label(self, predicted):
        image, maps = predicted.image, predicted.maps
        assert image.shape[:2] == maps.shape[:2] and image.dtype == np.uint8
        labels = label(maps[..., 0] > 0.3).astype(np.int32)
        return Prediction(labels, confidence(labels, maps[..., 0]), image, maps)

    check_scale = Segmenter.check_scale

    def strangeness(self, images, scales):
        return self.settings.get("strangeness")

    def check_size(self, diameter, scales):
        self.sizes.append((diameter, scales))

    def find_scales(self, images):
        self.factors.extend([1] * len(images))
        areas = [np.bincount(label(image[..., 0] > 76).ravel())[1:] for image in images]
        diameter = circle_diameter(np.concatenate(areas))
        return [1, 2] if diameter < self.settings.get("working_diameter", 0) else [1]


@pytest.fixture
def segmenter(monkeypatch):
    fake = Thresholder()
    monkeypatch.setattr(Segmenter, "load", lambda *_: fake)
    return fake


@pytest.fixture
def run(model, segmenter, tmp_path, capsys):
    """Call `nuclei segment` on image.tif; return its exit code and what it printed."""

    def call(*words, out=tmp_path / "out"):
        words = ("segment", tmp_path / "image.tif", "--out", out, "--model", model, *words)
        return main(list(map(str, words))), *capsys.readouterr()

    return call


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr("nuclei.workflows.large_images.CHUNK", 64)


@pytest.fixture
def small_tiles(monkeypatch):
    """All that is larger than a tile of 128 pixels is a slide."""
    monkeypatch.setattr("nuclei.images.tiff.LARGE", 128**2)
    monkeypatch.setattr("nuclei.workflows.large_images.TILE", 128)
    monkeypatch.setattr("nuclei.workflows.large_images.HALO", 32)


def segment_slowly(image, segmenter, store, **options):
    """Segment a large image tile by tile, one after the other."""

    def run(tiles, numbers):
        return [segment_tile(k, tiles, image, segmenter) for k in numbers]

    return segment_large(image, segmenter, store, run, **options)


def visible(out):
    """The files below a folder of results."""
    return [p.name for p in sorted(out.rglob("*")) if p.is_file() and p.name != ".lock"]


def discs(dtype=np.uint8, channels=None, shape=SHAPE):
    """Bright discs, 17 pixels apart and 5 to 13 wide, also at the border, on a dark ground."""
    rng = np.random.default_rng(0)
    y, x = np.indices(shape)
    ground = rng.integers(0, 20, shape if channels is None else (*shape, channels))
    centres = [(top, left) for top in range(0, shape[0], 17) for left in range(0, shape[1], 17)]
    for (top, left), radius in zip(centres, rng.uniform(2.5, 6.5, len(centres)), strict=True):
        ground[(y - top) ** 2 + (x - left) ** 2 < radius**2] += rng.integers(150, 220)
    return (ground * (200 if np.dtype(dtype).itemsize > 1 else 1)).astype(dtype)


FILES = {
    "RGB": (discs(channels=3), {"photometric": "rgb"}, []),
    "RGBA in compressed tiles": (
        np.dstack([discs(channels=3), np.full(SHAPE, 255, np.uint8)]),
        {"photometric": "rgb", "extrasamples": ["unassalpha"], "compression": "zlib", "tile": (64, 48)},
        [],
    ),
    "one colour": (discs(channels=3), {"photometric": "rgb", "planarconfig": "contig"}, ["--channel", "1"]),
    "16-bit grey with a pixel size": (
        discs(np.uint16),
        {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}},
        [],
    ),
    "float": (discs(np.float32), {}, ["--pixel-size", "0.3", "--scale", "1"]),
    "a channel of several": (
        np.stack([discs(np.uint16) // 3, discs(np.uint16), np.zeros(SHAPE, np.uint16)]),
        {"imagej": True, "metadata": {"axes": "CYX"}},
        ["--channel", "1"],
    ),
    "a page of several with channels": (
        np.stack([np.zeros((2, *SHAPE), np.uint16), np.stack([discs(np.uint16), discs(np.uint16) // 2])]),
        {"imagej": True, "metadata": {"axes": "ZCYX"}},
        ["--page", "1", "--channel", "0"],
    ),
}


@pytest.mark.parametrize("image, options, words", FILES.values(), ids=FILES)
def test_tile_by_tile_is_the_same_as_whole(run, tmp_path, request, segmenter, image, options, words):
    tifffile.imwrite(tmp_path / "image.tif", image, **options)
    code, _, err = run(*words, out=tmp_path / "whole")
    assert (code, err, segmenter.seen_whole) == (0, "", 1)
    request.getfixturevalue("small_tiles")
    code, _, err = run(*words, out=tmp_path / "tiles")
    assert (code, err, segmenter.seen_whole) == (0, "", 1)

    whole, tiles = (tifffile.imread(tmp_path / k / "image_labels.tif") for k in ("whole", "tiles"))
    assert whole.dtype == tiles.dtype == np.uint16 and whole.shape == tiles.shape == SHAPE
    pairs = np.unique(np.stack([whole.ravel(), tiles.ravel()]), axis=1)[:, 1:]
    assert pairs.shape[1] == whole.max() == tiles.max() > 500
    np.testing.assert_array_equal(whole > 0, tiles > 0)

    tables = [pd.read_csv(tmp_path / k / "measurements.csv") for k in ("whole", "tiles")]
    counts = np.bincount(tiles.ravel())[1:]
    np.testing.assert_array_equal(tables[1]["area_px"], counts)
    x, y = (tables[1][f"centroid_{side}_px"].round().astype(int) for side in "xy")
    np.testing.assert_array_equal(tiles[y, x], tables[1]["label"])
    places = ["centroid_y_px", "centroid_x_px"]
    whole, tiles = (t.drop(columns="label").round(3).sort_values(places, ignore_index=True) for t in tables)
    pd.testing.assert_frame_equal(whole, tiles, rtol=1e-6)
    assert 0 < whole["touches_border"].sum() < len(whole)

    summaries = [pd.read_csv(tmp_path / k / "summary.csv") for k in ("whole", "tiles")]
    summaries = [table.drop(columns="median_diameter_px") for table in summaries]  # the fake tells none
    pd.testing.assert_frame_equal(*summaries, rtol=1e-5)


def test_a_calibrated_confidence_stays_with_its_nucleus(tmp_path, small_tiles):
    class Calibrated(Thresholder):
        def label(self, predicted):
            found = super().label(predicted)
            return found._replace(confidence=np.bincount(found.labels.ravel())[1:] / 1000)

    tifffile.imwrite(tmp_path / "image.tif", discs())
    fake = Calibrated(calibration={"confidence": [0], "probability": [0]})
    with open_image(tmp_path / "image.tif") as image:
        table = segment_slowly(image, fake, tmp_path / "labels").table
    np.testing.assert_allclose(table["confidence"], table["area_px"] / 1000)


def test_the_pixel_size_reaches_the_labels(run, tmp_path, small_tiles):
    known = {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "image.tif", discs(np.uint16), **known)
    assert run()[0] == 0
    assert open_image(tmp_path / "out" / "image_labels.tif").pixel_size == (0.25, 0.25)
    assert pd.read_csv(tmp_path / "out" / "summary.csv")["pixel_width_um"].tolist() == [0.25]


def test_which_images_are_read_in_windows(tmp_path, monkeypatch):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.zeros((3, 30, 40), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    monkeypatch.setattr("nuclei.images.tiff.LARGE", 30 * 40)
    assert not open_image(path, page=0).is_large
    monkeypatch.setattr("nuclei.images.tiff.LARGE", 30 * 40 - 1)
    assert open_image(path, page=2).is_large
    tifffile.imwrite(path, np.zeros((5, 30, 40), np.uint8), imagej=True, metadata={"axes": "CYX"})
    assert open_image(path, channel=0).is_large
    Image.fromarray(np.zeros((99, 99), np.uint8)).save(tmp_path / "a.png")
    assert not open_image(tmp_path / "a.png").is_large


@pytest.mark.parametrize(
    "image, axes, words, told",
    [
        (np.zeros((6, 150, 150), np.uint8), "ZYX", [], "a stack of 6 pages was found (axes ZYX"),
        (np.zeros((6, 150, 150), np.uint8), "ZYX", ["--page", "6"], "page 6 was asked for, a stack of 6"),
        (np.zeros((5, 150, 150), np.uint8), "CYX", [], "5 channels were found (axes CYX"),
        (
            np.zeros((5, 150, 150), np.uint8),
            "CYX",
            ["--channel", "5"],
            "channel 5 was asked for, there are 5",
        ),
        (np.full((150, 150), np.nan, np.float32), "YX", [], "values are NaN or infinite"),
    ],
)
def test_a_bad_slide_is_told_as_any_other_image_and_skipped(
    run, tmp_path, small_tiles, image, axes, words, told
):
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": axes})
    code, _, err = run(*words)
    assert code == 1 and told in err and f"skipped {tmp_path / 'image.tif'}: " in err
    assert visible(tmp_path / "out") == ["run.json"]


def test_damage_is_found_on_the_way_and_nothing_stays(run, tmp_path, small_tiles):
    tifffile.imwrite(tmp_path / "image.tif", discs(), compression="zlib", tile=(64, 64))
    with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
        offset = tiff.pages[0].dataoffsets[-3]
    with open(tmp_path / "image.tif", "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 50)
    code, _, err = run()
    assert code == 1 and "cannot be read as an image" in err
    assert visible(tmp_path / "out") == ["run.json"]


def test_a_model_that_sees_squeezed_images_is_refused(run, tmp_path, small_tiles, segmenter):
    tifffile.imwrite(tmp_path / "image.tif", discs())
    segmenter.settings["resize"] = 128
    code, _, err = run()
    assert code == 1 and "to 128 pixels" in err and "cut the image into parts" in err
    assert not segmenter.factors


def test_the_scale_is_decided_once(tmp_path, small_tiles):
    tifffile.imwrite(tmp_path / "image.tif", discs(), photometric="minisblack")
    for scale, below, expected in [
        ("auto", 0, {1}),
        ("auto", 20, {1, 2}),
        ("auto", 2, {1}),
        (1.5, 20, {1.5}),
    ]:
        fake = Thresholder(working_diameter=below)
        segment_slowly(open_image(tmp_path / "image.tif"), fake, tmp_path / "l", scale=scale)
        looks = 1 if scale == "auto" else 0  # once as it is, in the one window that covers the image
        assert fake.factors[:looks] == [1] * looks and set(fake.factors[looks:]) == expected
        ((diameter, scales),) = fake.sizes
        assert 6 < diameter < 12 and set(scales) == expected


def test_windows_that_tell_the_scale_are_spread():
    windows = spread_windows(SHAPE, 64)
    assert len(set(map(str, windows))) == 9 and spread_windows((50, 64), 64) == [np.s_[0:50, 0:64]]
    covered = np.zeros(SHAPE, int)
    for window in windows:
        assert covered[window].shape == (64, 64)
        covered[window] += 1
    thirds = [third for row in np.array_split(covered, 3) for third in np.array_split(row, 3, axis=1)]
    assert covered.max() == 1 and [third.sum() for third in thirds] == [64 * 64] * 9


def test_tiles_grow_where_the_image_is_reduced(tmp_path, monkeypatch, small_tiles):
    tifffile.imwrite(tmp_path / "image.tif", discs(), photometric="minisblack")
    fake, parts = Thresholder(), []
    run = fake.multiscale_maps
    monkeypatch.setattr(
        fake, "multiscale_maps", lambda image, *_: parts.append(image.shape[:2]) or run(image)
    )
    for scale, largest in [(3, (128, 128)), (0.5, (256, 256)), (0.1, (SHAPE[0], 448))]:
        parts.clear()
        segment_slowly(open_image(tmp_path / "image.tif"), fake, tmp_path / "l", scale=scale)
        assert max(parts) == largest


def test_kinds_that_need_the_whole_image_are_left_out_by_name(run, tmp_path, small_tiles):
    tifffile.imwrite(tmp_path / "image.tif", discs())
    code, printed, err = run("--save", "all")
    assert code == 0 and err.splitlines() == [
        f"nuclei: warning: {tmp_path / 'image.tif'}: too large for geojson, roi, rle"
    ]
    assert (tmp_path / "out" / "image_labels.zarr" / "0" / ".zarray").exists()
    names = [
        "image_labels.tif",
        "image_overlay.png",
        "measurements.csv",
        "review.csv",
        "review.png",
        "run.json",
        "summary.csv",
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_file()) == names


def test_tables_alone_leave_no_labels(run, tmp_path, small_tiles):
    tifffile.imwrite(tmp_path / "image.tif", discs())
    assert run("--save", "measurements")[0] == 0
    assert {p.name for p in (tmp_path / "out").iterdir() if p.is_file()} == {
        "measurements.csv", "summary.csv", "run.json",
    }  # fmt: skip


def test_the_overlay_is_reduced(tmp_path, monkeypatch, run, small_tiles):
    image = discs(channels=3)
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="rgb")
    monkeypatch.setattr("nuclei.output.formats.PREVIEW", 250)
    assert run()[0] == 0
    labels = tifffile.imread(tmp_path / "out" / "image_labels.tif")
    for whole in (image, labels):
        np.testing.assert_array_equal(reduced(whole.__getitem__, SHAPE, 250), whole[::3, ::3])
    overlay = np.asarray(Image.open(tmp_path / "out" / "image_overlay.png"))
    assert overlay.shape[1] / overlay.shape[0] == pytest.approx(611 / 437, rel=0.01)


def test_without_nuclei(run, tmp_path, small_tiles):
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((150, 160), np.uint8))
    assert run()[0] == 0
    table = pd.read_csv(tmp_path / "out" / "measurements.csv")
    assert len(table) == 0 and {"image", "label", "area_px", "intensity_mean"} <= set(table)
    assert not tifffile.imread(tmp_path / "out" / "image_labels.tif").any()


def test_a_complete_slide_is_not_done_again(run, tmp_path, small_tiles, segmenter):
    tifffile.imwrite(tmp_path / "image.tif", discs())
    assert run("--save", "all")[0] == 0
    looks, tables = len(segmenter.factors), (tmp_path / "out" / "measurements.csv").read_text()
    code, printed, err = run("--save", "all")
    assert (code, err) == (0, "") and "0 images (1 more complete before)" in printed
    assert len(segmenter.factors) == looks
    assert (tmp_path / "out" / "measurements.csv").read_text() == tables
    (tmp_path / "out" / "image_overlay.png").unlink()
    assert run("--save", "all")[0] == 0 and (tmp_path / "out" / "image_overlay.png").exists()
    assert len(segmenter.factors) == looks


def test_an_interrupted_slide_starts_anew(run, tmp_path, small_tiles, segmenter, monkeypatch):
    tifffile.imwrite(tmp_path / "image.tif", discs())
    look = segmenter.multiscale_maps

    def interrupted(*arguments):
        if len(segmenter.factors) == 8:
            raise KeyboardInterrupt
        return look(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(segmenter, "multiscale_maps", interrupted)
        assert run()[0] == 130
    assert visible(tmp_path / "out") == ["run.json"]
    store = tmp_path / "out" / ".done" / "image.labels.zarr"
    zarr.open_array(str(store), mode="w", shape=(8, 8), dtype="u4")  # as a run that is killed leaves it
    code, printed, _ = run()
    assert code == 0 and "1 image," in printed and not store.exists()


def test_a_full_disk_ends_the_run_and_nothing_stays(run, tmp_path, small_tiles, monkeypatch):
    tifffile.imwrite(tmp_path / "image.tif", discs())

    def full(*_, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("zarr.storage._local._put", full)
        code, printed, err = run("--scale", "1")
    assert (code, printed) == (2, "") and "cannot be written to (No space left on device)" in err
    assert visible(tmp_path / "out") == ["run.json"]
    assert run("--scale", "1")[0] == 0


def test_a_nucleus_wider_than_the_halo_is_reported(run, tmp_path, small_tiles):
    image = discs()
    image[200:220, 50:250] = 200
    tifffile.imwrite(tmp_path / "image.tif", image)
    code, _, err = run()
    assert code == 0 and "reach beyond the halo of 32 pixels" in err


MEASURE = r"""
import re, sys
from pathlib import Path
import numpy as np
from skimage.measure import label
from nuclei.images import open_image
from nuclei.output.formats import write_label_zarr, write_labels
from nuclei.segmentation.segmenter import Maps, Prediction
from nuclei.workflows import large_images
import nuclei.images.ome_zarr

class Fake:
    settings = {"thresholds": {}, "normalize": True}
    find_scales = lambda self, images: [1]
    strangeness = lambda self, *_: None
    check_size = lambda self, *_: None
    multiscale_maps = lambda self, image, *_: image[..., :1] / np.float32(255)
    def label(self, maps):
        labels = label(maps.maps[..., 0] > 0.4)
        return Prediction(labels, np.ones(labels.max()), *maps[:2])

nuclei.images.ome_zarr.LARGE = 600**2
large_images.TILE, large_images.HALO = 512, 64
place = Path(sys.argv[1])
with open_image(place) as image:
    fake = Fake()
    run = lambda tiles, numbers: (large_images.segment_tile(k, tiles, image, fake) for k in numbers)
    found = large_images.segment_large(image, fake, place.with_name("working"), run)
    for write, ending in ((write_labels, ".tif"), (write_label_zarr, "_labels.zarr")):
        write(place.with_name("out" + ending), found.labels)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
print(len(found.table), int(peak) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path):
    memory = {}
    for side in (1500, 4000):
        place = tmp_path / "a.zarr"
        group = zarr.open_group(place, mode="w")
        pixels = group.create_array("0", shape=(side, side), chunks=(500, 500), dtype="uint8")
        block = np.zeros((500, 500), np.uint8)
        block[90:110, 90:110] = 200
        for y, x in np.ndindex(side // 500, side // 500):
            pixels[500 * y : 500 * y + 500, 500 * x : 500 * x + 500] = block
        group.attrs["ome"] = {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]}
        command = [sys.executable, "-c", MEASURE, str(place)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        count, memory[side] = map(int, result.stdout.split())
        assert count == (side // 500) ** 2
    assert memory[4000] - memory[1500] < 60, "MB, while labels of 128 MB were kept on disk"
