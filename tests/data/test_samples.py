import shutil
import zipfile

import imageio.v3 as iio
import numpy as np
import pytest
import requests
import tifffile
from conftest import write_sample

from nuclei.data import samples as sources
from nuclei.data.labels import paint
from nuclei.data.samples import Sample, describe, fingerprint, load_samples
from nuclei.images.intensity import as_rgb8


def zipped(folder):
    return shutil.make_archive(str(folder), "zip", folder)


def same(a, b):
    return [s.id for s in a] == [s.id for s in b] and all(
        np.array_equal(x.image, y.image) and np.array_equal(x.labels, y.labels)
        for x, y in zip(a, b, strict=True)
    )


def test_folder_zip_and_cache_give_the_same_samples(folder, squares):
    from_disk = load_samples(folder)
    assert same(from_disk, squares)
    assert same(load_samples(zipped(folder)), squares)
    assert len(list((sources.ROOT / "data" / "cache").glob("squares-*.npz"))) == 2
    assert same(load_samples(folder), squares), "the second time they come from the cache"
    assert from_disk[0].labels.dtype == np.int32 and from_disk[0].image.dtype == np.uint8


def test_warnings_name_the_file(folder):
    image = np.full((64, 64), 1000, np.uint16)
    image[20:30, 20:30] = 3000  # two grey values, as of a mask
    iio.imwrite(folder / "square-0" / "images" / "square-0.png", image)
    with pytest.warns(UserWarning) as caught:
        load_samples(folder)
    assert {str(each.message).partition(": ")[0] for each in caught} == {"square-0/images/square-0.png"}


def test_a_changed_file_is_read_again(folder, squares):
    load_samples(folder)
    (folder / "square-0" / "masks" / "0003.png").unlink()
    assert load_samples(folder)[0].labels.max() == 2


def test_masks_that_change_places_are_read_again(folder, squares):
    load_samples(folder)
    a, b = (folder / f"square-{k}" / "masks" / "0001.png" for k in (0, 3))
    a.rename(folder / "x.png"), b.rename(a), (folder / "x.png").rename(b)
    labels = load_samples(folder)[0].labels
    assert labels[15, 8] == 1 and labels[4, 8] == 0
    assert len(list((sources.ROOT / "data" / "cache").iterdir())) == 1, "the old cache is gone"


def test_a_damaged_cache_is_made_again(folder, squares):
    load_samples(folder)
    (cache,) = (sources.ROOT / "data" / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:100])
    with pytest.warns(UserWarning, match="cannot be read.*read again"):
        assert same(load_samples(folder), squares)
    assert same(load_samples(folder), squares)


def test_transparency_is_no_nucleus(folder):
    grey = np.zeros((64, 64, 2), np.uint8)
    grey[..., 1] = 255
    grey[:3, :3, 0] = 255
    iio.imwrite(folder / "square-0" / "masks" / "0001.png", grey)
    assert (load_samples(folder)[0].labels == 1).sum() == 9


def test_paths_are_relative_to_the_root(folder, squares, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert same(load_samples("squares"), squares)


def test_a_zip_with_a_folder_around_all_is_read_too(folder, squares, tmp_path):
    outer = tmp_path / "outer"
    shutil.copytree(folder, outer / "stage1_train")
    (outer / "__MACOSX" / "square-0" / "images").mkdir(parents=True)
    (outer / "__MACOSX" / "square-0" / "images" / "x.png").write_bytes(b"no picture")
    assert same(load_samples(zipped(outer)), squares)


def test_more_nuclei_than_eight_bits_count(folder):
    labels = np.zeros((64, 64), np.int32)
    labels[::3, ::3] = np.arange(1, 22 * 22 + 1).reshape(22, 22)
    shutil.rmtree(folder)
    write_sample(folder, Sample("many", np.zeros((64, 64, 3), np.uint8), labels))
    assert len(np.unique(load_samples(folder)[0].labels)) == 485


def test_overlaps_are_tolerated_and_no_nucleus_disappears():
    small, large = np.zeros((2, 5, 5), bool)
    small[2, 2] = large[1:4, 1:4] = True
    labels = paint([np.flatnonzero(small), np.flatnonzero(large)], 25).reshape(5, 5)
    assert labels[2, 2] == 1 and labels[1, 1] == 2 and (labels == 2).sum() == 8


def test_empty_masks_leave_no_gap_in_the_numbers():
    assert paint([np.array([], int), np.arange(3)], 9).tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 2), (5, 4, 3), (5, 4, 4)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.float32])
@pytest.mark.filterwarnings("ignore:only two grey values")
def test_any_image_becomes_rgb8(shape, dtype):
    image = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    rgb = as_rgb8(image)
    assert rgb.shape == (5, 4, 3) and rgb.dtype == np.uint8
    if dtype == np.uint8:
        assert np.array_equal(rgb[..., 0], image.reshape(5, 4, -1)[..., 0]), "8-bit values stay"
    else:
        assert rgb.max() == 255 and rgb.min() == 0


def test_a_stack_is_no_image():
    with pytest.raises(ValueError, match=r"\(9, 5, 4, 3\)"):
        as_rgb8(np.zeros((9, 5, 4, 3), np.uint8))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_no_numbers_are_not_made_black(value):
    image = np.ones((5, 4))
    image[0, 0] = value
    with pytest.raises(ValueError, match="1 of 20 values are NaN or infinite"):
        as_rgb8(image)


def test_fingerprint_sees_ids_pixels_and_labels_but_not_the_order(squares):
    first = squares[0]
    assert fingerprint(squares) == fingerprint(squares[::-1])
    changed = [
        Sample("other", first.image, first.labels),
        Sample(first.id, first.image + 1, first.labels),
        Sample(first.id, first.image, first.labels * 2),
    ]
    assert len({fingerprint([s, *squares[1:]]) for s in [first, *changed]}) == 4


def test_describe_counts_the_nuclei(squares):
    about = describe(squares)
    assert (about["images"], about["nuclei"], about["edition"]) == (4, 12, "not a known edition")


def test_the_embedded_sample_is_known(sample):
    assert describe(sample)["edition"] == "embedded sample (16 images)"


# --- bad input ------------------------------------------------------------------------------------------


def test_nothing_there(folder):
    with pytest.raises(FileNotFoundError, match="'nowhere': no such folder or zip.*dsb2018"):
        load_samples("nowhere")


def test_empty_folder(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no images found.*<id>/images/<id>.png"):
        load_samples("empty")


def test_image_without_masks(folder):
    shutil.rmtree(folder / "square-2" / "masks")
    with pytest.raises(FileNotFoundError, match="square-2 has no masks"):
        load_samples(folder)


def test_two_images_in_one_folder(folder):
    images = folder / "square-2" / "images"
    shutil.copy(images / "square-2.png", images / "copy.png")
    with pytest.raises(FileNotFoundError, match="square-2/images/ holds 2 images"):
        load_samples(folder)


@pytest.mark.parametrize("kind", ["images/square-1.png", "masks/0002.png"])
@pytest.mark.parametrize("damage", ["truncated", "no picture"])
def test_broken_png(folder, kind, damage):
    file = folder / "square-1" / kind
    file.write_bytes(file.read_bytes()[:60] if damage == "truncated" else b"hello")
    with pytest.raises(ValueError, match=f"square-1/{kind}: cannot be read as an image"):
        load_samples(folder)
    assert not list((sources.ROOT / "data").rglob("*")) or not list(
        (sources.ROOT / "data" / "cache").iterdir()
    )


def test_mask_of_another_size(folder):
    iio.imwrite(folder / "square-1" / "masks" / "0002.png", np.zeros((64, 60), np.uint8))
    with pytest.raises(ValueError, match=r"masks/0002.png: the mask is 64 x 60 pixels, expected 64 x 64"):
        load_samples(folder)
    stack = np.zeros((2, 3, 64, 64), np.uint8)
    tifffile.imwrite(folder / "square-1" / "masks" / "0001.tif", stack, photometric="minisblack")
    with pytest.raises(ValueError, match=r"masks/0001.tif: the mask is 2 x 3 x 64 x 64 pixels"):
        load_samples(folder)


def test_image_too_small(folder):
    write_sample(folder, Sample("tiny", np.zeros((31, 40, 3), np.uint8), np.ones((31, 40), np.int32)))
    with pytest.raises(ValueError, match="tiny/images/tiny.png: 31 x 40 pixels, expected at least 32"):
        load_samples(folder)


def test_linked_folders_are_read(folder, squares, tmp_path):
    (folder / "square-1").rename(tmp_path / "elsewhere")
    (folder / "square-1").symlink_to(tmp_path / "elsewhere")
    (folder / "square-0" / "around").symlink_to(folder)
    assert same(load_samples(folder), squares)


@pytest.mark.parametrize("name", ["notes.txt", "image.tif"])
def test_another_file_than_a_zip(folder, name):
    (folder / name).write_text("hello")
    with pytest.raises(ValueError, match=f"{name}: not a complete zip file .*, expected a folder or a zip"):
        load_samples(folder / name)


def test_truncated_zip(folder):
    archive = zipped(folder)
    whole = open(archive, "rb").read()
    open(archive, "wb").write(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="squares.zip: not a complete zip file"):
        load_samples(archive)


def test_damaged_zip_member(folder):
    archive = zipped(folder)
    damaged = bytearray(open(archive, "rb").read())
    offset = zipfile.ZipFile(archive).getinfo("square-0/masks/0001.png").header_offset
    damaged[offset + 60] ^= 255
    open(archive, "wb").write(damaged)
    with pytest.raises(ValueError, match="square-0/masks/0001.png: cannot be read"):
        load_samples(archive)


class Answer:
    """What `requests.get` gives back, as pooch uses it."""

    def __init__(self, content):
        self.content, self.headers = content, {"content-length": str(len(content))}

    def raise_for_status(self):
        pass

    def iter_content(self, chunk_size):
        yield self.content

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_no_network(folder, monkeypatch):
    def unreachable(*_, **__):
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", unreachable)
    with pytest.raises(FileNotFoundError, match="data/stage1_train.zip: not found.*put it at data/"):
        load_samples("dsb2018")
    assert not list((sources.ROOT / "data").glob("*")), "nothing half-written"


def test_wrong_hash(folder, monkeypatch):
    monkeypatch.setattr(requests, "get", lambda *_, **__: Answer(b"something else"))
    with pytest.raises(FileNotFoundError, match="(?s)official.zip: not found.*hash.*put it at data/"):
        load_samples("dsb2018-official")
    assert not list((sources.ROOT / "data").glob("*")), "nothing half-written"


def test_another_edition_than_the_corrected_one_is_said(folder, squares, monkeypatch):
    content = open(zipped(folder), "rb").read()
    monkeypatch.setattr(requests, "get", lambda *_, **__: Answer(content))
    for _ in range(2):  # from the download, and from the cache
        with pytest.warns(UserWarning, match="not the corrected edition of 664 images"):
            assert same(load_samples("dsb2018"), squares)


def test_a_page_instead_of_a_zip(folder, monkeypatch):
    monkeypatch.setattr(requests, "get", lambda *_, **__: Answer(b"<html>busy</html>"))
    with pytest.raises(FileNotFoundError, match="is no zip file.*put it at data/stage1_train.zip"):
        load_samples("dsb2018")
    assert not list((sources.ROOT / "data").glob("*")), "nothing half-written"


def test_a_file_with_another_hash_is_not_taken_for_the_official_edition(folder):
    (sources.ROOT / "data").mkdir()
    shutil.move(zipped(folder), sources.ROOT / "data" / "stage1_train_official.zip")
    with pytest.raises(
        ValueError, match="stage1_train_official.zip: the file has sha256 .*, expected dcb6edc2"
    ):
        load_samples("dsb2018-official")


def test_data_already_there_are_not_downloaded(folder, squares):
    shutil.copytree(folder, sources.ROOT / "data" / "stage1_train")
    with pytest.warns(UserWarning, match="not the corrected edition"):
        assert same(load_samples("dsb2018"), squares)


def test_a_cache_that_cannot_be_written_is_no_disaster(folder, squares, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.warns(UserWarning, match="could not be cached.*No space left"):
        assert same(load_samples(folder), squares)
    assert not list((sources.ROOT / "data" / "cache").iterdir()), "nothing half-written"
