"""Label images, outlines and overlays, read back by the libraries of the programs they are meant for."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
import roifile
import shapely
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from ome_zarr.format import FormatV04
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Reader
from ome_zarr.writer import write_image
from ome_zarr_models.v04.image_label import ImageLabel
from shapely.geometry import shape

from nuclei.images import open_image
from nuclei.images.reading import Image
from nuclei.output.formats import (
    DEFAULT,
    FORMATS,
    Result,
    chosen_formats,
    nuclei_rows,
    run_length_rows,
    summary_row,
    write_geojson,
    write_label_zarr,
    write_labels,
    write_overlay,
    write_rois,
)
from nuclei.output.measurements import measure
from nuclei.output.outlines import polygons

LABELS = np.array(
    [
        [0, 2, 2, 2, 0, 5],
        [0, 2, 0, 2, 0, 0],
        [0, 2, 2, 2, 0, 0],
        [9, 0, 0, 0, 9, 9],
        [0, 9, 0, 0, 9, 9],
    ],
    np.int32,
)
"""2 has a hole, 5 is one pixel in the corner, 9 is in three parts, two of which meet at a corner."""


def result(labels=LABELS, pixel_size=None, **options):
    """The nuclei of an image of one channel, each with a confidence of 0.5."""
    channels = np.arange(labels.size).reshape(*labels.shape, 1)
    image = Image(channels, ("ch0",), pixel_size=pixel_size)
    table = measure(labels, channels, np.full(labels.max(), 0.5))
    return Result("a", "a.png", image, labels, table, **options)


def drawn(outlines, shape):
    """Draw outlines anew: a pixel belongs to the one that contains its middle."""
    y, x = np.indices(shape) + 0.5
    labels = np.zeros(shape, int)
    for number, outline in outlines.items():
        labels[shapely.contains_xy(outline, x, y)] = number
    return labels


def test_outlines_by_hand():
    outlines = polygons(LABELS)
    assert list(outlines) == [2, 5, 9]
    assert outlines[2].equals(shapely.box(1, 0, 4, 3) - shapely.box(2, 1, 3, 2))
    assert outlines[5].equals(shapely.box(5, 0, 6, 1))
    assert outlines[9].geom_type == "MultiPolygon" and len(outlines[9].geoms) == 3
    assert polygons(np.zeros((3, 4), int)) == {}


@settings(deadline=None)
@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)))
def test_outlines_hold_the_pixels_and_nothing_else(labels):
    outlines = polygons(labels)
    np.testing.assert_array_equal(drawn(outlines, labels.shape), labels)
    for number, outline in outlines.items():
        assert outline.is_valid and outline.area == np.count_nonzero(labels == number)


def test_geojson_for_qupath(tmp_path):
    write_geojson(tmp_path / "a.geojson", result())
    content = json.loads((tmp_path / "a.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    outlines = {}
    for feature in content["features"]:
        properties = feature["properties"]
        assert (feature["type"], properties["objectType"]) == ("Feature", "detection")
        outlines[int(properties["name"])] = outline = shape(feature["geometry"])
        assert outline.is_valid and outline.area == properties["measurements"]["area_px"]
        assert properties["measurements"]["confidence"] == 0.5
    np.testing.assert_array_equal(drawn(outlines, LABELS.shape), LABELS)
    assert len(outlines[2].interiors) == 1


def test_regions_for_imagej(tmp_path):
    write_rois(tmp_path / "a.zip", result())
    rois = roifile.roiread(tmp_path / "a.zip")
    assert [roi.name for roi in rois] == ["2", "5", "9"]
    outlines = {}
    for roi in rois:
        outline = shapely.Polygon()
        for ring in roi.coordinates(multi=True):
            outline ^= shapely.Polygon(ring)  # a hole is inside two rings
        outlines[int(roi.name)] = outline
        assert (roi.left, roi.top, roi.right, roi.bottom) == outline.bounds
    np.testing.assert_array_equal(drawn(outlines, LABELS.shape), LABELS)


def test_without_nuclei(tmp_path):
    none = result(np.zeros((4, 5), int))
    write_geojson(tmp_path / "a.geojson", none)
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    write_rois(tmp_path / "a.zip", none)
    assert roifile.roiread(tmp_path / "a.zip") == []


@pytest.mark.parametrize("pixel_size", [None, (0.325, 0.325), (0.5, 0.25)])
@pytest.mark.parametrize("most, dtype", [(0, np.uint16), (65_535, np.uint16), (65_536, np.uint32)])
def test_label_images(tmp_path, pixel_size, most, dtype):
    labels = np.zeros((20, 30), np.int32)
    labels[3:7, 3:9] = most
    write_labels(tmp_path / "a.tif", labels, pixel_size)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.series[0].axes == "YX" and tiff.series[0].dtype == dtype
        np.testing.assert_array_equal(tiff.asarray(), labels)
        assert tiff.is_imagej == (dtype == np.uint16)
        if pixel_size:
            unit = 1 if tiff.is_imagej else 10_000
            x, y = (unit / each for each in tiff.pages[0].get_resolution())
            assert (y, x) == pytest.approx(pixel_size, rel=1e-6)
            assert not tiff.is_imagej or tiff.imagej_metadata["unit"] == "micron"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_overlays_keep_image_and_show_outlines(tmp_path, dtype):
    pixels, labels = np.zeros((700, 650, 1), dtype), np.zeros((700, 650), int)
    pixels[200:300, 100:300], labels[200:300, 100:300] = 200, 1
    write_overlay(tmp_path / "a.png", Result("a", "a.png", Image(pixels, ("ch0",)), labels, None))
    overlay = iio.imread(tmp_path / "a.png")
    assert overlay.shape == (700, 650, 3) and overlay.dtype == np.uint8
    assert (overlay[250, 200] > 250).all() and not overlay[50, 50].any()
    assert overlay[200, 200].tolist() == [0, 144, 224]


def test_small_images_are_enlarged(tmp_path):
    write_overlay(tmp_path / "a.png", result(np.zeros((30, 40), int)))
    assert min(iio.imread(tmp_path / "a.png").shape[:2]) >= 400


def test_outlines_are_computed_once_and_only_where_needed():
    one = result()
    assert "outlines" not in vars(one)
    assert one.outlines is one.outlines


def test_formats_are_chosen_by_name():
    assert chosen_formats("roi, labels") == ["labels", "roi"] == chosen_formats(["roi", "labels"])
    assert chosen_formats("all") == list(FORMATS) and chosen_formats(DEFAULT) == list(DEFAULT)
    for wrong, told in [("labels,paint", "paint"), ("", "empty"), ([], "no name"), ("labels,", "empty")]:
        with pytest.raises(ValueError, match=f"`save` has .*{told}"):
            chosen_formats(wrong)


def test_the_names_of_files():
    assert FORMATS["roi"].files == ["NAME_rois.zip"]
    assert FORMATS["measurements"].files == ["measurements.csv", "summary.csv"]


def test_rows_of_an_image_without_nuclei():
    none = result(np.zeros((4, 5), int))
    assert len(nuclei_rows(none)) == 0 and list(nuclei_rows(none))[:2] == ["image", "label"]
    assert run_length_rows(none).to_dict("records") == [{"ImageId": "a", "EncodedPixels": ""}]


def test_the_row_of_an_image():
    row = summary_row(result(scales=[1, 2], diameter=12.5, pixel_size=(0.5, 0.25))).iloc[0]
    assert list(row.index)[:4] == ["image", "file", "width_px", "height_px"]
    assert (row["scale"], row["median_diameter_px"], row["nuclei"]) == ("1 2", 12.5, 3)
    assert (row["pixel_height_um"], row["pixel_width_um"]) == (0.5, 0.25)


@pytest.mark.parametrize("pixel_size", [None, (0.5, 0.25)])
def test_labels_as_ome_zarr(tmp_path, monkeypatch, pixel_size):
    """Read as napari does, by ome-zarr-py, and checked against the specification by ome-zarr-models."""
    monkeypatch.setattr("nuclei.output.formats.CHUNK", 16)
    labels = np.kron(np.arange(1, 13).reshape(4, 3), np.ones((9, 13), int))
    labels[::2] = 0
    write_label_zarr(tmp_path / "a.zarr", labels, pixel_size)
    assert ImageLabel.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r")).attributes.image_label
    (node,) = Reader(parse_url(tmp_path / "a.zarr"))()
    assert [type(spec).__name__ for spec in node.specs] == ["Label", "Multiscales"]
    levels = [np.asarray(level) for level in node.data]
    assert levels[0].dtype == np.uint16 and len(levels) == 3
    for k, level in enumerate(levels):
        assert np.array_equal(level, labels[:: 2**k, :: 2**k])
        height, width = pixel_size or (1, 1)
        scale = [{"type": "scale", "scale": [2**k * height, 2**k * width]}]
        assert node.metadata["coordinateTransformations"][k] == scale
    units = [axis.get("unit") for axis in node.metadata["axes"]]
    assert units == (["micrometer"] * 2 if pixel_size else [None] * 2)
    assert open_image(tmp_path / "a.zarr").pixel_size == pixel_size


def test_labels_in_the_group_of_an_image(tmp_path):
    """Moved there as the page of the formats says, they are found beside the image."""
    write_image(np.zeros((30, 40), np.uint8), str(tmp_path / "a.zarr"), axes="yx", fmt=FormatV04())
    write_label_zarr(tmp_path / "a.zarr" / "labels" / "nuclei", np.eye(30, 40, dtype=int))
    zarr.open_group(tmp_path / "a.zarr" / "labels", zarr_format=2).attrs["labels"] = ["nuclei"]
    nodes = list(Reader(parse_url(tmp_path / "a.zarr"))())
    (found,) = [node for node in nodes if any(isinstance(spec, Label) for spec in node.specs)]
    assert np.array_equal(found.data[0], np.eye(30, 40))


def test_large_label_numbers_as_ome_zarr(tmp_path):
    write_label_zarr(tmp_path / "a.zarr", np.array([[0, 70_000]]))
    assert zarr.open_array(tmp_path / "a.zarr" / "0").dtype == np.uint32
