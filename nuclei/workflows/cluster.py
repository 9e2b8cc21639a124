"""Images on several processes or machines at once, through dask.distributed.

A worker loads the model once and writes the files of its images itself, each whole or not at all; tables are
written by the client. The tiles of a large image are shared out among all workers. The tasks of a worker that
died go to another one, which replaces its files.

Tiles are tasks and not blocks of a dask array, whose results do not overlap: a nucleus at the edge of a block
would be cut. See `nuclei.segmentation.stitching`.
"""

import logging
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from nuclei import __version__
from nuclei.common import model_folder, versions
from nuclei.images.file_warnings import naming_warnings
from nuclei.images.finding import is_address
from nuclei.images.reading import Image, open_image
from nuclei.output.run_folder import RunFolder
from nuclei.segmentation.inference import engine
from nuclei.segmentation.segmenter import Segmenter
from nuclei.workflows.large_images import Measured, Tiles, segment_tile
from nuclei.workflows.segment import Job, Run, fingerprint

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_TIMEOUT, START_TIMEOUT = 10, 60  # seconds in which a scheduler must answer, and have its first worker

ONE_AT_A_TIME = Lock()
"""Held while a worker processes an image: warnings are caught for all threads of a process together."""


@contextmanager
def connected(workers: int | None, dask: str | None, model: str) -> Iterator["Workers"]:
    """Yield new local processes, `workers` of them, or the workers of the scheduler at the address `dask`.

    Raises ModuleNotFoundError where distributed is not installed; ValueError where no scheduler answers, it
    has no workers, or one has another version of this package, of its libraries or of the `model`.
    """
    try:
        from dask import config
        from distributed import Client, LocalCluster, Security
        from distributed.comm import connect
        from distributed.utils import LoopRunner
    except ImportError as error:
        wanted = "`workers` and `dask` need the package distributed: pip install nuclei-unet[cluster]"
        raise ModuleNotFoundError(wanted) from error
    model = os.path.abspath(model) if os.path.isdir(model) else model
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what concerns a user is reported here
    silent = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # any free port
    options: dict = {"threads_per_worker": 1, "silence_logs": logging.CRITICAL, "scheduler_kwargs": silent}
    with config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}):  # it starts again, maybe slowly
        try:
            if dask is not None:  # for what listens there but is no scheduler, Client would wait forever
                secure = Security().get_connection_args("client")  # of the user's configuration
                LoopRunner().run_sync(connect, dask, callback_timeout=ANSWER_TIMEOUT, **secure).abort()
            place = LocalCluster(workers, **options) if dask is None else dask
            client = Client(place, timeout=ANSWER_TIMEOUT)
        except (OSError, ValueError) as error:
            if dask is None:
                raise
            found = "no scheduler answers there; check the address, such as tcp://host:8786"
            raise ValueError(f"`dask` {dask}: {found}, and that it runs") from error
        with client, client.cluster or nullcontext():
            try:
                client.wait_for_workers(1, timeout=START_TIMEOUT)
            except TimeoutError as error:
                which = f"`workers` {workers}" if dask is None else f"`dask` {dask}"
                raise ValueError(f"{which}: no worker has started after {START_TIMEOUT} seconds") from error
            expected = environment(model)
            check(client.run(environment, model, on_error="return"), expected)
            if dask is None:
                client.run(_leave_interrupts)
            yield Workers(client, model, expected)


def environment(model: str) -> dict[str, str]:
    """Return what must be the same on all machines."""
    weights = fingerprint(model_folder(model))
    return {"nuclei": __version__, "model": weights, "engine": engine(), **versions()}


def check(found: Mapping[str, dict[str, str] | BaseException], expected: dict[str, str]) -> None:
    """Raise ValueError unless each worker, by its address, has what is `expected`; see `environment`."""
    for worker, each in found.items():
        if isinstance(each, BaseException):
            raise ValueError(f"worker {worker}: {each}; install there what is installed here")
        for name, value in expected.items():
            if each.get(name) != value:
                wanted = f"expected {value} as here; install the same there"
                raise ValueError(f"worker {worker} has {name} {each.get(name)}, {wanted}")


class Workers:
    """The workers of a client, which process the images of a run."""

    def __init__(self, client: "Client", model: str, expected: dict[str, str]):
        self.client, self.model, self.expected = client, model, tuple(expected.items())

    def submit(self, run: Run, job: Job) -> Callable[[], int | None]:
        """Let a worker do what `Run.process` does.

        Returns a function that waits until that is done; it returns, raises and warns what `process` did.
        """
        future = self.client.submit(_process, *self._sent(run, job), pure=False)

        def result() -> int | None:
            try:
                done, pixels, messages = _result(future)
            except ModuleNotFoundError as error:  # of the worker, but for an image that was deleted
                if is_address(job.path) or os.path.exists(job.path):
                    raise
                raise ValueError("the file was deleted during the run") from error
            run.pixels += pixels
            for message in messages:
                warnings.warn(message, stacklevel=2)
            if isinstance(done, Exception):
                raise done
            return done

        return result

    def segment_tiles(self, run: Run, job: Job, tiles: Tiles, numbers: list[int]) -> Iterator[Measured]:
        """Segment tiles of a large image, in any order; see `segment_large`."""
        from distributed import as_completed

        tiles = tiles._replace(store=os.path.abspath(tiles.store))
        sent: dict = {"tiles": tiles, "run": self._sent(run, job), "client": self.client.id}
        return map(_result, as_completed(self.client.map(_segment_tile, numbers, **sent, pure=False)))

    def _sent(self, run: Run, job: Job) -> tuple:
        """Return the arguments of `_process`."""
        reading = run.reading | {"name": str(job.path)}  # as errors call it
        options = {"reading": reading, "predicting": run.predicting, "pixel_size": run.pixel_size}
        if not is_address(job.path):
            job = job._replace(path=os.path.abspath(job.path))
        return self.model, self.expected, os.path.abspath(run.results.path), job, options


def _result(future: "Future"):
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ValueError("several workers died on it, perhaps for lack of memory") from error
    except CancelledError as error:
        lost = "the connection to the scheduler was lost; start it again and repeat the command"
        raise ModuleNotFoundError(lost) from error


def _process(model: str, expected: tuple, out: str, job: Job, options: dict):
    """Do what `Run.process` does on a worker; return what that returns or raises, pixels, and warnings."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # broken files are reported as other errors are
    _check_paths(out, job)
    run = Run(_folder(out), _loaded(model, expected), **options)
    done: int | None | Exception
    with ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught, naming_warnings():
        try:
            done = run.process(job)
        except (ValueError, MemoryError) as error:
            done = error
    return done, run.pixels, [str(each.message) for each in caught]


def _segment_tile(k: int, tiles: Tiles, run: tuple, client: str) -> Measured:
    """Do as `segment_tile` on a worker; `run` has the arguments of `_process`."""
    model, expected, out, job, options = run
    _check_paths(out, job)
    image = _opened(str(job.path), client, **options["reading"])
    return segment_tile(k, tiles, image, _loaded(model, expected))


def _check_paths(out: str, job: Job) -> None:
    """Raise ModuleNotFoundError, which ends a run, where a worker does not see its folder or the image."""
    for path in (os.path.join(out, "run.json"), job.path):
        if not (is_address(path) or os.path.exists(path)):
            wanted = "expected the folders of images and results at the same paths on all machines"
            raise ModuleNotFoundError(f"worker {_own_name()} does not see {path}, {wanted}")


def _own_name() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _leave_interrupts() -> None:
    """Let a worker leave Ctrl-C, which reaches all processes of a terminal, to the client."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@lru_cache(1)
def _loaded(model: str, expected: tuple) -> Segmenter:
    """Load the model on a worker, which may have come after the others were checked."""
    try:
        check({_own_name(): environment(model)}, dict(expected))
    except ValueError as error:  # no image is to blame for it
        raise ModuleNotFoundError(str(error)) from error
    return Segmenter.load(model_folder(model))


@lru_cache(1)
def _folder(out: str) -> RunFolder:
    return RunFolder(Path(out), f".{socket.gethostname()}.{os.getpid()}")


@lru_cache(1)
def _opened(place: str, client: str, **reading) -> Image:
    """Open an image on a worker, once for each `client`: the file may have been replaced since."""
    try:
        return open_image(place, **reading)
    except OSError as error:  # as `Run.open` does
        raise ValueError(f"worker {_own_name()}: {error}") from error
