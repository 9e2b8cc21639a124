import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# networks of tests are kept here, not in the user's own cache folder
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "user")

import imageio.v3 as iio
import numpy as np
import pytest

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
