"""How much faster are several processes, and are their results those of one?

    python benchmarks/cluster.py MODEL_FOLDER

Draws images of 2048 x 2048 pixels and segments them with `nuclei segment` in one process, and with --workers
1 and 2, each time into a new folder. Writes cluster.json beside this file: seconds with the start and without
it, memory of the largest process, and whether all files are those of one process, byte by byte.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import psutil
from synthetic import draw

from nuclei.common import versions, write_json
from nuclei.data.image_types import IMAGE_TYPES

IMAGES = 24
SIDE, TIMES = 2048, 4  # pixels; each drawing is repeated so often along a side


def draw_images(folder: Path, count: int) -> None:
    for k in range(count):
        image = draw(IMAGE_TYPES[k % len(IMAGE_TYPES)], k, SIDE // TIMES)[0]
        iio.imwrite(folder / f"{k:03}.png", np.tile(image, (TIMES, TIMES, 1)))


def segment(images: Path, out: Path, model: str, *words: str) -> dict:
    """Run the command; return its seconds, and the most memory that one of its processes took."""
    command = [sys.executable, "-m", "nuclei", "segment", images, "--out", out, "--model", model, *words]
    start, peak = time.perf_counter(), 0
    process = psutil.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            family = (process, *process.children(recursive=True))
            peak = max(peak, *(each.memory_info().rss for each in family))
        except psutil.Error:
            pass
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return {"seconds": round(time.perf_counter() - start, 1), "peak_memory_gb": round(peak / 1e9, 2)}


def results(out: Path) -> dict[Path, bytes]:
    paths = (path for path in out.rglob("*") if path.is_file() and ".done" not in path.parts)
    return {path.relative_to(out): path.read_bytes() for path in paths}


def main(model: str) -> None:
    found, megapixels = {}, SIDE**2 / 1e6
    with tempfile.TemporaryDirectory() as folder:
        images, one = Path(folder, "images"), Path(folder, "one_image")
        for place, count in ((images, IMAGES), (one, 1)):
            place.mkdir()
            draw_images(place, count)
        segment(one, Path(folder, "first"), model)  # converts the model, once on each machine
        ways = {"one process": (), "1 worker": ("--workers", "1"), "2 workers": ("--workers", "2")}
        for way, words in ways.items():
            begun = segment(one, Path(folder, f"{way}, begun"), model, *words)["seconds"]
            about = segment(images, Path(folder, way), model, *words)
            rate = (IMAGES - 1) * megapixels / (about["seconds"] - begun)
            found[way] = about | {"seconds_for_one_image": begun, "megapixels_per_second": round(rate, 2)}
        same = {way: results(Path(folder, way)) == results(Path(folder, "one process")) for way in ways}
    machine = {"processors": os.cpu_count(), "machine": platform.machine(), "versions": versions()}
    settings = {"images": IMAGES, "megapixels_each": megapixels}
    file = Path(__file__).with_suffix(".json")
    write_json(file, settings | {"ways": found, "same_files_as_one_process": same} | machine)
    print(file.read_text(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
