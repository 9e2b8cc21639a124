"""Which files are images, what they are called, and what is read from each kind of file."""

import gc
import io
import struct
import warnings
import zlib

import imagecodecs
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from conftest import write_ome_set
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nuclei.images.finding import find_images
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import WHOLE, open_image

GREY = np.arange(30, dtype=np.uint16).reshape(5, 6)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_images_of_a_folder_and_nothing_else(tmp_path):
    touch(tmp_path, "a.png", "b.JPG", "deep/a.tiff", "notes.txt", ".hidden.png", ".cache/c.png")
    touch(tmp_path, "a_labels.tif", "a_overlay.png", "deep/a_masks.tif", "__MACOSX/a.png")
    root, found = find_images([tmp_path])
    assert root == tmp_path
    assert found == {"a": tmp_path / "a.png", "b": tmp_path / "b.JPG", "deep/a": tmp_path / "deep" / "a.tiff"}


def test_masks_of_the_official_layout_are_no_images(tmp_path):
    touch(tmp_path, "x/images/x.png", "x/masks/1.png", "x/masks/2.png", "y/images/y.png", "set/images/z.tif")
    touch(tmp_path, "set/labels/z.tif", "masks/w.png")
    assert set(find_images([tmp_path])[1]) == {"x", "y", "set/images/z", "masks/w"}
    assert set(find_images([tmp_path / "x"])[1]) == {"x"}
    assert set(find_images([tmp_path / "x" / "images"])[1]) == {"x"}


def test_a_contact_sheet_is_no_image(tmp_path):
    for name in ("results/review.png", "results/review.csv", "mine/review.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert set(find_images([tmp_path])[1]) == {"mine/review"}


def test_two_files_of_one_name_stay_apart(tmp_path):
    touch(tmp_path, "one/a.png", "two/a.png", "two/a.tif", "two/b.png", "two/b.png.tif")
    assert set(find_images([tmp_path])[1]) == {"one/a", "two/a.png", "two/a.tif", "two/b", "two/b.png.tif"}
    assert set(find_images([tmp_path / "one", tmp_path / "two" / "b.png"])[1]) == {"one/a", "two/b"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.sets(st.from_regex(r"([ab]/){0,3}[ab](\.[ab])?\.(png|tif|jpg)", fullmatch=True), min_size=1))
def test_every_file_has_a_name_of_its_own(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("files")
    touch(folder, *files)
    _, found = find_images([folder])
    assert {path.relative_to(folder).as_posix() for path in found.values()} == files


def test_patterns_and_named_files(tmp_path, monkeypatch):
    touch(tmp_path, "p1/dapi.tif", "p2/dapi.tif", "p2/gfp.tif", "p2/notes.txt", "scan.svs", "[x].png")
    root, found = find_images([tmp_path / "p*" / "*"])
    assert root == tmp_path and set(found) == {"p1/dapi", "p2/dapi", "p2/gfp"}
    assert set(find_images([tmp_path / "scan.svs"])[1]) == {"scan"}, "whatever its suffix"
    assert set(find_images([tmp_path / "[x].png"])[1]) == {"[x]"}, "a file's name is no pattern"
    monkeypatch.chdir(tmp_path)
    assert find_images(["./p1", "p1/dapi.tif"]) == (tmp_path / "p1", {"dapi": find_images(["p1"])[1]["dapi"]})


def test_a_pattern_of_images_in_a_zarr(tmp_path):
    touch(tmp_path, *(f"plate.zarr/{well}/.zattrs" for well in ("A/1/0", "A/2/0")), "plate.zarr/.zattrs")
    assert set(find_images([tmp_path / "plate.zarr" / "A" / "*" / "*"])[1]) == {"1/0", "2/0"}
    assert set(find_images([tmp_path / "**"])[1]) == {"plate"}


def test_images_that_are_called_as_results_are_named(tmp_path, recwarn):
    touch(tmp_path, "a.png", "a_masks.png", "run/run.json", "run/below/b_labels.tif")
    assert set(find_images([tmp_path])[1]) == {"a"} and not recwarn
    touch(tmp_path, "c_overlay.png")
    with pytest.warns(UserWarning, match="c_overlay.png left out"):
        assert set(find_images([tmp_path])[1]) == {"a"}


def test_nothing_to_find(tmp_path):
    touch(tmp_path, "a_labels.tif")
    with pytest.raises(FileNotFoundError, match="no-such.*no such file or folder"):
        find_images([tmp_path, tmp_path / "no-such"])
    with pytest.raises(FileNotFoundError, match="no images found.*_labels"):
        find_images([tmp_path])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    "shape, channels", [((5, 6), 1), ((5, 6, 3), 3), ((5, 6, 4), 3)], ids=["grey", "rgb", "rgba"]
)
def test_eight_bits_come_as_they_are(tmp_path, suffix, shape, channels):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    iio.imwrite(tmp_path / f"a.{suffix}", pixels)
    picture = open_image(tmp_path / f"a.{suffix}")
    expected = pixels.reshape(5, 6, -1)[..., :channels]
    np.testing.assert_array_equal(picture[WHOLE], expected)
    np.testing.assert_array_equal(picture.pixels(), expected.squeeze())
    assert picture.channels == (("R", "G", "B") if channels == 3 else ("ch0",))
    assert picture.pixel_size is None
    red = open_image(tmp_path / f"a.{suffix}", channel=0)
    np.testing.assert_array_equal(red.pixels(), pixels.reshape(5, 6, -1)[..., 0])
    assert red[WHOLE].shape == (5, 6, channels), "all are measured"


def test_grey_with_alpha_has_one_channel(tmp_path):
    pixels = np.stack([GREY, GREY + 100], axis=-1).astype(np.uint8)
    iio.imwrite(tmp_path / "a.png", pixels)
    picture = open_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels(), pixels[..., 0])
    np.testing.assert_array_equal(picture[WHOLE], pixels[..., :1])


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.uint32])
def test_deep_images_keep_their_values(tmp_path, compression, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), compression=compression)
    image = open_image(tmp_path / "a.tif").pixels()
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, GREY)


@pytest.mark.parametrize(
    "axes, options",
    [
        ("CYX", {"imagej": True}),
        ("CYX", {"ome": True}),
        ("YXC", {}),  # what a Python user writes, without a word about the axes
        ("YXS", {"planarconfig": "contig", "photometric": "minisblack"}),
    ],
)
def test_channels_have_to_be_chosen(tmp_path, axes, options):
    channels = GREY + 100 * np.arange(5, dtype=np.uint16)[:, None, None]
    channels = np.tile(channels, (1, 4, 4))
    if axes == "CYX":
        options = options | {"metadata": {"axes": axes}}
    tifffile.imwrite(
        tmp_path / "a.tif", channels if axes == "CYX" else np.moveaxis(channels, 0, 2), **options
    )
    with pytest.raises(ValueError, match=r"a.tif: 5 channels were found \(.*axes .* of shape .*0 to 4"):
        open_image(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif: `channel` 5 was asked for, there are 5"):
        open_image(tmp_path / "a.tif", channel=5)
    picture = open_image(tmp_path / "a.tif", channel=2)
    np.testing.assert_array_equal(picture.pixels(), channels[2])
    np.testing.assert_array_equal(picture[WHOLE], np.moveaxis(channels, 0, 2))


def test_pages_have_to_be_chosen(tmp_path):
    stack = GREY + 100 * np.arange(6, dtype=np.uint16)[:, None, None]
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(ValueError, match=r"6 pages .*axes ZYX of shape \(6, 5, 6\)\); .*0 to 5"):
        open_image(tmp_path / "z.tif")
    with pytest.raises(ValueError, match="`page` 6 was asked for, a stack of 6 pages"):
        open_image(tmp_path / "z.tif", page=6)
    np.testing.assert_array_equal(open_image(tmp_path / "z.tif", page=4).pixels(), stack[4])
    in_memory = io.BytesIO((tmp_path / "z.tif").read_bytes())  # as data sets are read
    np.testing.assert_array_equal(open_image(in_memory, page=4).pixels(), stack[4])

    tifffile.imwrite(tmp_path / "zc.tif", stack.reshape(3, 2, 5, 6), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(ValueError, match="a stack of 3 pages"):
        open_image(tmp_path / "zc.tif", channel=1)
    with pytest.raises(ValueError, match="2 channels"):
        open_image(tmp_path / "zc.tif", page=2)
    np.testing.assert_array_equal(open_image(tmp_path / "zc.tif", channel=1, page=2).pixels(), stack[5])

    with tifffile.TiffWriter(tmp_path / "sizes.tif") as tiff:
        tiff.write(GREY)
        tiff.write(GREY.T)
    with pytest.raises(ValueError, match=r"\(5, 6\); axes YX of shape \(6, 5\)\)"):
        open_image(tmp_path / "sizes.tif")
    np.testing.assert_array_equal(open_image(tmp_path / "sizes.tif", page=1).pixels(), GREY.T)


@pytest.mark.parametrize(
    "options, size",
    [
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}, 0.25),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "\\u00B5m"}}, 0.25),
        ({"imagej": True, "resolution": (0.002, 0.002), "metadata": {"unit": "nm"}}, 0.5),
        ({"imagej": True, "resolution": (50_800, 50_800), "metadata": {"unit": "inch"}}, 0.5),
        ({"imagej": True, "resolution": (20_000, 20_000), "metadata": {"unit": "cm"}}, 0.5),
        ({"imagej": True, "resolution": (2000, 2000), "metadata": {"unit": "mm"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3000, "PhysicalSizeXUnit": "Å"}
          | {"PhysicalSizeY": 3000, "PhysicalSizeYUnit": "Å"}}, 0.3),
        ({"imagej": True, "resolution": (72, 72)}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}}, 0.3),
        ({"ome": True, "metadata": {"PhysicalSizeX": 300, "PhysicalSizeXUnit": "nm"}
          | {"PhysicalSizeY": 0.3}}, 0.3),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.6}}, (0.6, 0.3)),
        ({"ome": True}, None),
        ({"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}, 0.5),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # a printer's
        ({}, None),
    ],
)  # fmt: skip
def test_pixel_sizes(tmp_path, options, size):
    expected = size if isinstance(size, tuple) else (size, size)
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    assert open_image(tmp_path / "a.tif").pixel_size == (size and pytest.approx(expected))


@pytest.mark.parametrize("ome", [True, False])
def test_each_image_of_a_file_has_its_own_pixel_size(tmp_path, ome):
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=ome) as tiff:
        for side, size in ((6, 0.5), (7, 0.25)):
            options = {"metadata": {"PhysicalSizeX": size, "PhysicalSizeY": size}} if ome else {}
            options |= {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}
            tiff.write(np.zeros((side, 5), np.uint8), photometric="minisblack", **options)
    sizes = [open_image(tmp_path / "a.tif", page=k).pixel_size for k in (0, 1)]
    assert sizes == [pytest.approx((0.5, 0.5)), pytest.approx((0.25, 0.25))]


def test_an_unknown_unit_is_noted(tmp_path):
    size = {"PhysicalSizeX": 3, "PhysicalSizeY": 3, "PhysicalSizeYUnit": "thou"}
    tifffile.imwrite(tmp_path / "ome.tif", GREY, ome=True, metadata=size)
    options = {"imagej": True, "resolution": (2, 2)}
    tifffile.imwrite(tmp_path / "imagej.tif", GREY, **options, metadata={"unit": "thou"})
    tifffile.imwrite(tmp_path / "none.tif", GREY, **options, metadata={"unit": "pixel"})
    for name, noted in (("ome", True), ("imagej", True), ("none", False)):
        image = open_image(tmp_path / f"{name}.tif")
        assert image.pixel_size is None and ("'thou'" in image.note) == noted


@pytest.mark.parametrize("wrong", ['PhysicalSizeX=""', 'PhysicalSizeX="0,3"', "Name=a&b"])
def test_a_pixel_size_that_cannot_be_read_is_none(tmp_path, wrong):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", GREY, ome=True, metadata={"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
    )
    words = tifffile.tiffcomment(tmp_path / "a.ome.tif").replace('PhysicalSizeX="0.3"', wrong)
    assert wrong in words
    tifffile.tiffcomment(tmp_path / "a.ome.tif", words.encode())
    picture = open_image(tmp_path / "a.ome.tif")
    assert picture.pixel_size is None and np.array_equal(picture.pixels(), GREY)


@pytest.mark.parametrize(
    "name", ["text.png", "text.tif", "empty.jpg", "half.png", "half.tif", "half-stack.tif"]
)
def test_broken_files(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 99, (9, 50, 50)).astype(np.uint8)
    if name.startswith("half"):
        if "stack" in name:
            tifffile.imwrite(path, noise, imagej=True)
        else:
            iio.imwrite(path, noise[0])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_text("no image" if "text" in name else "")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)  # of files that are not closed
        with pytest.raises(ValueError, match=f"{name}: cannot be read as "):
            open_image(path, channel=0, page=0)
        gc.collect()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    image = GREY.astype(np.float32)
    image[2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", image)
    with pytest.raises(ValueError, match="a.tif: 1 of 30 values are NaN or infinite"):
        open_image(tmp_path / "a.tif")


def test_a_refused_file_is_closed(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((6, 5), np.nan, np.float32))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="NaN"):
            open_image(tmp_path / "a.tif")
        gc.collect()
    assert not told


def test_a_png_has_no_pages(tmp_path):
    iio.imwrite(tmp_path / "a.png", GREY.astype(np.uint8))
    assert open_image(tmp_path / "a.png", page=0).pixels().shape == (5, 6)
    with pytest.raises(ValueError, match="a.png: `page` 1 was asked for, the file has one"):
        open_image(tmp_path / "a.png", page=1)


def test_deep_colours_in_a_png_keep_their_values(tmp_path):
    pixels = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1000
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    found = open_image(tmp_path / "deep.png")
    assert found.pixels().dtype == np.uint16 and np.array_equal(found.pixels(), pixels)


def test_printing_colours_become_red_green_and_blue(tmp_path):
    Image.new("CMYK", (6, 4), (0, 0, 0, 255)).save(tmp_path / "black.jpg")  # black ink alone
    image = open_image(tmp_path / "black.jpg").pixels()
    assert image.shape == (4, 6, 3) and image.max() < 10


def test_only_the_page_asked_for_is_read(tmp_path, monkeypatch):
    stack = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
    for page in range(3):
        assert np.array_equal(open_image(tmp_path / "stack.tif", page=page).pixels(), stack[page])


def fluorescence(shape=(200, 240)):
    """Bright discs on a dark, noisy ground, uint8."""
    rng = np.random.default_rng(0)
    y, x = np.indices(shape)
    image = rng.normal(10, 2, shape)
    for row, column in rng.integers(10, 190, (20, 2)):
        image[(y - row) ** 2 + (x - column) ** 2 < 80] = rng.integers(90, 220)
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("hue", [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (0, 1, 1), (0.2, 0.4, 1)])
def test_one_dye_in_rgb_is_the_grey_image_that_it_is(tmp_path, hue, suffix):
    grey = fluorescence()
    Image.fromarray((grey[..., None] * np.array(hue)).astype(np.uint8)).save(tmp_path / f"a.{suffix}")
    image = open_image(tmp_path / f"a.{suffix}")
    assert image.pixels().shape == grey.shape and "one dye" in image.note
    assert image.channels == ("R", "G", "B") and image[WHOLE].shape == (*grey.shape, 3)
    assert np.abs(image.pixels().astype(int) - grey).mean() < (8 if suffix == "jpg" else 0.1)


def test_colours_that_are_not_of_one_dye_stay(tmp_path, sample):
    grey = fluorescence()
    two_dyes = np.dstack([0 * grey, np.roll(grey, 40, axis=0), grey])
    stained = [s.image for s in sample if s.image.std(axis=2).mean() > 5]
    assert stained
    for rgb in (two_dyes, np.dstack([grey] * 3), *stained):
        Image.fromarray(rgb).save(tmp_path / "a.png")
        image = open_image(tmp_path / "a.png")
        assert image.note == "" and np.array_equal(image.pixels(), rgb)


def test_one_frame_and_several_of_a_gif(tmp_path):
    frames = [Image.fromarray(np.full((40, 50), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "one.gif")
    assert open_image(tmp_path / "one.gif").shape == (40, 50)
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="two.gif: a stack of 2 pages was found; choose a `page`, 0 to 1"):
        open_image(tmp_path / "two.gif")
    assert open_image(tmp_path / "two.gif", page=1).pixels().max() == 200


def test_a_photo_with_a_preview_is_one_image(tmp_path):
    photo, preview = (Image.fromarray(np.full((40, 50, 3), value, np.uint8)) for value in (200, 10))
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert open_image(tmp_path / "a.jpg").pixels().min() > 150


def test_a_picture_too_large_for_memory_is_refused_with_its_size(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    blocks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in blocks
    )
    (tmp_path / "bomb.png").write_bytes(png)
    with pytest.raises(ValueError, match=r"bomb.png: more than 179 megapixels"):
        open_image(tmp_path / "bomb.png")


def test_positions_of_an_ome_set_are_each_in_their_own_file(tmp_path):
    write_ome_set(tmp_path, [GREY, GREY + 1, GREY + 2])
    for k in range(3):
        image = open_image(tmp_path / f"p{k}.ome.tif")
        np.testing.assert_array_equal(image.pixels(), GREY + k)
        assert image.pixel_size == (0.25, 0.5)


def test_a_channel_of_an_ome_image_in_several_files_is_read_alone(tmp_path):
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{k}" for k in range(2)]
    planes = "".join(
        f'<TiffData FirstC="{k}" PlaneCount="1"><UUID FileName="c{k}.ome.tif">{uuid}</UUID></TiffData>'
        for k, uuid in enumerate(uuids)
    )
    for k, uuid in enumerate(uuids):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
            f'SizeX="6" SizeY="5" SizeZ="1" SizeC="2" SizeT="1">{planes}</Pixels></Image></OME>'
        )
        path = tmp_path / f"c{k}.ome.tif"
        tifffile.imwrite(path, (GREY + k).astype(np.uint16), description=xml, metadata=None)
    for k in range(2):
        path = tmp_path / f"c{k}.ome.tif"
        for file in (path, io.BytesIO(path.read_bytes())):
            np.testing.assert_array_equal(open_image(file).pixels(), GREY + k)


def test_channels_have_the_names_of_the_file(tmp_path):
    planes = np.stack([GREY, GREY + 1])
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata=names)
    assert open_image(tmp_path / "a.ome.tif", channel=0).channels == ("DAPI", "GFP")
    tifffile.imwrite(tmp_path / "b.tif", planes, imagej=True, metadata={"axes": "CYX", "Labels": ["a", "b"]})
    assert open_image(tmp_path / "b.tif", channel=0).channels == ("a", "b")
    tifffile.imwrite(tmp_path / "c.tif", planes, imagej=True, metadata={"axes": "CYX"})
    assert open_image(tmp_path / "c.tif", channel=0).channels == ("ch0", "ch1")


@pytest.mark.parametrize("unit", [1e300, 1e-20, 1e-300])
def test_values_beyond_single_precision(tmp_path, unit):
    tifffile.imwrite(tmp_path / "a.tif", GREY * unit)
    expected = as_rgb8(GREY.astype(np.float64))
    np.testing.assert_array_equal(as_rgb8(open_image(tmp_path / "a.tif").pixels()), expected)


def test_formats_that_are_not_read_are_named_once(tmp_path):
    touch(tmp_path, "a.png", "b.czi", "deep/c.ND2", "y.h5", ".e.lif", "z.gif")
    with pytest.warns(UserWarning, match="b.czi, deep/c.ND2, y.h5 and 1 more left out.*convert") as told:
        assert set(find_images([tmp_path])[1]) == {"a"}
    assert len(told) == 1
    (tmp_path / "b.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(ValueError, match="b.czi: .*unsupported format; convert it"):
        open_image(tmp_path / "b.czi")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match="b.h5: .*unsupported format; convert it"):
        open_image(tmp_path / "b.h5")


def test_linked_folders_are_searched_once(tmp_path):
    touch(tmp_path, "far/a.png", "near/b.png")
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "far" / "back").symlink_to(tmp_path / "near", target_is_directory=True)
    assert set(find_images([tmp_path / "near"])[1]) == {"b", "link/a"}


def test_links_to_files_that_are_not_there_are_named(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "b.tif").symlink_to(tmp_path / "annex" / "gone")
    (tmp_path / ".#notes").symlink_to("editor")
    for place in (tmp_path, f"{tmp_path}/*"):
        with pytest.warns(UserWarning, match="b.tif left out, links to files that are not there") as caught:
            assert set(find_images(place)[1]) == {"a"}
        assert len(caught) == 1
