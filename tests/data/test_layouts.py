"""The same four samples in every layout that people have, and what is said where one is broken."""

import re
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from scipy import ndimage as ndi

from nuclei.data.labels import as_labels
from nuclei.data.layouts import Files, find_samples
from nuclei.data.samples import load_samples


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The cache goes to a temporary place."""
    monkeypatch.setattr("nuclei.data.samples.ROOT", tmp_path)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    (tifffile if path.suffix == ".tif" else iio).imwrite(path, pixels)


def own_data(folder, squares, image, labels, dtype=np.uint16):
    """Write the squares; the file names are patterns with a * for the id."""
    for s in squares:
        write(folder / image.replace("*", s.id), s.image)
        write(folder / labels.replace("*", s.id), s.labels.astype(dtype))
    return folder


LAYOUTS = [
    ("images/*.tif", "masks/*.tif", np.uint16),
    ("images/*.png", "labels/*.png", np.uint8),
    ("train/images/*.tif", "train/masks/*.png", np.uint16),
    ("*.tif", "*_masks.tif", np.uint32),
    ("*.png", "*_cp_masks.png", np.uint16),
    ("*.tif", "*_cp_masks.tif", np.float32),
    ("*_img.png", "*_masks.png", np.uint8),
    ("week 1/*.png", "week 1/*_labels.tif", np.int32),
    ("*.png", "*_labels.tif", np.float64),
    ("images/*.png", "labels/*.ome.tif", np.uint16),
    ("*.ome.tif", "*_masks.tif", np.uint16),
    ("*.ome.tif", "*.ome_labels.tif", np.uint16),
    ("*.png", "*_labels.ome.tif", np.uint16),
    ("images/*.png", "labels/*.OME.tif", np.uint16),
    ("images/ä*.png", "labels/a\N{COMBINING DIAERESIS}*.tif", np.uint16),
]


@pytest.mark.parametrize("image, labels, dtype", LAYOUTS)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_every_layout_gives_the_same_samples(tmp_path, squares, image, labels, dtype, kind):
    source = own_data(tmp_path / "own", squares, image, labels, dtype)
    if kind == "zip":
        source = shutil.make_archive(str(source), "zip", source)
    for _ in range(2):  # the second time from the cache
        found = load_samples(source)
        assert [s.id.removeprefix("ä") for s in found] == [s.id for s in squares]
        for a, b in zip(found, squares, strict=True):
            assert np.array_equal(a.image, b.image) and np.array_equal(a.labels, b.labels)
            assert a.labels.dtype == np.int32


def test_sixteen_bits_of_an_image_become_eight(tmp_path, squares):
    write(tmp_path / "own" / "x.tif", squares[0].image[..., 0].astype(np.uint16) * 100)
    write(tmp_path / "own" / "x_masks.tif", squares[0].labels.astype(np.uint8))
    (sample,) = load_samples(tmp_path / "own")
    assert sample.image.dtype == np.uint8 and sample.image.max() == 255


def test_one_image_with_its_masks_needs_no_folder_around(folder, squares):
    (sample,) = load_samples(folder / "square-2")
    assert sample.id == "square-2" and np.array_equal(sample.labels, squares[2].labels)


def test_pictures_beside_the_labels_are_no_images():
    names = ["a/x.tif", "a/x_labels.tif", "a/x_overlay.png", "a/notes.txt", "a/.y.png", "__MACOSX/z.png"]
    assert find_samples(names) == {"x": Files("a/x.tif", "a/x_labels.tif")}
    assert list(find_samples(["an_overlay.png", "an_overlay_masks.png"])) == ["an_overlay"]


def test_the_contact_sheet_of_a_run_is_no_image():
    names = ["x.tif", "x_labels.tif", "review.png"]
    assert find_samples([*names, "review.csv"]) == {"x": Files("x.tif", "x_labels.tif")}
    with pytest.raises(FileNotFoundError, match="no labels for review.png"):
        find_samples(names)


def test_a_mask_with_the_name_of_its_image_is_one_of_many():
    names = ["a/images/a.png", "a/masks/a.png", "a/masks/b.png"]
    assert find_samples(names) == {"a": Files("a/images/a.png", masks=["a/masks/a.png", "a/masks/b.png"])}


@pytest.mark.parametrize("largest", [5_000_000, 2**32 - 1])
def test_numbers_are_those_of_the_file(largest):
    numbers = [[0, 70000, 70000], [9, 0, largest]]
    assert as_labels(np.array(numbers, np.uint32), "x.tif").tolist() == numbers
    assert as_labels(np.array([[4, 4], [2, 2]]), "x.tif").tolist() == [[4, 4], [2, 2]], "no background"
    assert as_labels(np.zeros((2, 3)), "x.tif").max() == 0, "no nuclei"


def test_grey_that_was_saved_as_colours_is_a_label_image():
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    for picture in (np.stack([labels] * 3, -1), np.stack([labels] * 3 + [labels * 0 + 255], -1)):
        assert np.array_equal(as_labels(picture, "x.png"), labels)


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names, message",
    [
        (["images/a.tif", "images/b.tif", "masks/a.tif"], "no labels for images/b.tif. Add"),
        (["images/a.tif", "labels/a.tif", "labels/b.tif"], "no image for labels/b.tif. Add"),
        (["images/a.tif", "masks/a.tif", "masks/b.tif"], "no image for masks/b.tif"),
        (["a.tif", "b.tif", "b_masks.tif"], "no labels for a.tif"),
        (
            ["a.png", "b.png", "c.png", "d.png"],
            "no labels for a.png, b.png, c.png and 1 more.*x_cp_masks.png",
        ),
        (["b.tif", "a_masks.tif", "b_masks.tif"], "no image for a_masks.tif"),
        (
            ["a.tif", "a_masks.tif", "a_labels.tif"],
            "a_labels.tif and a_masks.tif for one image, expected one",
        ),
        (["a.tif", "a.png", "a_masks.tif"], "a.png and a.tif for one image, expected one"),
        (["images/a.png", "masks/a.png", "labels/a.png"], "labels/a.png and masks/a.png for one image"),
        (
            ["1/a.tif", "1/a_masks.tif", "2/a.tif", "2/a_masks.tif"],
            "1/a.tif and 2/a.tif would both be called a",
        ),
        (["images/a.tif", "images/b.tif", "masks/c.tif"], "images/ holds 2 images, and none has the name of"),
        (["images/a.tif"], "a has no masks"),
        (["a.txt"], "no images found. Expected"),
    ],
)
def test_what_does_not_fit_together(names, message):
    with pytest.raises((FileNotFoundError, ValueError), match=f"own.zip: .*{message}"):
        find_samples(names, "own.zip")


RAMP = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.mark.parametrize(
    "name, picture, message",
    [
        (
            "x.png",
            np.array([[0, 1, 0, 1]], np.uint8),
            r"2 separate pieces have 1 number \(1\).*binary mask.*measure.label",
        ),
        ("x.png", np.array([[0, 255, 0, 255]], np.uint8), r"2 separate pieces have 1 number \(255\)"),
        ("x.tif", np.array([[False, True, False, True]]), r"2 separate pieces have 1 number \(1\)"),
        ("x.png", np.stack([RAMP, RAMP, 0 * RAMP], -1), "a picture in colours, expected a label image"),
        ("x.jpg", RAMP, "JPEG changes the numbers"),
        ("x.tif", RAMP / 4, "float64 numbers that are not whole.*Threshold and label"),
        ("x.tif", np.array([[0, np.nan]], np.float32), "float32 numbers that are not whole"),
        ("x.tif", np.array([[0, np.inf]], np.float32), "float32 numbers that are not whole"),
        ("x.tif", np.array([[0, -1]], np.int16), "the number -1, expected 0 for the background and up"),
        (
            "x.tif",
            np.array([[0, 2**63]], np.uint64),
            r"the number 9223372036854775808, expected numbers below",
        ),
        ("x.tif", np.zeros((5, 8, 9), np.uint16), r"an array of shape \(5, 8, 9\)"),
    ],
)
def test_what_is_no_label_image(name, picture, message):
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        as_labels(picture, name)


def test_one_nucleus_alone_may_look_binary():
    assert as_labels(np.array([[0, 0, 255]], np.uint8), "x.png").tolist() == [[0, 0, 255]]


# --- what looks like a label image and is none ----------------------------------------------------------


@pytest.fixture
def discs():
    """Sixteen discs with the numbers 1 to 16, (96, 96) int."""
    y, x = np.mgrid[:96, :96]
    inside = (y % 24 - 12) ** 2 + (x % 24 - 12) ** 2 < 70
    return np.where(inside, 1 + y // 24 * 4 + x // 24, 0)


def ilastik(discs):
    return np.where(discs > 0, 2, 1)


def inverted(discs):
    return np.where(discs > 0, 0, 255)


def background_255(discs):
    return np.where(discs > 0, discs, 255)


def interior_and_border(discs):
    return np.where(discs > 0, np.where(ndi.binary_erosion(discs > 0, iterations=2), 1, 2), 0)


def soft_edges(discs):
    return np.round(ndi.gaussian_filter(255.0 * (discs > 0), 1)).astype(int)


def four_shades(discs):
    return (discs + 3) // 4 * 60


def interpolated(discs):
    return np.round(ndi.zoom(discs.astype(float), 2, order=1)).astype(int)


def interpolated_smaller(discs):
    return np.round(ndi.zoom(discs.astype(float), 0.6, order=1)).astype(int)


def outlines(discs):
    return np.where(ndi.minimum_filter(discs, 3) == discs, 0, discs)


def thick_outlines(discs):
    large = np.kron(discs, np.ones((5, 5), int))
    return np.where(ndi.minimum_filter(large, 7) == large, 0, large)


def with_void(discs):
    """As in Pascal VOC: borders have the number 255."""
    border = ndi.maximum_filter(discs, 3) != ndi.minimum_filter(discs, 3)
    return np.where(border, 255, discs)


NO_LABELS = [
    (with_void, "up to 16 each"),
    (outlines, "large holes"),
    (thick_outlines, "large holes"),
    (ilastik, "the number 1 covers most"),
    (inverted, "the number 255 covers most"),
    (background_255, "the number 255 covers most"),
    (interior_and_border, "pieces have 2 numbers"),
    (soft_edges, "by steps along the edges"),
    (four_shades, "16 separate pieces have 4 numbers"),
    (interpolated, "by steps along the edges"),
    (interpolated_smaller, "by steps along the edges"),
]


@pytest.mark.parametrize("change, message", NO_LABELS)
def test_what_only_looks_like_labels(discs, change, message):
    assert as_labels(discs, "x.tif").max() == 16
    with pytest.raises(ValueError, match=f"x.tif: .*{message}"):
        as_labels(change(discs), "x.tif")


def test_nuclei_may_touch_be_cut_and_have_specks(discs):
    touching = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((9, 9), int))
    assert as_labels(touching, "x.tif").max() == 16
    cut = discs.copy()
    cut[12] = 0  # four of them are in two pieces
    cut[::24, ::24] = np.arange(1, 17).reshape(4, 4)
    assert as_labels(cut, "x.tif").max() == 16


def test_a_nucleus_with_a_hole_and_nuclei_around_a_lumen_are_no_outlines(discs):
    ring = discs.copy()
    ring[discs == 1] = outlines(discs)[discs == 1]
    assert as_labels(ring, "x.tif").max() == 16
    gland = np.kron(np.arange(1, 26).reshape(5, 5), np.ones((9, 9), int))
    gland[9:36, 9:36] = 0
    assert np.array_equal(as_labels(gland, "x.tif"), gland)


def test_masks_with_soft_edges_are_cut_at_half_of_their_maximum(tmp_path, squares):
    write(tmp_path / "own" / "a" / "images" / "a.png", squares[0].image)
    for k in (1, 2, 3):
        soft = ndi.gaussian_filter(200.0 * (squares[0].labels == k), 1.5)
        write(tmp_path / "own" / "a" / "masks" / f"{k}.png", np.round(soft).astype(np.uint8))
    (sample,) = load_samples(tmp_path / "own")
    wrong = np.count_nonzero((sample.labels > 0) != (squares[0].labels > 0))
    assert sample.labels.max() == 3 and wrong <= 3 * 4 * 3, "three pixels at a corner"


def test_masks_as_jpeg_are_cut_at_half_of_their_maximum(tmp_path, squares):
    write(tmp_path / "own" / "a" / "images" / "a.png", squares[0].image)
    for k in (1, 2, 3):
        mask = np.uint8(255) * (squares[0].labels == k)
        write(tmp_path / "own" / "a" / "masks" / f"{k}.jpg", mask)
    (sample,) = load_samples(tmp_path / "own")
    assert np.array_equal(sample.labels > 0, squares[0].labels > 0)


def test_masks_that_are_in_the_transparency_alone(tmp_path, squares):
    write(tmp_path / "own" / "a" / "images" / "a.png", squares[0].image)
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 3] = 255 * (squares[0].labels == 1)
    write(tmp_path / "own" / "a" / "masks" / "1.png", rgba)
    with pytest.raises(ValueError, match="a/masks/1.png: .*only its transparency varies"):
        load_samples(tmp_path / "own")


def test_two_nuclei_in_one_mask_are_not_soft_edges(tmp_path, squares):
    write(tmp_path / "own" / "a" / "images" / "a.png", squares[0].image)
    write(tmp_path / "own" / "a" / "masks" / "all.png", squares[0].labels.astype(np.uint8))
    with pytest.raises(ValueError, match="3 separate pieces have 1 mask file"):
        load_samples(tmp_path / "own")


def test_files_that_are_not_read_are_named_every_time(tmp_path, squares):
    folder = own_data(tmp_path / "own", squares, "images/*.png", "labels/*.png", np.uint8)
    (folder / "labels" / "b.jp2").touch()
    (folder / "images" / "b.czi").touch()
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match="images/b.czi, labels/b.jp2 left out") as caught:
            assert len(load_samples(folder)) == 4
        assert len(caught) == 1


def test_one_mask_of_all_nuclei(tmp_path, squares):
    write(tmp_path / "own" / "a" / "images" / "a.png", squares[0].image)
    write(tmp_path / "own" / "a" / "masks" / "all.png", (squares[0].labels > 0).astype(np.uint8))
    with pytest.raises(ValueError, match="a/masks: 3 separate pieces have 1 mask file"):
        load_samples(tmp_path / "own")


def broken(tmp_path, squares, name, content: np.ndarray | bytes):
    """Load own data of which one file has another content."""
    file = own_data(tmp_path / "own", squares, "*.tif", "*_masks.tif") / name
    file.write_bytes(content) if isinstance(content, bytes) else write(file, content)
    return load_samples(tmp_path / "own")


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "square-1_masks.tif",
            np.zeros((60, 64), np.uint16),
            "is 60 x 64 pixels, expected 64 x 64 as its image",
        ),
        ("square-1_masks.tif", b"II*\0 no TIFF", "cannot be read as an image"),
        ("square-1.tif", b"", "cannot be read as an image.*empty"),
        ("square-1_masks.tif", b"", "cannot be read as an image.*empty"),
        ("square-1.tif", np.zeros((9, 64, 64), np.uint16), r"a stack of 9 pages was found"),
        ("square-1.tif", np.zeros((20, 64), np.uint16), "20 x 64 pixels, expected at least 32"),
    ],
)
def test_a_bad_file_is_named(tmp_path, squares, name, content, message):
    with pytest.raises(ValueError, match=f"^{re.escape(name)}: .*{message}"):
        broken(tmp_path, squares, name, content)
    assert not list(Path(tmp_path).glob("data/cache/*"))


def test_one_image_of_a_folder_may_have_the_name_of_the_folder():
    files = [f"cells/{kind}/{name}.tif" for kind in ("images", "masks") for name in ("cells", "b")]
    assert set(find_samples(files, "cells")) == {"cells", "b"}


def test_labels_beside_a_folder_of_images_are_named():
    with pytest.warns(UserWarning, match="x_labels.tif left out"):
        assert set(find_samples(["x.tif", "x_labels.tif", "images/y.tif", "masks/y.tif"], "data")) == {"y"}
