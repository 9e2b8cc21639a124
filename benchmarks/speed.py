"""How fast is it, beside what a user would pick instead, and how do time and memory grow?

    make benchmark                               # all parts, less than twenty minutes on two cores
    make benchmark ONLY="--only network,memory"  # some, again or for the first time
    make benchmark ONLY="--tiny --out runs/speed.json"  # a rehearsal

What is compared is run in turn, five times after one round that does not count; seconds are medians, and a
ratio is the median of the rounds' ratios. Each part is written to speed.json when it is done, and the figure
speed.png is drawn from the file. Images are validation images of the data set where it is in data/, else the
sample. Nothing else should run meanwhile: the load of the machine before each part is noted.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import imageio.v3 as iio
import numpy as np
import psutil
import tifffile
from matplotlib.figure import Figure
from synthetic import draw

from nuclei.common import DEFAULT_MODEL, ROOT, model_folder, versions, write_json
from nuclei.data.image_types import IMAGE_TYPES
from nuclei.data.samples import Sample, load_samples
from nuclei.data.splits import is_seen
from nuclei.evaluation.metrics import competition_score, match
from nuclei.figures.colours import PREDICTION, TRAINING
from nuclei.figures.style import WIDTH, save, styled
from nuclei.images.reading import WHOLE, open_image

MODEL = model_folder(DEFAULT_MODEL)
SEGMENT = [sys.executable, "-m", "nuclei", "segment"]
EXACT = """
import sys
from functools import partial
from nuclei.cli import main
from nuclei.segmentation import model_folder

model_folder.StoredNetwork = partial(model_folder.StoredNetwork, exact=True)
sys.exit(main())
"""
PLAIN = [sys.executable, ROOT / "benchmarks" / "plain_loop.py", MODEL / "model.keras"]


@dataclass
class Sizes:
    """How much is measured."""

    tiny: bool = False
    repeats: int = 5
    images: int = 44
    sides: tuple = (256, 512, 1024)
    megapixels: tuple = (1, 16, 100, 400)
    grown: tuple = (256, 512, 1024, 2048)
    counts: tuple = (100, 400, 1600, 6400)
    files: tuple = (5, 10, 20, 40)


TINY = Sizes(True, 1, 2, (64, 128), (0.1, 0.2), (64, 128), (4, 16), (1, 2))


def in_turn(repeats: int, **runs: Callable[[], Any]) -> dict[str, Any]:
    """Run functions in turn, one round of which does not count, and return the median seconds of each.

    ``ratio`` is how many times faster the first is than each of the others.
    """
    rounds: list[dict[str, float]] = []
    for _ in range(repeats + 1):
        rounds.append({})
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            rounds[-1][name] = time.perf_counter() - start
    first, *others = runs
    ratios = {name: median(each[name] / each[first] for each in rounds[1:]) for name in others}
    return {
        "seconds": {name: round(median(each[name] for each in rounds[1:]), 4) for name in runs},
        "ratio": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def run(words: list, **environment: str) -> None:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr}")


def samples(sizes: Sizes) -> list[Sample]:
    """Return every third validation image of the data set; where it is not there, the sample."""
    if not (ROOT / "data" / "stage1_train.zip").exists():
        return load_samples("sample")[: sizes.images]
    ids = set(json.loads((MODEL / "split.json").read_text())["validation"])
    return [s for s in load_samples("dsb2018") if is_seen(s, ids)][::3][: sizes.images]


def processes(sizes: Sizes) -> dict:
    """`nuclei segment`, also in 32 bits, against the loop that a user would write: whole processes."""
    known = samples(sizes)
    with TemporaryDirectory() as folder:
        images, *outs = (Path(folder) / name for name in ("images", "segment", "exact", "plain"))
        ours, exact, plain = outs
        images.mkdir()
        for s in known:
            iio.imwrite(images / f"{s.id}.png", s.image)
        options = ["--save", "labels", "--overwrite"]
        timed = in_turn(
            sizes.repeats,
            segment=lambda: run([*SEGMENT, images, "--out", ours, *options]),
            exact=lambda: run([sys.executable, "-c", EXACT, "segment", images, "--out", exact, *options]),
            plain=lambda: run([*PLAIN, images, plain]),
        )
        scores = {
            out.name: competition_score(
                [match(s.labels, open_image(out / f"{s.id}_labels.tif").pixels()) for s in known]
            )
            for out in outs
        }
    megapixels = sum(s.labels.size for s in known) / 1e6
    rates = {name: round(megapixels / seconds, 3) for name, seconds in timed["seconds"].items()}
    return {"images": len(known), "megapixels": megapixels, "scores": scores, **timed, "rates": rates}


@contextmanager
def stardist() -> Iterator[dict[str, Callable[[int], Any]]]:
    """Yield what runs StarDist's network on an image of so many pixels a side.

    It is there if the variable STARDIST names the folder of its environment, see `peers/stardist.py`.
    """
    if not (folder := os.environ.get("STARDIST")):
        yield {}
        return
    words = [Path(folder) / "bin" / "python", "-P", ROOT / "benchmarks" / "peers" / "stardist.py", "speed"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout

        def run(side: int) -> None:
            print(side, file=process.stdin, flush=True)
            while process.stdout.readline() != "done\n":
                if process.poll() is not None:
                    raise RuntimeError("StarDist's process has ended")

        yield {"stardist": run}
        process.stdin.close()


def network(sizes: Sizes) -> dict:
    """The network alone, by engine and size of the image, against Keras' `predict` and StarDist's network."""
    from nuclei.segmentation.inference import StoredNetwork, compiled

    path = MODEL / "model.keras"
    os.environ["NUCLEI_ENGINE"] = "openvino"
    fast, exact = StoredNetwork(path), StoredNetwork(path, exact=True)
    keras_model = fast.keras
    engines = {
        "openvino": compiled(fast),
        "openvino, 32 bits": compiled(exact),
        "tensorflow": compiled(keras_model),
        "keras predict": lambda batch: keras_model.predict(batch.astype(np.float32), verbose=0),
    }
    found = {}
    with stardist() as peer:
        for side in sizes.sides:
            batch = np.random.default_rng(0).integers(0, 256, (1, side, side, 3)).astype(np.uint8)
            each = {name: partial(engine, batch) for name, engine in engines.items()}
            timed = in_turn(sizes.repeats, **each, **{name: partial(run, side) for name, run in peer.items()})
            rates = {name: round(side**2 / 1e6 / seconds, 3) for name, seconds in timed["seconds"].items()}
            found[str(side)] = timed | {"megapixels_per_second": rates}
    return found


def stages(sizes: Sizes) -> dict:
    """The steps of one image, and the share of a run's time in which the network computes."""
    from nuclei.output.formats import FORMATS, Result
    from nuclei.output.measurements import measure
    from nuclei.segmentation.candidates import suppress_overlaps
    from nuclei.segmentation.inference import StoredNetwork
    from nuclei.segmentation.segmenter import Segmenter
    from nuclei.workflows.segment import segment

    known = samples(sizes)
    segmenter, s = Segmenter.load(MODEL), max(known, key=lambda s: s.labels.size)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        iio.imwrite(path, s.image)
        image = open_image(path)
        maps = segmenter.predict_maps(s.image)
        found = segmenter.candidates(maps)
        labels, ious = suppress_overlaps(*found, **segmenter.settings["thresholds"])
        table = measure(labels, image[WHOLE], ious)
        result = Result("image", path.name, image, labels, table)
        writers = {
            f"writing {name}": lambda write=each.write: write(Path(mkdtemp(dir=folder)) / "written", result)
            for name, each in FORMATS.items()
            if each.write
        }
        one = in_turn(
            sizes.repeats,
            maps=lambda: segmenter.predict_maps(s.image),
            reading=lambda: open_image(path).pixels(),
            candidates=lambda: segmenter.candidates(maps),
            overlaps=lambda: suppress_overlaps(*found, **segmenter.settings["thresholds"]),
            measurements=lambda: measure(labels, image[WHOLE], ious),
            **writers,
        )
        calls, call = [], StoredNetwork.__call__

        def timed(stored, batch, training=False):
            start = time.perf_counter()
            maps = call(stored, batch, training)
            calls.append((start, time.perf_counter()))
            return maps

        for k, each in enumerate(known):
            iio.imwrite(path.with_name(f"{k}.png"), each.image)
        StoredNetwork.__call__ = timed  # type: ignore[method-assign]
        start = time.perf_counter()
        segment(folder, Path(folder) / "out", MODEL, save="labels")
        wall, busy, end = time.perf_counter() - start, 0.0, 0.0
    for begun, ended in sorted(calls):  # threads that wait for the network are in a call, too
        busy += max(0.0, ended - max(begun, end))
        end = max(end, ended)
    about = {"shape": labels.shape, "nuclei": len(table), "network_share_of_a_run": round(busy / wall, 3)}
    return about | one


def startup(sizes: Sizes) -> dict:
    """One small image, whole process, by each engine; and what importing TensorFlow takes."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "image.png", Path(folder) / "out"
        iio.imwrite(path, draw(next(iter(IMAGE_TYPES)), 0, 64 if sizes.tiny else 384)[0])
        words = [*SEGMENT, path, "--out", out, "--overwrite"]
        return in_turn(
            sizes.repeats,
            openvino=lambda: run(words, NUCLEI_ENGINE="openvino"),
            tensorflow=lambda: run(words, NUCLEI_ENGINE="tensorflow"),
            importing_tensorflow=lambda: run([sys.executable, "-c", "import tensorflow"]),
            importing_nuclei=lambda: run([sys.executable, "-c", "import nuclei"]),
        )


def training(sizes: Sizes) -> dict:
    """A step of training with the default model's network, beside the drawing of its batch."""
    import keras

    from nuclei.training.augmentation import AUGMENTS
    from nuclei.training.batches import draw_batch
    from nuclei.training.targets import interior_target

    network = keras.saving.load_model(MODEL / "model.keras", compile=False)
    network.compile("adam", "binary_crossentropy")
    known = samples(sizes)
    augment = AUGMENTS["colour_jitter_half"]
    options = {"batch_size": 2, "size": 64} if sizes.tiny else {"batch_size": 16, "size": 192}
    options |= {"steps": 1, "augment": augment, "target": interior_target}
    batch = draw_batch(known, 0, **options)
    return in_turn(
        sizes.repeats,
        step=lambda: network.train_on_batch(*batch),
        drawing_a_batch=lambda: draw_batch(known, 0, **options),
    )


def dataset(sizes: Sizes) -> dict:
    """Loading the sample from the cache, and from its files."""
    from nuclei.data import samples as module

    with TemporaryDirectory() as folder:
        link = Path(folder) / "data" / "sample"
        link.parent.mkdir()
        link.symlink_to(ROOT / "data" / "sample")

        def uncached():
            module.ROOT = Path(folder)
            for file in Path(folder).glob("data/cache/*"):
                file.unlink()
            load_samples("sample")
            module.ROOT = ROOT

        return in_turn(sizes.repeats, cached=lambda: load_samples("sample"), files=uncached)


def spots(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return maps, (H, W, 2) float32, and the image of `count` round nuclei, each in 32 x 32 pixels."""
    columns = int(np.sqrt(count))
    y, x = np.mgrid[-16:16, -16:16]
    depth = np.clip(1.2 - np.hypot(y, x) / 12, 0, 1).astype(np.float32)
    maps = np.stack([np.tile(plane, (count // columns, columns)) for plane in (depth**0.5, depth)], axis=-1)
    return maps, (maps[..., :1] * 255).astype(np.uint8).repeat(3, axis=-1)


def growth(sizes: Sizes) -> dict:
    """Seconds by the number of images, of pixels, and of nuclei; an exponent of 1 is a straight line."""
    from nuclei.segmentation.segmenter import Maps, Segmenter
    from nuclei.workflows.segment import segment

    segmenter = Segmenter.load(MODEL)
    drawings = {side: draw(next(iter(IMAGE_TYPES)), 0, side)[0] for side in sizes.grown}
    maps = {count: Maps(image, maps) for count in sizes.counts for maps, image in [spots(count)]}
    found = {}
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.png" for k in range(max(sizes.files))]
        for path in paths:
            iio.imwrite(path, drawings[sizes.grown[0]])
        out = {"out": Path(folder) / "out", "model": MODEL, "save": "labels", "overwrite": True}
        runs: dict[str, dict[int, Callable]] = {
            "images": {n: partial(segment, paths[:n], **out) for n in sizes.files},
            "pixels": {side**2: partial(segmenter.predict, d, scale=1) for side, d in drawings.items()},
            "nuclei": {count: partial(segmenter.label, each) for count, each in maps.items()},
        }
        for name, each in runs.items():
            timed = in_turn(sizes.repeats, **{str(size): run for size, run in each.items()})["seconds"]
            exponent = np.polyfit(np.log(list(each)), np.log(list(timed.values())), 1)[0]
            found[name] = {"seconds": timed, "exponent": round(float(exponent), 2)}
    return found


def memory(sizes: Sizes) -> dict:
    """Peak memory and seconds of `nuclei segment` on drawn TIFFs, whole processes, at native scale."""
    drawings = [draw(image_type, 0, 512)[0] for image_type in IMAGE_TYPES]
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    found = {}
    for megapixels in sizes.megapixels:
        side = round(np.sqrt(megapixels * 1e6))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "image.tif"
            image = tifffile.memmap(path, shape=(side, side, 3), dtype=np.uint8, photometric="rgb")
            for k, (y, x) in enumerate(np.ndindex(-(-side // 512), -(-side // 512))):
                block = image[512 * y : 512 * (y + 1), 512 * x : 512 * (x + 1)]
                block[:] = drawings[k % len(drawings)][: block.shape[0], : block.shape[1]]
            image.flush()
            words = [*SEGMENT, path, "--out", Path(folder) / "out", "--scale", "1", "--save", "labels"]
            start = time.perf_counter()
            process = subprocess.Popen(
                list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
        if status:
            raise RuntimeError(f"{words} failed")
        found[str(megapixels)] = {"gb": round(usage.ru_maxrss * unit / 1e9, 2), "seconds": round(seconds, 1)}
    return found


ENGINES = {"openvino": "OpenVINO", "openvino, 32 bits": "OpenVINO, 32 bits", "tensorflow": "TensorFlow"}
ENGINES |= {"keras predict": "Keras predict", "stardist": "StarDist"}

PARTS = {
    part.__name__: part for part in (processes, network, stages, startup, training, dataset, growth, memory)
}


def machine() -> dict:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line]
    flags = " ".join(line for line in _lines("/proc/cpuinfo") if line.startswith("flags"))
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "bfloat16": "bf16" in flags,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


@styled
def figure(found: dict, path: Path) -> None:
    """Draw what the file holds: whole processes, the network, growth, memory."""
    drawn = Figure((WIDTH, 5.5))
    (whole, rates), (growing, peaks) = drawn.subplots(2, 2)
    if each := found.get("processes"):
        names = {"plain": "plain loop", "segment": "nuclei segment"}
        bars = whole.barh(
            list(names.values()), [each["seconds"][key] for key in names], color=[TRAINING, PREDICTION]
        )
        whole.bar_label(bars, [f" score {each['scores'][key]:.3f}" for key in names])
        whole.set(title=f"{each['images']} images, whole processes", xlabel="seconds")
        whole.margins(x=0.3)
    if each := found.get("network"):
        for engine, marker in zip(next(iter(each.values()))["seconds"], "osD^v", strict=False):
            y = [by_engine["megapixels_per_second"][engine] for by_engine in each.values()]
            rates.plot(list(map(int, each)), y, marker=marker, label=ENGINES.get(engine, engine))
        rates.set(title="the network alone", xlabel="side of the image, pixels")
        rates.set_ylabel("megapixels a second")
        rates.set_ylim(0, 1.5 * rates.dataLim.ymax)
        rates.legend(loc="upper left", ncols=2)
    for (name, each), marker in zip(found.get("growth", {}).items(), "osD", strict=False):
        x, y = zip(*((float(size), seconds) for size, seconds in each["seconds"].items()), strict=True)
        growing.loglog(np.divide(x, x[0]), y, marker=marker, label=f"{name}, exponent {each['exponent']}")
        growing.set(title="growth", xlabel="times as many", ylabel="seconds")
        growing.legend()
    if each := found.get("memory"):
        peaks.plot(list(map(float, each)), [one["gb"] for one in each.values()], marker="o")
        peaks.set(title="peak memory", xlabel="megapixels", ylabel="GB", xscale="log")
        peaks.set_ylim(0, 1.1 * peaks.dataLim.ymax)
    for logarithmic in (growing.xaxis, growing.yaxis, peaks.xaxis):
        logarithmic.set_major_formatter("{x:g}")
        logarithmic.set_minor_formatter("")
    save(drawn, path)


def main() -> str | None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if unknown := {*arguments.only.split(",")} - {*PARTS}:
        parser.error(f"--only {', '.join(unknown)}: expected some of {', '.join(PARTS)}")
    sizes = TINY if arguments.tiny else Sizes()
    failed = []
    for name in arguments.only.split(","):
        load, start = psutil.getloadavg()[0], time.perf_counter()
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
                found = child.submit(PARTS[name], sizes).result()
        except Exception:  # the other parts are worth having
            traceback.print_exc()
            failed.append(name)
            continue
        known = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        loads = known.get("load_before", {}) | {name: round(load, 2)}
        about = {"machine": machine(), "repeats": sizes.repeats, "load_before": loads}
        write_json(arguments.out, known | about | {name: found})
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.out.exists():
        figure(json.loads(arguments.out.read_text()), arguments.out.with_suffix(".png"))
    return f"failed: {', '.join(failed)}" if failed else None


if __name__ == "__main__":
    sys.exit(main())
