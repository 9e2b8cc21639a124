"""OME-Zarr as images: axes, pages, channels, pixel size, windows, addresses, and what is refused."""

import functools
import http.server
import threading

import numpy as np
import pytest
import zarr

from nuclei.images import open_image
from nuclei.images.finding import find_images

RNG = np.random.default_rng(0)
PLANES = RNG.integers(0, 60_000, (2, 3, 2, 40, 50)).astype(np.uint16)  # t, c, z, y, x


def write_zarr(
    path, pixels, axes, version="0.4", scale=(), unit="micrometer", channels=(), chunks="auto", **about
):
    """Write an OME-Zarr of one level by hand; `scale` is that of y and x."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=pixels, chunks=chunks)
    named = [{"name": axis, "type": {"t": "time", "c": "channel"}.get(axis, "space")} for axis in axes]
    for axis in named[-2:] if scale else ():
        axis["unit"] = unit
    change = [{"type": "scale", "scale": [1] * (len(axes) - 2) + list(scale or (1, 1))}]
    datasets = [{"path": "0", "coordinateTransformations": change}]
    content = {"multiscales": [{"version": version, "axes": named, "datasets": datasets}], **about}
    if channels:
        content["omero"] = {"channels": [{"label": label, "color": colour} for label, colour in channels]}
    group.attrs.put(content if version == "0.4" else {"ome": {"version": version, **content}})
    return path


@pytest.fixture(params=["0.4", "0.5"])
def write(request, tmp_path):
    return functools.partial(write_zarr, tmp_path / "a.zarr", version=request.param)


@pytest.mark.parametrize("limit", [2000, 1999], ids=["whole", "in windows"])
def test_a_channel_and_a_page_of_five_axes(write, monkeypatch, limit):
    monkeypatch.setattr("nuclei.images.ome_zarr.LARGE", limit)
    channels = [("DAPI", "0000FF"), ("A", ""), ("B", "")]
    path = write(PLANES, "tczyx", scale=(0.5, 0.25), chunks=(1, 1, 1, 16, 16), channels=channels)
    for page in range(4):
        with open_image(path, channel=1, page=page) as image:
            expected = PLANES[page // 2, :, page % 2]
            assert (image.shape, image.dtype, image.is_large) == ((40, 50), np.uint16, limit == 1999)
            assert image.channels == ("DAPI", "A", "B") and image.pixel_size == (0.5, 0.25)
            assert np.array_equal(image[7:31, 3:44], np.moveaxis(expected[:, 7:31, 3:44], 0, -1))
            assert np.array_equal(image.pixels(), expected[1])


@pytest.mark.parametrize(
    "pixels, axes",
    [
        (PLANES[0, 0, 0], "yx"),
        (PLANES[:1, :1, :1], "tczyx"),
        (PLANES[0, :1, 0], "cyx"),
        (PLANES[0, 0, :1], "zyx"),
    ],
)
def test_where_there_is_one_plane_nothing_is_chosen(write, pixels, axes):
    image = open_image(write(pixels, axes))
    assert image.channels == ("ch0",) and image.pixel_size is None
    assert np.array_equal(image.pixels(), PLANES[0, 0, 0])


def test_colours(write):
    channels = [("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")]
    pixels = RNG.integers(0, 255, (3, 40, 50)).astype(np.uint8)
    image = open_image(write(pixels, "cyx", channels=channels))
    assert np.array_equal(image.pixels(), np.moveaxis(pixels, 0, -1))
    with pytest.raises(ValueError, match="3 channels were found"):
        open_image(write(pixels.astype(np.uint16), "cyx", channels=channels))


def test_other_units_and_bytes(write):
    image = open_image(write(PLANES[0, 0, 0].astype(">u2"), "yx", scale=(250, 500), unit="nanometer"))
    assert image.pixel_size == pytest.approx((0.25, 0.5)) and image.dtype == np.dtype("uint16")
    assert image.pixels().dtype.isnative and np.array_equal(image.pixels(), PLANES[0, 0, 0])
    assert open_image(write(PLANES[0, 0, 0], "yx", scale=(1, 1), unit="second")).pixel_size is None
    for unit, said in (("thou", "'thou'"), ("", "no unit")):
        image = open_image(write(PLANES[0, 0, 0], "yx", scale=(2, 2), unit=unit))
        assert image.pixel_size is None and said in image.note


@pytest.mark.parametrize(
    "pixels, axes, choice, found",
    [
        (
            PLANES,
            "tczyx",
            {"channel": 0},
            "a stack of 4 pages was found .axes tczyx of shape .2, 3,",
        ),
        (PLANES, "tczyx", {"page": 4}, "`page` 4 was asked for.*0 to 3"),
        (PLANES, "tczyx", {"page": 0}, "3 channels were found .axes tczyx.*0 to 2"),
        (PLANES, "tczyx", {"page": 0, "channel": 3}, "`channel` 3 was asked for, there are 3"),
        (PLANES[0, 0, 0].astype(complex), "yx", {}, "values of type complex128"),
        (np.full((9, 9), np.nan), "yx", {}, "values are NaN"),
        (PLANES[0, 0, 0], "xy", {}, "expected y and x as the last"),
    ],
)
def test_what_cannot_be_read_is_named(write, pixels, axes, choice, found):
    path = write(pixels, axes)
    with pytest.raises(ValueError, match=f"{path}: .*{found}"):
        open_image(path, **choice)


def test_a_zarr_without_multiscales(tmp_path):
    path = tmp_path / "plate.zarr"
    zarr.open_group(path, mode="w").create_group("A")
    with pytest.raises(ValueError, match="plate.zarr: a Zarr group without multiscales.*it holds A"):
        open_image(path)
    zarr.create_array(tmp_path / "array.zarr", shape=(9, 9), dtype="uint8")
    with pytest.raises(ValueError, match="array.zarr: an array was found"):
        open_image(tmp_path / "array.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match="empty.zarr: cannot be read as an image"):
        open_image(tmp_path / "empty.zarr")


def test_chunks_as_large_as_a_large_image(write, monkeypatch):
    monkeypatch.setattr("nuclei.images.ome_zarr.LARGE", 40 * 50 - 1)
    with pytest.raises(ValueError, match="chunks of 40 x 50 pixels.*smaller chunks"):
        open_image(write(PLANES[0, 0, 0], "yx", chunks=(40, 50)))
    with open_image(write(PLANES[0, 0, 0], "yx", chunks=(20, 50))) as image:
        assert image.is_large


def test_a_zarr_in_a_folder_is_one_image(tmp_path, recwarn):
    for name in ("below/a.zarr", "b.zarr", "b_labels.zarr", ".c.zarr", "d.ZARR"):
        write_zarr(tmp_path / name, PLANES[0, 0, 0], "yx")
    assert set(find_images([tmp_path])[1]) == {"below/a", "b", "d"}
    assert not any("left out" in str(each.message) for each in recwarn)
    assert set(find_images([tmp_path / "b.zarr"])[1]) == {"b"}
    assert set(find_images([tmp_path / "*.zarr"])[1]) == {"b"}


def test_addresses(tmp_path):
    write_zarr("memory://shelf/a.zarr", PLANES[0, 0, 0], "yx")
    root, found = find_images(["memory://shelf/a.zarr"])
    assert found == {"a": "memory://shelf/a.zarr"}
    assert np.array_equal(open_image(found["a"]).pixels(), PLANES[0, 0, 0])
    with pytest.raises(ValueError, match="memory://shelf/b.zarr: cannot be read as an image"):
        open_image("memory://shelf/b.zarr")
    names = find_images(["memory://one/a.zarr", "memory://two/a.zarr", tmp_path / "a.png"][:2])[1]
    assert set(names) == {"one/a", "two/a"}


def test_a_server(tmp_path, monkeypatch):
    write_zarr(tmp_path / "a.zarr", PLANES[0, 0, 0], "yx", chunks=(20, 20))
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(quiet, directory=tmp_path)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.zarr"
        assert np.array_equal(open_image(address).pixels(), PLANES[0, 0, 0])
        monkeypatch.setattr("nuclei.images.ome_zarr.LARGE", 999)
        large = open_image(address)
        server.shutdown()
    with pytest.raises((ValueError, OSError)):
        open_image(address)
    with pytest.raises(ValueError, match=f"{address}: Cannot connect"):
        large[:9, :9]
