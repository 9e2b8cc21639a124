"""Make data/sample/: one real field of view in four tiles and twelve synthetic images, all with labels.

Usage, after `pip download stardist==0.9.2 --no-deps`:

    python data/make_sample.py stardist-0.9.2-*.whl

The argument is the downloaded wheel. Only two of its images are read; stardist need not be installed. All
folders in data/sample/ are replaced.
"""

import argparse
import io
import shutil
import zipfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image
from synthetic import draw

SAMPLE = Path(__file__).resolve().parent / "sample"
# the image of stage1_train from which the field was cropped
FIELD = "4dbbb275960ab9e4ec2c66c8d3000f7c70c8dce5112df591b95db84e25efa6e9"
IMAGES = "stardist/data/images"  # in the wheel
TILE = 256  # pixels
SLIVER = 4  # pixels; smaller remains of a nucleus at a tile's edge are dropped

SYNTHETIC = (  # image type, seed, size in pixels
    ("small fluorescent", 1, 256),
    ("small fluorescent", 3, 256),
    ("small fluorescent", 2, 320),
    ("large fluorescent", 0, 256),
    ("large fluorescent", 2, 360),
    ("purple tissue", 2, 256),
    ("purple tissue", 4, 256),
    ("purple tissue", 3, 320),
    ("pink-and-purple tissue", 2, 256),
    ("pink-and-purple tissue", 1, 256),
    ("grayscale tissue", 2, 256),
    ("grayscale tissue", 3, 360),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make data/sample/ again.")
    parser.add_argument("stardist", type=Path, help="wheel of stardist 0.9.2")
    field, labels = read_field(parser.parse_args().stardist)
    for old in SAMPLE.glob("*/"):
        shutil.rmtree(old)
    for row in range(0, len(field), TILE):
        for column in range(0, len(field), TILE):
            tile = np.s_[row : row + TILE, column : column + TILE]
            write(f"{FIELD}-r{row // TILE}c{column // TILE}", field[tile], labels[tile])
    for image_type, seed, size in SYNTHETIC:
        image, labels = draw(image_type, seed, size)
        grey = np.ptp(image, axis=-1).max() == 0
        write(f"synthetic-{image_type.replace(' ', '-')}-{seed}", image[..., 0] if grey else image, labels)
    megabytes = sum(file.stat().st_size for file in SAMPLE.rglob("*") if file.is_file()) / 1e6
    print(f"{len(list(SAMPLE.glob('*/')))} images, {megabytes:.2f} MB in {SAMPLE}")


def read_field(stardist: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the field (512, 512) uint8 and its labels (512, 512) from the wheel."""
    with zipfile.ZipFile(stardist) as wheel:
        contents = [wheel.read(f"{IMAGES}/{name}.tif") for name in ("img2d", "mask2d")]
    field, labels = (iio.imread(io.BytesIO(content), extension=".tif") for content in contents)
    return field.astype(np.uint8), labels


def write(name: str, image: np.ndarray, labels: np.ndarray) -> None:
    """Write an image (H, W) or (H, W, 3) uint8, and one 1-bit mask per nucleus, in the data set's layout."""
    for kind in ("images", "masks"):
        (SAMPLE / name / kind).mkdir(parents=True)
    Image.fromarray(image).save(SAMPLE / name / "images" / f"{name}.png", optimize=True)
    numbers, areas = np.unique(labels[labels > 0], return_counts=True)
    for k, number in enumerate(numbers[areas >= SLIVER], start=1):
        mask = Image.fromarray(labels == number)
        mask.save(SAMPLE / name / "masks" / f"{k:03d}.png", optimize=True)


if __name__ == "__main__":
    main()
