import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# networks of tests are kept here, not in the user's own cache folder
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "user")

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from nuclei.data.samples import Sample, load_samples


@pytest.fixture(scope="session")
def sample():
    return load_samples("sample")


@pytest.fixture
def squares():
    """Four samples of 64 x 64 pixels; nucleus k is a square of its own brightness on black."""
    samples = []
    for k in range(4):
        image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int32)
        for nucleus, (top, left) in enumerate([(4 + k, 6), (30, 20 + k), (50, 50)], start=1):
            image[top : top + 9, left : left + 7] = 60 * nucleus + k
            labels[top : top + 9, left : left + 7] = nucleus
        samples.append(Sample(f"square-{k}", image, labels))
    return samples


@pytest.fixture
def folder(tmp_path, squares, monkeypatch):
    """The squares on disk in the official layout; the cache goes to a temporary place too."""
    monkeypatch.setattr("nuclei.common.ROOT", tmp_path)
    monkeypatch.setattr("nuclei.data.samples.ROOT", tmp_path)
    for s in squares:
        write_sample(tmp_path / "squares", s)
    return tmp_path / "squares"


@pytest.fixture
def model(tmp_path):
    """A model's folder for a stand-in that is loaded in its place."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"weights")
    (folder / "settings.json").write_text("{}")
    return folder


def write_sample(folder, sample):
    """Write a sample in the official layout, as an RGBA picture and one mask per nucleus."""
    for kind in ("images", "masks"):
        (folder / sample.id / kind).mkdir(parents=True)
    opaque = np.full((*sample.labels.shape, 1), 255, np.uint8)
    iio.imwrite(
        folder / sample.id / "images" / f"{sample.id}.png", np.concatenate([sample.image, opaque], axis=-1)
    )
    for k in range(1, sample.labels.max() + 1):
        mask = np.where(sample.labels == k, 255, 0).astype(np.uint8)
        iio.imwrite(folder / sample.id / "masks" / f"{k:04d}.png", mask)


def write_ome_set(folder, pictures):
    """Write positions p0, p1, … of an OME-TIFF set, a file each; a pixel is 0.25 µm high and 0.5 µm wide."""
    folder.mkdir(exist_ok=True)
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{k}" for k in range(len(pictures))]
    images = "".join(
        f'<Image ID="Image:{k}" Name="p{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYZCT" '
        f'Type="{picture.dtype}" SizeX="{picture.shape[1]}" SizeY="{picture.shape[0]}" SizeZ="1" SizeC="1" '
        f'SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.25"><Channel ID="Channel:{k}:0" '
        f'SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1"><UUID FileName="p{k}.ome.tif">{uuid}</UUID>'
        f"</TiffData></Pixels></Image>"
        for k, (picture, uuid) in enumerate(zip(pictures, uuids, strict=True))
    )
    for k, (picture, uuid) in enumerate(zip(pictures, uuids, strict=True)):
        schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
        xml = f'<?xml version="1.0"?><OME xmlns="{schema}" UUID="{uuid}">{images}</OME>'
        tifffile.imwrite(folder / f"p{k}.ome.tif", picture, description=xml, metadata=None)
