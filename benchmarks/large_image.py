"""How much time and memory does a large RGB TIFF take?

    python benchmarks/large_image.py MODEL_FOLDER

Draws nuclei of all image types into an uncompressed TIFF (20,000 x 20,000 pixels are 1.2 GB), segments it
tile by tile as `nuclei segment` does, in a process of its own so that nothing else is measured, and writes
large_image.json beside this file. The image is segmented at native scale. Needs 3 GB in the folder for
temporary files (the environment variable TMPDIR). With --zarr it is an OME-Zarr, and so are its labels.
"""

import argparse
import math
import os
import platform
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tifffile
import zarr
from synthetic import draw

from nuclei.common import write_json
from nuclei.data.image_types import IMAGE_TYPES
from nuclei.images import open_image
from nuclei.images.tiles import blocks
from nuclei.output.formats import write_label_zarr, write_labels
from nuclei.workflows.large_images import segment_large

BLOCK = 512  # pixels, the side of a drawing


def write_image(path: Path, side: int) -> None:
    """Fill a TIFF, or an OME-Zarr chunk by chunk, with drawings in random order."""
    drawings = [draw(image_type, seed, BLOCK)[0] for image_type in IMAGE_TYPES for seed in range(3)]
    rng = np.random.default_rng(0)
    if path.suffix == ".zarr":
        group = zarr.open_group(path, mode="w", zarr_format=2)
        pixels = group.create_array("0", shape=(3, side, side), chunks=(3, BLOCK, BLOCK), dtype="uint8")
        axes = [{"name": "c", "type": "channel"}, *({"name": axis, "type": "space"} for axis in "yx")]
        change = [{"type": "scale", "scale": [1, 1, 1]}]
        datasets = [{"path": "0", "coordinateTransformations": change}]
        colours = {"channels": [{"label": c, "color": c} for c in ("FF0000", "00FF00", "0000FF")]}
        about = {"version": "0.4", "axes": axes, "datasets": datasets}
        group.attrs.put({"multiscales": [about], "omero": colours})
    else:
        whole = tifffile.memmap(path, shape=(side, side, 3), dtype=np.uint8, photometric="rgb")
        pixels = np.moveaxis(whole, -1, 0)
    for rows, columns in chain(*blocks((side, side), BLOCK)):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        drawing = drawings[rng.integers(len(drawings))][:height, :width]
        pixels[:, rows, columns] = np.moveaxis(drawing, -1, 0)


def label(path: Path, model: str) -> dict:
    """Segment the image at `path`, and return time and memory."""
    from nuclei.common import versions
    from nuclei.segmentation.segmenter import Segmenter

    segmenter = Segmenter.load(model)
    start = time.perf_counter()
    with open_image(path) as image:
        found = segment_large(image, segmenter, path.with_name("working"), scale=1)
        writer = write_label_zarr if path.suffix == ".zarr" else write_labels
        writer(path.with_name(f"labels{path.suffix}"), found.labels)
        megapixels = math.prod(image.shape) / 1e6
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    return {
        "megapixels": megapixels,
        "nuclei": len(found.table),
        "seconds": round(seconds, 1),
        "megapixels_per_second": round(megapixels / seconds, 3),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a trained model")
    parser.add_argument("--side", type=int, default=20_000, help="pixels (%(default)s)")
    parser.add_argument("--zarr", action="store_true", help="an OME-Zarr instead of a TIFF, in and out")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("image.zarr" if arguments.zarr else "image.tif")
        write_image(path, arguments.side)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
            found = child.submit(label, path, arguments.model).result()
    settings = {name: getattr(arguments, name) for name in ("model", "side", "zarr")}
    write_json(arguments.out, settings | found)
    print(arguments.out.read_text(), end="")


if __name__ == "__main__":
    main()
