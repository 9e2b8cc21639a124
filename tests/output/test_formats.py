"""Label images, outlines and overlays, read back by the libraries of the programs they are meant for."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
import roifile
import shapely
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from shapely.geometry import shape

from nuclei.output.formats import write_geojson, write_labels, write_overlay, write_rois
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
    image = np.arange(30).reshape(5, 6, 1)
    table = measure(LABELS, image, np.full((5, 6), 0.5))
    write_geojson(tmp_path / "a.geojson", polygons(LABELS), table)
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
    write_rois(tmp_path / "a.zip", polygons(LABELS))
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
    write_geojson(tmp_path / "a.geojson", {})
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    write_rois(tmp_path / "a.zip", {})
    assert roifile.roiread(tmp_path / "a.zip") == []


@pytest.mark.parametrize("pixel_size", [None, 0.325])
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
            assert unit / tiff.pages[0].get_resolution()[0] == pytest.approx(pixel_size, rel=1e-6)
            assert not tiff.is_imagej or tiff.imagej_metadata["unit"] == "micron"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_overlays_keep_image_and_show_outlines(tmp_path, dtype):
    image, labels = np.zeros((700, 650), dtype), np.zeros((700, 650), int)
    image[200:300, 100:300], labels[200:300, 100:300] = 200, 1
    write_overlay(tmp_path / "a.png", image, labels)
    overlay = iio.imread(tmp_path / "a.png")
    assert overlay.shape == (700, 650, 3) and overlay.dtype == np.uint8
    assert (overlay[250, 200] > 250).all() and not overlay[50, 50].any()
    assert overlay[200, 200].tolist() == [0, 144, 224]
