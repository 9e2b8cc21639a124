"""The notebooks as a user runs them: papermill with other parameters, and nbval on what they show."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from nuclei import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {
    "01_explore": {},
    "02_train": {"epochs": 1, "figure_epochs": [1, 2], "batch_size": 3},
    "03_evaluate": {"compare_folder": None},
    "04_segment": {"images": str(ROOT / "data" / "sample" / "4dbb*"), "save": "rle", "pixel_size": 0.5},
}


def notebook(stem):
    return str(ROOT / "notebooks" / f"{stem}.ipynb")


def names(stem):
    return papermill.inspect_notebook(notebook(stem))


def run(stem, tmp_path, **parameters):
    """Run a notebook with papermill in another folder; everything it writes goes to tmp_path."""
    known = names(stem)
    places = {"out": "out", "model_folder": "model", "plot_folder": "plot", "metrics_file": "metrics.json"}
    if stem != "02_train":
        places.pop("model_folder")
    for name, place in places.items():
        if name in known:
            parameters.setdefault(name, str(tmp_path / place))
    arguments = [part for name, value in parameters.items() for part in ("-y", json.dumps({name: value}))]
    command = [
        sys.executable,
        "-m",
        "papermill",
        notebook(stem),
        tmp_path / "done.ipynb",
        "-k",
        "python3",
        *arguments,
    ]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)


def nbval(path):
    """Run every cell and compare the outputs of those tagged nbval-check-output."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", path]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_show_what_they_are_committed_with(path, tmp_path):
    """Every cell runs, in a copy that writes elsewhere; outputs of tagged cells are compared."""
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("runs/demo", str(tmp_path / "demo")))
    done = nbval(copy)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "demo" / "plot").exists()


def test_nbval_sees_a_changed_output(tmp_path):
    """The comparison can fail: the same notebook with one digit changed does."""
    content = nbformat.read(notebook("03_evaluate"), as_version=4)
    kept = [cell for cell in content.cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    content.cells = [*content.cells[1:4], kept[0]]  # parameters, imports, and the example made by hand
    copy = tmp_path / "copy.ipynb"
    nbformat.write(content, copy)
    assert nbval(copy).returncode == 0
    (output,) = kept[0].outputs
    assert "0.667" in output["data"]["text/plain"]
    output["data"] = {kind: text.replace("0.667", "0.767") for kind, text in output["data"].items()}
    nbformat.write(content, copy)
    assert nbval(copy).returncode == 1


@pytest.mark.parametrize("stem", SMALL)
def test_papermill_runs_the_notebook_with_other_parameters(stem, tmp_path):
    done = run(stem, tmp_path, **SMALL[stem])
    assert done.returncode == 0, done.stderr[-3000:]
    figures = {p.name for p in (tmp_path / "plot").iterdir()}
    if stem == "01_explore":
        assert "data_example.png" in figures
    if stem == "02_train":
        assert {
            "model.png",
            "epoch1_predictions.png",
            "final_predictions.png",
            "accuracy.png",
            "loss.png",
        } <= figures
        assert "no predictions were drawn for epochs [2]" in (tmp_path / "done.ipynb").read_text()
        assert {"model.keras", "iou.keras", "settings.json", "history.csv", "split.json"} == {
            p.name for p in (tmp_path / "model").iterdir()
        }
    if stem == "03_evaluate":
        scores = json.loads((tmp_path / "metrics.json").read_text())
        assert 0 < scores["all"]["score"] < 1 and set(scores["compared"]) >= {
            "this model",
            "Otsu and watershed",
        }
        assert scores["data"]["fingerprint"] and scores["versions"]["keras"]
    if stem == "04_segment":
        assert {"segmented.png", "measured.png"} == figures
        assert "area_um2" in (tmp_path / "out" / "measurements.csv").read_text()
        assert (tmp_path / "out" / "rle.csv").exists() and not list((tmp_path / "out").rglob("*_overlay.png"))


def own_images(tmp_path, *names):
    for name in names:
        shutil.copytree(ROOT / "data" / "sample" / name, tmp_path / "own" / name)
    return str(tmp_path / "own")


def test_images_that_stand_alone_are_explored(tmp_path):
    data = own_images(tmp_path, "synthetic-small-fluorescent-1", "synthetic-purple-tissue-2")
    done = run("01_explore", tmp_path, data=data)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {p.name for p in (tmp_path / "plot").iterdir()} == {
        "data_example.png", "data_set.png", "data_crowded.png",
    }  # fmt: skip


def test_a_single_image_is_scored_without_what_needs_tuning(tmp_path):
    data = own_images(tmp_path, "synthetic-small-fluorescent-1")
    done = run("03_evaluate", tmp_path, data=data, compare_folder=None)
    assert done.returncode == 0, done.stderr[-3000:]
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert set(scores["compared"]) == {"this model"} and scores["all"]["images"] == 1


@pytest.mark.parametrize("stem", SMALL)
def test_a_typo_in_a_parameter_stops_the_run(stem, tmp_path):
    done = run(stem, tmp_path, dta="sample")
    assert done.returncode == 1
    assert "unknown parameter 'dta'. This notebook has: " in done.stderr
    assert not (tmp_path / "plot").exists(), "before any work"


def test_a_parameter_of_another_type_stops_the_run(tmp_path):
    done = run("02_train", tmp_path, learning_rate="1e-3")
    assert done.returncode == 1
    assert "learning_rate is '1e-3', of type str; expected float" in done.stderr


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "notebooks" / "recipes").glob("*.yml")), ids=lambda p: p.name
)
def test_recipes_fit_their_notebook(recipe):
    known, values = names("02_train"), yaml.safe_load(recipe.read_text())
    assert list(values) == list(known), (
        "all of them, so that a recipe stays what it was when a default changes"
    )
    for name, value in values.items():
        found, expected = type(value).__name__, known[name]["inferred_type_name"]
        fits = found in (expected, "NoneType") or (found, expected) == ("int", "float")
        assert fits, f"{recipe.name}: {name} is {found}, not {expected}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean(path):
    for cell in nbformat.read(path, as_version=4).cells:
        compared = "nbval-check-output" in cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            assert "def " not in cell.source, "a function belongs in the library, with a test"
            assert bool(cell.outputs) == compared
            for output in cell.outputs:
                assert output.output_type != "error" and not any(
                    "image" in kind for kind in output.get("data", {})
                )
        assert str(Path.home()) not in json.dumps(cell)


def test_the_guard_is_the_first_thing_a_notebook_does():
    for stem in SMALL:
        code = [c for c in nbformat.read(notebook(stem), as_version=4).cells if c.cell_type == "code"]
        assert code[0].metadata.tags == ["parameters"] and "check_parameters(globals())" in code[1].source


def test_parameters_document_themselves():
    for stem in SMALL:
        for name, parameter in names(stem).items():
            assert parameter["help"], f"{stem}: {name} has no comment"
            assert parameter["inferred_type_name"] not in ("None", ""), f"{stem}: {name} has no type"
