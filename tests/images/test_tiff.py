import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
import tifffile

from nuclei.images import open_image
from nuclei.images import tiff as tiffs
from nuclei.images.tiff import TiffPage

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 60000, (150, 230)).astype(np.uint16)
RGB = RNG.integers(0, 255, (150, 230, 3)).astype(np.uint8)
WINDOWS = [np.s_[0:150, 0:230], np.s_[30:77, 60:130], np.s_[149:150, 229:230], np.s_[10:10, 5:9]]

FORMATS = {
    "one strip": {},
    "strips": {"rowsperstrip": 16},
    "tiles": {"tile": (64, 48)},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "compressed strips": {"compression": "zlib", "rowsperstrip": 16},
    "compressed tiles": {"compression": "zlib", "tile": (64, 48)},
    "compressed differences": {"compression": "zlib", "predictor": True, "tile": (64, 64), "byteorder": ">"},
    "LZW": {"compression": "lzw", "predictor": True, "rowsperstrip": 40},
}


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("image", [GREY, GREY.astype(np.float32), RGB], ids=["grey", "float", "RGB"])
@pytest.mark.parametrize("large", [False, True])
def test_windows_of_a_tiff(tmp_path, monkeypatch, image, options, large):
    monkeypatch.setattr(tiffs, "LARGE", 0 if large else 2**20)
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=photometric, **options)
    expected = image.reshape(150, 230, -1)
    with closing(TiffPage(tmp_path / "a.tif")) as tiff:
        assert tiff.shape == expected.shape and tiff.dtype == expected.dtype
        for window in WINDOWS:
            assert np.array_equal(tiff[window], expected[window]) and tiff[window].dtype == image.dtype


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (32, 32)}])
@pytest.mark.parametrize("large", [False, True])
def test_channels_stored_one_after_the_other(tmp_path, monkeypatch, options, large):
    monkeypatch.setattr(tiffs, "LARGE", 0 if large else 2**20)
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", **options)
    with closing(TiffPage(tmp_path / "a.tif")) as tiff:
        assert np.array_equal(tiff[30:77, 60:130], RGB[30:77, 60:130])


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (64, 64)}])
def test_the_largest_level_of_a_pyramid(tmp_path, monkeypatch, options, pages):
    monkeypatch.setattr(tiffs, "LARGE", 0)
    stack = np.stack([GREY + k for k in range(pages)])
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(stack, subifds=2, metadata={"axes": "ZYX"}, **options)
        for reduction in (2, 4):
            file.write(stack[:, ::reduction, ::reduction], subfiletype=1, **options)
    with closing(TiffPage(tmp_path / "a.ome.tif", page=pages - 1)) as tiff:
        assert np.array_equal(tiff[30:77, 60:130][..., 0], stack[-1, 30:77, 60:130])


def test_jpeg_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(tiffs, "LARGE", 0)
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression="jpeg", tile=(64, 64))
    with closing(TiffPage(tmp_path / "a.tif")) as tiff:
        assert np.array_equal(tiff[30:77, 60:130], tifffile.imread(tmp_path / "a.tif")[30:77, 60:130])


def test_a_page_of_many(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY + 1]), photometric="minisblack")
    with closing(TiffPage(tmp_path / "a.tif", page=1)) as tiff:
        assert np.array_equal(tiff[:, :][..., 0], GREY + 1)


def test_threads_decode_a_strip_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tiffs, "LARGE", 0)
    tifffile.imwrite(tmp_path / "a.tif", RGB, compression="zlib", rowsperstrip=150)
    decode, used = tifffile.TiffPage.decode, []
    monkeypatch.setattr(
        tifffile.TiffPage, "decode", property(lambda page: used.append(1) or decode.__get__(page))
    )
    with closing(TiffPage(tmp_path / "a.tif")) as tiff:
        tiff[:, :50]
    once = len(used)
    with closing(TiffPage(tmp_path / "a.tif")) as tiff, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: tiff[:, 50 * k : 50 * k + 50], range(4)))
    assert np.array_equal(np.concatenate(parts, axis=1), RGB[:, :200]) and len(used) == 2 * once


def test_files_that_are_cut_short(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", RGB)
    os.truncate(tmp_path / "a.tif", 50_000)
    with pytest.raises(ValueError, match="a.tif: cannot be read as an image: the file is not complete"):
        open_image(tmp_path / "a.tif")
    monkeypatch.setattr(tiffs, "LARGE", 0)
    tifffile.imwrite(tmp_path / "b.tif", RGB, compression="zlib", tile=(64, 64))
    os.truncate(tmp_path / "b.tif", 50_000)
    with pytest.raises(ValueError, match="b.tif: cannot be read"), open_image(tmp_path / "b.tif") as image:
        image[:, :]
