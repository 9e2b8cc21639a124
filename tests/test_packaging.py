"""The wheel holds the library and the default model, and the installed command finds it."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version

import pytest

from nuclei import ROOT, __version__
from nuclei.common import DEFAULT_MODEL, model_folder


@pytest.mark.skipif(int(version("setuptools").split(".")[0]) < 77, reason="setuptools is too old to build")
def test_the_wheel_carries_the_default_model(tmp_path):
    for name in ("nuclei", DEFAULT_MODEL):
        shutil.copytree(ROOT / name, tmp_path / "source" / name)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    build = ["pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", tmp_path / "wheel"]
    words = [sys.executable, "-m", *build, tmp_path / "source"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheel").iterdir()
    assert f"-{__version__}-" in wheel.name
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "installed")
    installed = tmp_path / "installed" / "nuclei"
    for path in (ROOT / DEFAULT_MODEL).iterdir():
        assert (installed / DEFAULT_MODEL / path.name).read_bytes() == path.read_bytes()

    code = (
        "import nuclei.common, nuclei.cli; "
        "print(nuclei.common.model_folder(nuclei.common.DEFAULT_MODEL), nuclei.cli.__file__)"
    )
    (tmp_path / "elsewhere").mkdir()
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(installed.parent)},
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == [str(installed / DEFAULT_MODEL), str(installed / "cli.py")], found.stderr


def test_a_relative_model_may_start_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_folder(DEFAULT_MODEL) == ROOT / DEFAULT_MODEL
    (tmp_path / DEFAULT_MODEL).mkdir(parents=True)
    assert model_folder(DEFAULT_MODEL).absolute() == tmp_path / DEFAULT_MODEL, (
        "the current folder comes first"
    )
