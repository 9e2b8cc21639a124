import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import tifffile

from nuclei.images import open_image
from nuclei.images import tiff as tiffs
from nuclei.images.tiff import TiffPage
from nuclei.output.label_tiff import new_label_tiff

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


def test_jpeg_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(tiffs, "LARGE", 0)
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression="jpeg", tile=(64, 64))
    with closing(TiffPage(tmp_path / "a.tif")) as tiff:
        assert np.array_equal(tiff[30:77, 60:130], tifffile.imread(tmp_path / "a.tif")[30:77, 60:130])


def test_a_page_of_many(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY + 1]), photometric="minisblack")
    with closing(TiffPage(tmp_path / "a.tif", page=1)) as tiff:
        assert np.array_equal(tiff[:, :][..., 0], GREY + 1)


def test_files_that_are_cut_short(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", RGB)
    os.truncate(tmp_path / "a.tif", 50_000)
    with pytest.raises(ValueError, match="a.tif: cannot be read as a TIFF image: the file is not complete"):
        open_image(tmp_path / "a.tif")
    monkeypatch.setattr(tiffs, "LARGE", 0)
    tifffile.imwrite(tmp_path / "b.tif", RGB, compression="zlib", tile=(64, 64))
    os.truncate(tmp_path / "b.tif", 50_000)
    with pytest.raises(ValueError, match="b.tif: cannot be read"), open_image(tmp_path / "b.tif") as image:
        image[:, :]


def test_a_label_tiff_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out" / "labels.tif"
    with new_label_tiff(path, (150, 230), resolution=(2e4, 2e4), resolutionunit="CENTIMETER") as labels:
        assert labels.shape == (150, 230) and not labels[:, :].any()
        labels[30:40, 50:70] = np.arange(20, dtype=np.uint32) + 70_000
        assert not path.exists()
    found = tifffile.imread(path)
    assert found.dtype == np.uint32 and found.shape == (150, 230) and found[35, 69] == 70_019
    assert np.count_nonzero(found) == 200
    with pytest.raises(KeyboardInterrupt), new_label_tiff(path, (9, 9)):
        raise KeyboardInterrupt
    assert np.array_equal(tifffile.imread(path), found) and os.listdir(path.parent) == ["labels.tif"]


def test_a_full_disk_is_told_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"), new_label_tiff(tmp_path / "a.tif", (9, 9)):
        raise AssertionError("never reached")
    assert not any(tmp_path.iterdir())


def test_labels_beyond_four_gigabytes(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # so that the file has holes and takes no room
    with new_label_tiff(tmp_path / "a.tif", (2**15, 2**15 + 2**13)) as labels:
        labels[2**15 - 1 :, 2**15 :] = np.uint32(7)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    with closing(TiffPage(tmp_path / "a.tif")) as tiff:
        assert tiff[2**15 - 2 :, 2**15 - 1 : 2**15 + 1][..., 0].tolist() == [[0, 0], [0, 7]]


MEASURE = r"""
import re, sys
from pathlib import Path
from skimage import measure
from nuclei.images import open_image
from nuclei.output.label_tiff import new_label_tiff
from nuclei.images.intensity import rgb8_converter
from nuclei.segmentation.stitching import label_large
import nuclei.images.tiff
nuclei.images.tiff.LARGE = 0
with open_image(sys.argv[1]) as image, new_label_tiff(sys.argv[1] + ".labels", image.shape[:2]) as labels:
    convert = rgb8_converter(image, normalize=True)
    count = label_large(image, lambda part: measure.label(convert(part)[..., 0] > 100), labels, 512, 64)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
print(count, int(peak) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path):
    memory = {}
    for side in (1000, 5000):
        image = tifffile.memmap(tmp_path / "a.tif", shape=(side, side, 3), dtype=np.uint8, photometric="rgb")
        image[100::200, 100::200] = 200
        image.flush()
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "a.tif")]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        count, memory[side] = map(int, result.stdout.split())
        assert count == (side // 200) ** 2
    assert memory[5000] - memory[1000] < 60, "MB, while 75 MB were read and 100 MB written"
