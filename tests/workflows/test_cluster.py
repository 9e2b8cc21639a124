"""Several processes: the results of one, whoever dies; what cannot work is refused before any work."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from nuclei import ROOT
from nuclei.cli import main
from nuclei.output.run_folder import RunFolder, locked
from nuclei.segmentation.segmenter import Segmenter
from nuclei.workflows import cluster
from nuclei.workflows.segment import Job, Run

FAKE = Path(__file__).with_name("fake_segmenter.py")
DEADLY = 251

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def environment(orders):
    """That of all processes: each imports the fake first."""
    path = os.pathsep.join(map(str, (ROOT, FAKE.parent)))
    preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": f"['{FAKE}']"}
    return os.environ | preload | {"PYTHONPATH": path, "FAKE": str(orders), "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight small images, a broken one, and a large one; a worker may die on 3.png and the large one."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for k in range(8):
        iio.imwrite(folder / f"{k}.png", discs(rng, (40, 60), DEADLY if k == 3 else 200))
    (folder / "broken.tif").write_bytes(b"II*\0broken")
    tifffile.imwrite(folder / "large.tif", discs(rng, (300, 400), DEADLY))
    return folder


def discs(rng, shape, brightest):
    image = np.zeros(shape, np.uint8)
    y, x = np.indices(shape)
    for row, column in rng.integers(0, shape, (shape[0] * shape[1] // 500, 2)):
        image[(y - row) ** 2 + (x - column) ** 2 < 20] = 200
    image[20, 20] = brightest
    return image


@pytest.fixture(scope="module")
def start(images, environment, tmp_path_factory):
    """Start `nuclei segment` on the images."""
    model = tmp_path_factory.mktemp("model")
    (model / "settings.json").write_text("{}")
    fixed = [sys.executable, FAKE, "segment", images, "--model", model, "--save", "all"]

    def start(out, *words, places=()):
        command = [*map(str, (*fixed, "--out", out, *words))]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, **streams)

    return start


@pytest.fixture(scope="module")
def run(start):
    def run(out, *words):
        process = start(out, *words)
        printed, err = process.communicate(timeout=300)
        return process.returncode, printed, err

    return run


@pytest.fixture(scope="module")
def single(run, tmp_path_factory):
    """The results of one process, by file."""
    out = tmp_path_factory.mktemp("single") / "out"
    code, printed, err = run(out)
    assert code == 1 and "broken.tif" in err and printed.startswith("9 images"), err
    return files(out)


@pytest.fixture(scope="module")
def scheduler(environment, tmp_path_factory):
    """The address of a scheduler with one worker, each a process of its own, in another folder."""
    file = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    begin = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    begin += ["--no-dashboard", "--scheduler-file", str(file)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": file.parent}
    process = subprocess.Popen(begin, env=environment, **silent)
    while not file.exists():
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    with worker(address, environment, file.parent):
        yield address
    process.terminate()
    process.wait()


@contextmanager
def worker(scheduler, environment, folder):
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "1"]
    with open(folder / "worker.log", "w+") as log:
        process = subprocess.Popen(
            [*command, "--no-dashboard"], env=environment, stdout=log, stderr=log, cwd=folder
        )
        while "Registered to" not in (folder / "worker.log").read_text():
            time.sleep(0.05)
        yield
        process.terminate()
        process.wait()


def files(out):
    """The content of all results, those in OME-Zarr folders too."""
    found = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {path: content for path, content in found.items() if path.parts[0] != ".done"}


def test_two_processes_write_what_one_does_though_a_worker_dies(run, single, orders, tmp_path):
    for kind in ("image", "tile"):
        (orders / f"die on the {kind}").touch()
    code, printed, err = run(tmp_path / "out", "--workers", "2")
    assert code == 1 and "skipped" in err and "broken.tif" in err and printed.startswith("9 images"), err
    assert not list(orders.iterdir()) and "Traceback" not in err
    assert files(tmp_path / "out") == single


def test_a_client_that_dies_resumes(start, run, single, scheduler, orders, tmp_path):
    out = tmp_path / "out"
    (orders / "slow").touch()
    relative = os.path.relpath(out, ROOT)
    client = start(relative, "--dask", scheduler)
    while client.poll() is None and not list(out.glob("*.geojson")):
        time.sleep(0.01)
    client.kill()
    client.communicate()
    assert client.returncode == -9
    (orders / "slow").unlink()
    code, printed, err = run(relative, "--dask", scheduler)
    assert code == 1 and "more complete before" in printed, err
    assert files(out) == single


def test_an_image_on_which_workers_die_is_skipped_by_name(run, environment, orders, tmp_path, monkeypatch):
    for kind in ("image", "image 2", "tile", "tile 2"):
        (orders / f"die on the {kind}").touch()
    monkeypatch.setitem(environment, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    code, _, err = run(tmp_path / "out", "--workers", "1")
    assert code == 1 and not list(orders.iterdir())
    assert all(f"{name}: several workers died on it" in err for name in ("3.png", "large.tif"))
    assert (tmp_path / "out" / "0_labels.tif").exists()


def test_no_scheduler_at_the_address(images, model, tmp_path, monkeypatch, capsys):
    fake = SimpleNamespace(settings={"thresholds": {}}, check_scale=lambda scale: None)
    monkeypatch.setattr(Segmenter, "load", lambda *_: fake)
    monkeypatch.setattr(cluster, "ANSWER_TIMEOUT", 1)
    words = ["segment", str(images), "--out", str(tmp_path / "out"), "--model", str(model), "--dask"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in ("", "nonsense", "tcp://127.0.0.1:9", f"tcp://127.0.0.1:{silent.getsockname()[1]}"):
            assert main([*words, address]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert f"--dask {address}: no scheduler answers" in line
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_workers_without_a_word(start, scheduler, environment, orders, tmp_path, monkeypatch):
    monkeypatch.delitem(environment, "PYTHONWARNINGS")
    (orders / "slow").touch()
    client = start(tmp_path / "out", "--workers", "1")
    while client.poll() is None and not list(tmp_path.glob("out/*.geojson")):
        time.sleep(0.01)
    os.killpg(client.pid, signal.SIGINT)
    _, err = client.communicate(timeout=60)
    (orders / "slow").unlink()
    assert (client.returncode, err) == (130, "nuclei: interrupted\n")


def test_a_worker_of_another_version_is_refused(run, scheduler, environment, tmp_path):
    shutil.copytree(ROOT / "nuclei", tmp_path / "nuclei", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "nuclei" / "__init__.py", "a") as file:
        file.write('\n__version__ = "other"\n')
    path = os.pathsep.join(map(str, (tmp_path, FAKE.parent)))
    with worker(scheduler, environment | {"PYTHONPATH": path}, tmp_path):
        code, _, err = run(tmp_path / "out", "--dask", scheduler)
    assert code == 2 and "has nuclei other, expected" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_workers_that_differ_are_refused():
    expected = {"nuclei": "2.0", "model": "abc"}
    cluster.check({"tcp://a": expected}, expected)
    with pytest.raises(ValueError, match="worker tcp://b has nuclei 1.9, expected 2.0"):
        cluster.check({"tcp://a": expected, "tcp://b": {"nuclei": "1.9", "model": "abc"}}, expected)
    with pytest.raises(ValueError, match="worker tcp://b has model xyz, expected abc"):
        cluster.check({"tcp://b": {"nuclei": "2.0", "model": "xyz"}}, expected)
    with pytest.raises(ValueError, match="worker tcp://b: No module named 'nuclei'; install"):
        cluster.check({"tcp://b": ModuleNotFoundError("No module named 'nuclei'")}, expected)


@pytest.fixture
def submit(model, tmp_path, monkeypatch):
    """Submit the image a.tif of 20 x 30 pixels, which is large, to a worker that is this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nuclei.images.tiff.LARGE", 100)
    monkeypatch.setattr(cluster, "_loaded", lambda *_: None)
    here = SimpleNamespace(submit=lambda f, *words, **_: SimpleNamespace(result=lambda: f(*words)))
    workers = cluster.Workers(here, str(model), {})
    tifffile.imwrite("a.tif", np.zeros((20, 30), np.uint8))
    run = Run(RunFolder(tmp_path / "out"), None, {}, {}, None)
    return lambda: workers.submit(run, Job("a", Path("a.tif"), {}, [], True))


def test_a_worker_that_does_not_see_a_folder_ends_the_run(submit, tmp_path, monkeypatch):
    with pytest.raises(ModuleNotFoundError, match=f"worker .* does not see {tmp_path}/out/run.json"):
        submit()()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").touch()
    assert submit()() is None  # it is large
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = submit()
    monkeypatch.chdir(tmp_path)  # a.tif is here
    with pytest.raises(ModuleNotFoundError, match="does not see .*elsewhere/a.tif"):
        result()
    Path("a.tif").unlink()
    with pytest.raises(ValueError, match="the file was deleted during the run"):
        submit()()


def test_a_large_image_is_opened_anew_for_each_run(tmp_path, monkeypatch):
    monkeypatch.setattr("nuclei.images.tiff.LARGE", 100)
    for value in (1, 2):
        tifffile.imwrite(tmp_path / "new.tif", np.full((20, 30), value, np.uint8), compression="zlib")
        (tmp_path / "new.tif").replace(tmp_path / "a.tif")
        image = cluster._opened(str(tmp_path / "a.tif"), f"client {value}")
        assert image.pixels().max() == value
    image.close()


def test_one_run_at_a_time(run, tmp_path):
    with locked(tmp_path / "out"):
        code, _, err = run(tmp_path / "out")
        assert code == 2 and f"another run writes there (process {os.getpid()} on" in err
    assert files(tmp_path / "out") == {}


def test_one_process_imports_no_dask(environment, images, tmp_path):
    code = f"import sys; sys.argv[1:] = ['segment', {str(images / '0.png')!r}, '--out', {str(tmp_path)!r}]\n"
    code += "import fake_segmenter; from nuclei.cli import main; main()\n"
    code += "print({'dask', 'distributed', 'zarr'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.endswith("set()\n"), done.stderr


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"nuclei-unet\[cluster\]"),
        cluster.connected(2, None, "model"),
    ):
        pass
