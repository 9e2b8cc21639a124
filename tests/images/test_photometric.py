"""What the numbers of a file mean: colours of every kind become RGB or grey, or are refused by name."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from nuclei.data.samples import load_samples
from nuclei.images import open_image

Y, X = np.indices((40, 60))
GREY = (4 * Y + X).astype(np.uint8)
RGB = np.dstack([4 * Y, 3 * X, 255 - 4 * Y]).astype(np.uint8)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    "stored, photometric, expected, error",
    [
        (255 - GREY, "miniswhite", GREY, 0),
        (65_535 - GREY.astype(np.uint16), "miniswhite", GREY, 0),
        (GREY < 100, "miniswhite", GREY >= 100, 0),
        (np.asarray(Image.fromarray(RGB).convert("YCbCr")), "ycbcr", RGB, 3),
        (np.asarray(Image.fromarray(RGB).convert("CMYK")), "separated", RGB, 0),
    ],
    ids=["white is zero", "16 bits", "1 bit", "YCbCr", "CMYK"],
)
def test_photometric_interpretations(tmp_path, stored, photometric, expected, error, compression):
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, compression=compression)
    found = open_image(tmp_path / "a.tif").pixels()
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= error


def test_a_palette_is_looked_up(tmp_path):
    palette = Image.fromarray(RGB).quantize(37)
    palette.save(tmp_path / "a.tif")
    palette.save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(
            open_image(tmp_path / name).pixels(), np.asarray(palette.convert("RGB"))
        )


def test_display_colours_of_a_grey_image_are_no_colours(tmp_path):
    blue = np.zeros((3, 256), np.uint16)
    blue[2] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=blue)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").pixels(), GREY)


def test_a_jpeg_tiff_is_read_as_pillow_reads_it(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.tif", compression="jpeg")
    found = open_image(tmp_path / "a.tif").pixels().astype(int)
    with Image.open(tmp_path / "a.tif") as expected:
        assert np.abs(found - np.asarray(expected.convert("RGB"))).max() <= 3


def test_alpha_is_no_channel(tmp_path):
    Image.fromarray(np.dstack([GREY, GREY])).save(tmp_path / "a.tif")
    image = open_image(tmp_path / "a.tif")
    assert image.channels == ("ch0",) and np.array_equal(image.pixels(), GREY)


@pytest.mark.parametrize("photometric, name", [(32845, "LOGLUV"), (10, "ITULAB"), (8, "CIELAB")])
def test_what_is_not_supported_is_named(tmp_path, photometric, name):
    pixels = RGB.astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric)
    with pytest.raises(ValueError, match=f"a.tif: .*{name}.*not supported; save the image as RGB"):
        open_image(tmp_path / "a.tif")


def test_training_reads_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("nuclei.data.samples.ROOT", tmp_path)
    folder = tmp_path / "set"
    folder.mkdir()
    labels = np.zeros(GREY.shape, np.uint8)
    labels[5:15, 5:15], labels[25:35, 30:40] = 1, 2
    inverted = 65_535 - 100 * GREY.astype(np.uint16)
    tifffile.imwrite(folder / "white.tif", inverted, photometric="miniswhite")
    tifffile.imwrite(folder / "two.tif", np.stack([0 * GREY, GREY]), imagej=True, metadata={"axes": "CYX"})
    for name in ("white", "two"):
        tifffile.imwrite(folder / f"{name}_labels.tif", labels)
    with pytest.raises(ValueError, match="two.tif: 2 channels were found"):
        load_samples(folder)
    (folder / "white.tif").unlink(), (folder / "white_labels.tif").unlink()
    (two,) = load_samples(folder, channel=1)
    np.testing.assert_array_equal(two.image[..., 0], GREY)
    assert load_samples(folder, channel=0)[0].image.max() == 0, "the cache knows channels apart"
