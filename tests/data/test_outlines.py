"""Outlines from Fiji and QuPath become the labels that they were drawn around."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from nuclei.data.outlines import labels_from_outlines
from nuclei.data.samples import load_samples
from nuclei.images import open_image
from nuclei.output.formats import Result, write_geojson, write_rois

SQUARE = [[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]


@pytest.fixture
def labels():
    """A ring with a nucleus in it, two touching ones, one in two parts, and one cut by the border."""
    labels = np.zeros((40, 50), np.int32)
    labels[2:12, 3:15] = 1
    labels[5:9, 6:11] = 0
    labels[6:8, 7:9] = 2
    labels[20:30, 10:20], labels[20:30, 20:25] = 3, 4
    labels[14:16, 30:34] = labels[16:18, 34:38] = 5
    labels[35:, 44:] = 6
    return labels


WRITERS = {"x.geojson": write_geojson, "x_rois.zip": write_rois}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read_back_exactly(tmp_path, monkeypatch, labels, name):
    monkeypatch.setattr("nuclei.data.samples.ROOT", tmp_path)
    folder = tmp_path / "own"
    folder.mkdir()
    image = (labels * 30).astype(np.uint8)
    tifffile.imwrite(folder / "x.tif", image)
    table = pd.DataFrame({"label": range(1, 7)})
    WRITERS[name](folder / name, Result("x", "x.tif", open_image(folder / "x.tif"), labels, table))
    (sample,) = load_samples(folder)
    assert sample.id == "x" and np.array_equal(sample.labels, labels)


def geojson(geometry, **feature):
    document = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "geometry": geometry} | feature],
    }
    return json.dumps(document).encode()


def test_the_nucleus_of_a_cell_counts_and_one_feature_needs_no_collection():
    square, cell = (
        {"type": "Polygon", "coordinates": [points]} for points in (SQUARE, [[0, 0], [9, 0], [9, 9]])
    )
    alone = json.dumps({"type": "Feature", "geometry": square}).encode()
    for content in (geojson(cell, nucleusGeometry=square), alone):
        labels = labels_from_outlines(content, "x.geojson", (10, 10))
        assert labels[1:4, 2:5].all() and labels.sum() == 9


def test_points_and_lines_among_outlines_are_ignored():
    square = {"type": "Polygon", "coordinates": [SQUARE]}
    shapes = [{"type": "Point", "coordinates": [1, 2]}, square, None]
    shapes += [{"type": "LineString", "coordinates": [[1, 2], [3, 4]]}]
    shapes += [{"type": "GeometryCollection", "geometries": []}]
    content = json.dumps({"features": [{"geometry": shape} for shape in shapes]}).encode()
    with pytest.warns(UserWarning, match="ignored Point 1, nothing 3, LineString 4 and 1 more"):
        labels = labels_from_outlines(content, "x.geojson", (10, 10))
    assert labels[1:4, 2:5].all() and labels.sum() == 9


def squares(*boxes):
    rings = [[[a, b], [c, b], [c, d], [a, d], [a, b]] for a, b, c, d in boxes]
    shapes = [{"geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]
    return json.dumps({"features": shapes}).encode()


def test_the_outline_of_a_region_around_nuclei_is_refused():
    small = [(2, 2, 5, 5), (8, 2, 11, 5), (2, 8, 5, 11)]
    assert labels_from_outlines(squares((1, 1, 7, 13), *small[:2]), "x.geojson", (20, 20)).max() == 3
    with pytest.raises(ValueError, match="x.geojson: the outline 1 encloses several others"):
        labels_from_outlines(squares((1, 1, 13, 13), *small), "x.geojson", (20, 20))


def test_what_other_programs_add_to_a_zip_of_regions(tmp_path):
    path = tmp_path / "x_rois.zip"
    roiwrite(path, [ImagejRoi(roitype=ROI_TYPE.RECT, top=1, left=2, bottom=4, right=5)])
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("__MACOSX/._1.roi", "._2.roi", "README.txt", "folder/"):
            archive.writestr(name, b"nothing")
    assert labels_from_outlines(path.read_bytes(), "X_RoIs.zip", (10, 10)).sum() == 9


def zipped(name, content, flag=0):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    written = bytearray(file.getvalue())
    written[6] = flag
    written[written.index(b"PK\1\2") + 8] = flag
    return bytes(written)


def test_lines_among_regions_are_ignored(tmp_path):
    line = ImagejRoi(roitype=ROI_TYPE.LINE, x1=1, y1=1, x2=5, y2=5, name="scale")
    square = ImagejRoi(roitype=ROI_TYPE.RECT, top=1, left=2, bottom=4, right=5)
    roiwrite(tmp_path / "x_rois.zip", [line, square])
    with pytest.warns(UserWarning, match=r"ignored line 1 \(scale\)"):
        labels = labels_from_outlines((tmp_path / "x_rois.zip").read_bytes(), "x_rois.zip", (10, 10))
    assert labels[1:4, 2:5].all() and labels.sum() == 9


def test_regions_that_were_drawn_by_hand(tmp_path):
    polygon = ImagejRoi.frompoints(np.array([[1.5, 1.5], [8.5, 1.5], [8.5, 8.5], [1.5, 8.5]]))
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, top=20, left=20, bottom=30, right=40)
    roiwrite(tmp_path / "x_rois.zip", [polygon, oval])
    labels = labels_from_outlines((tmp_path / "x_rois.zip").read_bytes(), "x_rois.zip", (50, 50))
    assert labels[5, 5] == 1 and (labels == 1).sum() in range(36, 65)
    assert labels[25, 30] == 2 and (labels == 2).sum() == pytest.approx(np.pi * 5 * 10, rel=0.1)


def on_plane(row, **position):
    """A square of 2 x 2 pixels, for ImageJ."""
    roi = ImagejRoi(roitype=ROI_TYPE.RECT, top=row, left=0, bottom=row + 2, right=2, name=str(row))
    for name, value in position.items():
        setattr(roi, name, value)
    return roi


def read_rois(tmp_path, rois, page):
    roiwrite(tmp_path / "x_rois.zip", rois, mode="w")
    content = (tmp_path / "x_rois.zip").read_bytes()
    return labels_from_outlines(content, "x_rois.zip", (10, 10), page)[::3, 0].tolist()


@pytest.mark.parametrize("axis", ["position", "z_position", "t_position"])
def test_outlines_of_the_page_are_read(tmp_path, axis):
    """ImageJ counts slices from 1; 0 is all of them."""
    rois = [on_plane(row, **{axis: number}) for row, number in ((0, 1), (3, 2), (6, 0))]
    assert read_rois(tmp_path, rois, page=0) == [1, 0, 2, 0]
    assert read_rois(tmp_path, rois, page=1) == [0, 1, 2, 0]
    assert read_rois(tmp_path, rois[1:], page=0) == [0, 1, 2, 0], "all lie on one plane"
    for page in (None, 2):
        with pytest.raises(ValueError, match="x_rois.zip: outlines on 2 planes"):
            read_rois(tmp_path, rois, page)


def test_outlines_along_two_axes_are_refused(tmp_path):
    rois = [on_plane(3 * k, z_position=1 + k % 2, t_position=1 + k // 2) for k in range(4)]
    assert read_rois(tmp_path, rois[:2], page=1) == [0, 1, 0, 0]
    for several in (rois, rois[2:]):  # page 1 of the second is at the first t
        with pytest.raises(ValueError, match="x_rois.zip: outlines on . planes"):
            read_rois(tmp_path, several, page=1)


def test_an_outline_of_qupath_without_a_plane_is_on_the_first():
    document = json.loads(squares((0, 0, 2, 2), (0, 3, 2, 5)))
    document["features"][1]["geometry"]["plane"] = {"c": -1, "z": 1, "t": 0}
    for page, expected in ((0, [1, 0]), (1, [0, 1])):
        labels = labels_from_outlines(json.dumps(document).encode(), "x.geojson", (10, 10), page)
        assert labels[[0, 3], 0].tolist() == expected


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("x.geojson", b"{", "no GeoJSON"),
        ("x.geojson", b'{"features": [3]}', "no GeoJSON"),
        ("x.geojson", geojson({"type": "Point", "coordinates": [1, 2]}), "only Point 1 without an area"),
        (
            "x.geojson",
            geojson({"type": "Polygon", "coordinates": [[[90, 90], [99, 90], [99, 99]]]}),
            "Polygon 1 covers no pixel of the image of 10 x 10",
        ),
        ("x.geojson", b"\x1f\x8b" + bytes(5000), "no GeoJSON .{,200}$"),
        ("x.geojson", b"[" * 100_000, "no GeoJSON"),
        ("x.geojson", geojson({"type": "Polygon"}), "no GeoJSON"),
        ("x.geojson", geojson({"type": "Polygon", "coordinates": [[1, 2]]}), "no GeoJSON"),
        ("x.geojson", geojson({"type": "Polygon", "coordinates": [[]]}), "only Polygon 1 without an area"),
        ("x_rois.zip", b"no zip", "cannot be read.*ROI Manager"),
        ("x_rois.zip", zipped("1.roi", b"Iout", flag=1), "cannot be read.*encrypted"),
        ("x_rois.zip", zipped("RoiSet.zip", b"Iout"), "cannot be read.*no .roi"),
    ],
)
def test_a_file_without_outlines(name, content, message):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        labels_from_outlines(content, name, (10, 10))


def test_a_line_is_no_nucleus(tmp_path):
    roiwrite(tmp_path / "x_rois.zip", [ImagejRoi(roitype=ROI_TYPE.LINE, x1=1, y1=1, x2=5, y2=5, name="a")])
    with pytest.raises(ValueError, match=r"x_rois.zip: only line 1 \(a\) without an area"):
        labels_from_outlines((tmp_path / "x_rois.zip").read_bytes(), "x_rois.zip", (10, 10))


def test_outlines_and_labels_of_one_image(tmp_path):
    for name in ("x.tif", "x_labels.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((40, 40), np.uint8))
    (tmp_path / "x.geojson").write_text("{}")
    with pytest.raises(ValueError, match="x.geojson and x_labels.tif for one image, expected one of them"):
        load_samples(tmp_path)
