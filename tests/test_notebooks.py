"""The notebooks as a user runs them: papermill with other parameters, and nbval on what they show."""

import base64
import io
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import nbformat
import numpy as np
import papermill
import pytest
import yaml
from PIL import Image

from nuclei import DEFAULT_MODEL, ROOT

TIDY = runpy.run_path(str(ROOT / "docs" / "tidy_notebooks.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {
    "01_explore": {},
    "02_train": {"epochs": 1, "crops_per_image": 1, "figure_epochs": [1, 2], "batch_size": 3},
    "03_evaluate": {"model_folder": DEFAULT_MODEL, "compare_folder": None},
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
    text = path.read_text().replace("runs/demo/model", DEFAULT_MODEL)
    copy.write_text(text.replace("runs/demo", str(tmp_path / "demo")))
    done = nbval(copy)
    assert done.returncode == 0, done.stdout
    assert list((tmp_path / "demo" / "plot" / path.stem).glob("*.png"))


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
        files = {"model.keras", "iou.keras", "usual.npz", "settings.json", "history.csv", "split.json"}
        assert files == {p.name for p in (tmp_path / "model").iterdir()}
        compared = json.loads((tmp_path / "out" / "parameters.json").read_text())
        assert {"training images", "validation images"} <= set(compared), "when a training resumes"
    if stem == "03_evaluate":
        scores = json.loads((tmp_path / "metrics.json").read_text())
        assert 0 < scores["all"]["score"] < 1 and set(scores["compared"]) >= {
            "this model",
            "Otsu and watershed",
        }
        assert scores["data"]["fingerprint"] and scores["versions"]["keras"]
    if stem == "04_segment":
        assert {"segmented.png", "review.png", "measured.png"} == figures
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
    done = run("03_evaluate", tmp_path, data=data, **SMALL["03_evaluate"])
    assert done.returncode == 0, done.stderr[-3000:]
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert set(scores["compared"]) == {"this model"} and scores["all"]["images"] == 1


def test_images_whose_names_are_numbers_or_long_are_shown(tmp_path):
    paths = sorted((ROOT / "data" / "sample").glob("4dbb*/images/*.png"))
    for name, path in zip(("001", "0" * 220), paths, strict=False):
        shutil.copy(path, tmp_path / f"{name}.png")
    done = run("04_segment", tmp_path, images=str(tmp_path / "0*.png"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert {p.name for p in (tmp_path / "plot").iterdir()} == {"segmented.png", "review.png", "measured.png"}


def test_images_in_which_no_nucleus_is_found_are_shown_in_jupyter(tmp_path, monkeypatch):
    """There the cell with the slider runs too, whose range begins at the lowest confidence."""
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/04_segment.ipynb")
    iio.imwrite(tmp_path / "dark.png", np.zeros((64, 64), np.uint8))
    done = run("04_segment", tmp_path, images=str(tmp_path / "dark.png"))
    assert done.returncode == 0, done.stderr[-3000:]


def test_images_without_any_nucleus_train_no_model(tmp_path):
    data = own_images(tmp_path, "synthetic-small-fluorescent-1", "synthetic-small-fluorescent-2")
    for mask in Path(data).glob("*/masks/*.png"):
        iio.imwrite(mask, np.zeros_like(iio.imread(mask), np.uint8))
    done = run("02_train", tmp_path, data=data)
    assert done.returncode == 1 and "training images has a nucleus" in done.stderr
    assert "Add labelled images" in done.stderr and not (tmp_path / "model").exists()


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


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


RECIPES = sorted((ROOT / "notebooks" / "recipes").glob("*.yml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_fit_their_notebook(path):
    known, values = names("02_train"), yaml.safe_load(path.read_text())
    if path.stem == "base":
        assert list(values) == list(known), "every parameter, in its order"
    for name, value in values.items():
        found, expected = type(value).__name__, known[name]["inferred_type_name"].strip("\"'")
        fits = found in [*expected.split(" or "), "NoneType"] or (found, expected) == ("int", "float")
        assert fits, f"{path.name}: {name} is {found}, not {expected}"


def test_recipes_hold_only_what_differs():
    base = yaml.safe_load((ROOT / "notebooks" / "recipes" / "base.yml").read_text())
    for path in RECIPES:
        own = yaml.safe_load(path.read_text())
        if path.stem not in ("base", "leak_audit", "general_longer"):  # the latter two follow another recipe
            assert not [name for name, value in own.items() if base[name] == value], path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_with_figures_and_short_cells(path):
    assert path.stat().st_size < 1e6, "at most one megabyte"
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata["sources"] == TIDY["digest"](notebook), (
        "edited since its last run: make notebooks"
    )
    cells = notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    for cell in code:
        assert not any(line.lstrip().startswith("def ") for line in cell.source.splitlines()), (
            "a function belongs in the library, with a test"
        )
        tags = cell.metadata.get("tags", [])
        assert "parameters" in tags or len(lines(cell)) <= 15, cell.source
        assert "nbval-check-output" not in tags or cell.outputs, "nothing would be compared"
        assert all(TIDY["_is_kept"](output) and output.output_type != "error" for output in cell.outputs)
        assert str(Path.home()) not in json.dumps(cell)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom"
    figures = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(figures) >= 2
    assert cells[-1].source.startswith("## Summary") and cells[-1].source.count("\n* ") == 3


def test_the_guard_is_the_first_thing_a_notebook_does():
    for stem in SMALL:
        code = [c for c in nbformat.read(notebook(stem), as_version=4).cells if c.cell_type == "code"]
        assert code[0].metadata.tags == ["parameters"] and "check_parameters(globals())" in code[1].source


def test_parameters_document_themselves():
    for stem in SMALL:
        for name, parameter in names(stem).items():
            assert parameter["help"], f"{stem}: {name} has no comment"
            assert parameter["inferred_type_name"] not in ("None", ""), f"{stem}: {name} has no type"


def test_a_tidy_notebook_keeps_results_and_figures_alone(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    v4 = nbformat.v4
    outputs = [
        v4.new_output("stream", name="stderr", text="a warning"),
        v4.new_output("stream", name="stdout", text="1/1 - 2s - 53ms/step - loss: 0.5"),
        v4.new_output(
            "display_data", data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%"}
        ),
        v4.new_output("display_data", data={"image/png": picture, "text/plain": "<Figure>"}),
    ]
    cell = v4.new_code_cell(
        "1", outputs=outputs, execution_count=3, metadata={"execution": {"a": "1"}, "tags": ["x"]}
    )
    about = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(v4.new_notebook(cells=[cell], metadata=about | {"papermill": {}}), tmp_path / "a.ipynb")
    TIDY["tidy"](tmp_path / "a.ipynb")
    (cell,) = (notebook := nbformat.read(tmp_path / "a.ipynb", as_version=4)).cells
    assert (
        cell.metadata == {"tags": ["x"]}
        and cell.execution_count == 3
        and notebook.metadata == about | {"sources": TIDY["digest"](notebook)}
    )
    text, figure = cell.outputs
    assert text.text == "1/1 - loss: 0.5"
    reduced = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"])))
    assert reduced.size == (60, 60) and reduced.mode == "P"
    once = (tmp_path / "a.ipynb").read_bytes()
    TIDY["tidy"](tmp_path / "a.ipynb")
    assert (tmp_path / "a.ipynb").read_bytes() == once
