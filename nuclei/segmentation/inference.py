"""A network as one compiled function for inputs of all sizes: by OpenVINO, or by TensorFlow."""

import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING

import numpy as np
from platformdirs import user_cache_path

from nuclei.common import quiet, replacing

if TYPE_CHECKING:
    import keras  # takes seconds to import

ENGINES = ("openvino", "tensorflow")

FIRST_INFERENCE = Lock()
"""Held during the first inference of a thread: if OpenVINO's first two run at once, both may wait forever."""

CACHED = 20  # networks that are kept in the user's cache folder, the latest ones


def engine() -> str:
    """Return what runs the networks of a model folder, one of ENGINES.

    OpenVINO where it is installed, unless the environment variable NUCLEI_ENGINE names the other; ValueError
    where it names neither, ModuleNotFoundError where the one that it names is not installed.
    """
    chosen = os.environ.get("NUCLEI_ENGINE") or next(name for name in ENGINES if find_spec(name))
    if chosen not in ENGINES:
        raise ValueError(f"NUCLEI_ENGINE is {chosen!r}, expected one of {', '.join(ENGINES)}")
    if not find_spec(chosen):
        raise ModuleNotFoundError(f"NUCLEI_ENGINE is {chosen}, which is not installed: pip install {chosen}")
    return chosen


def compiled(network: Callable) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a network on a batch, any numbers -> float32.

    A Keras model is traced once, for all sizes, when the function is first called; results differ from the
    network's own by rounding. Another function, such as a `StoredNetwork`, is called as it is.
    """
    if not hasattr(network, "input_shape"):
        return lambda batch: np.asarray(network(batch.astype(np.float32), training=False))
    run = _traced(network)
    return lambda batch: run(batch.astype(np.float32)).numpy()


def _traced(network: "keras.Model") -> Callable:
    import tensorflow as tf

    signature = [tf.TensorSpec(network.input_shape, tf.float32, "input")]
    return tf.function(lambda batch: network(batch, training=False), signature, autograph=False)


class StoredNetwork:
    """A network in a .keras file, called as a Keras model is: by `engine`, float32 -> float32.

    OpenVINO reads a copy in its own format, which is made once and kept in the user's cache folder, under a
    name that changes with the file and with the versions of the libraries. Then Keras and TensorFlow, which
    take seconds to import, are not needed.

    path : Path
    exact : bool; whether to compute in 32 bits even where the processor has 16-bit floats (bfloat16), which
        are twice as fast
    callers : int; about how many threads will call it at the same time. A single one uses all processors,
        several share them, which is faster for small images. The results are the same.
    part : callable, optional; returns a part of the Keras model as a model, which is called in its place

    ``channels`` are the lengths of the last axis of its input and of its output.
    """

    def __init__(self, path: Path, exact: bool = False, callers: int = 1, part: Callable | None = None):
        self.path, self.part = path, part
        self.channels: tuple[int, int]
        if engine() == "openvino":
            self._run, self.channels = self._by_openvino(exact, callers)
        else:
            self._run = compiled(self.keras)
            self.channels = self.keras.input_shape[-1], self.keras.output_shape[-1]

    def __call__(self, batch: np.ndarray, training: bool = False) -> np.ndarray:
        return self._run(batch)

    @cached_property
    def keras(self) -> "keras.Model":
        """The network as a Keras model, without its optimizer; ValueError where the file is damaged."""
        if not zipfile.is_zipfile(self.path):  # Keras would say that it is not there
            size = f"{self.path.stat().st_size:,} bytes"
            raise ValueError(f"{self.path.name} is damaged: {size}, which are no complete .keras file")
        with quiet():
            import keras

        network = keras.saving.load_model(self.path, compile=False)
        return self.part(network) if self.part else network

    def _by_openvino(self, exact: bool, callers: int) -> tuple[Callable, tuple[int, int]]:
        # OpenVINO reports to its makers each time it is imported, unless there is no module of this name
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        core, own = openvino.Core(), local()
        fast = not exact and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options: dict = {"INFERENCE_PRECISION_HINT": "bf16" if fast else "f32", "PERFORMANCE_HINT": "LATENCY"}
        if callers > 1:
            options |= {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": callers}
        ready = core.compile_model(self._converted(core), "CPU", options)

        def run(batch: np.ndarray) -> np.ndarray:
            if not hasattr(own, "request"):
                own.request = ready.create_infer_request()
                with FIRST_INFERENCE:
                    return own.request.infer([batch])[0]
            return own.request.infer([batch])[0]

        ends = [port.get_partial_shape()[-1].get_max_length() for port in (ready.input(), ready.output())]
        return run, (ends[0], ends[1])

    def _converted(self, core):
        """Return the network as OpenVINO has it, from the cache where it is there."""
        import openvino

        with open(self.path, "rb") as file:
            hash = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        cache = user_cache_path("nuclei") / "networks"
        name = [hash, *map(version, ("openvino", "tensorflow", "keras"))]
        name += [self.part.__name__] if self.part else []
        folder = cache / "-".join(name)
        with suppress(RuntimeError):  # it is not there, or damaged
            return core.read_model(folder / "network.xml")
        converted = openvino.convert_model(_traced(self.keras))
        with suppress(OSError, RuntimeError):  # without a cache, it is converted each time
            with replacing(folder) as temporary:
                temporary.mkdir()
                openvino.save_model(converted, temporary / "network.xml", compress_to_fp16=False)
            for old in sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime)[:-CACHED]:
                shutil.rmtree(old)
        return converted


def as_keras(network: "keras.Model | StoredNetwork") -> "keras.Model":
    """Return a network as a Keras model, which can be trained and saved."""
    return network.keras if isinstance(network, StoredNetwork) else network
