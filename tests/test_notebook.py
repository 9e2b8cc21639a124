import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nuclei.common import quiet
from nuclei.notebook import (
    browse,
    check_parameters,
    outlined_image,
    overview,
    parameter_values,
    recipe,
    results_folder,
)
from nuclei.output.formats import write_labels


def notebook(injected, **changed):
    """The globals of a notebook after its parameters cell and the one that papermill injected."""
    cell = "# Parameters\n" + injected
    namespace = {"In": ["", "epochs: int = 2", cell]}
    exec("epochs: int = 2\nrate: float = 0.1\ndata: str = 'sample'\nfast: bool = False", namespace)
    exec(cell, namespace)
    return namespace


def test_good_parameters_pass():
    namespace = notebook("epochs = 5\nrate = 1\ndata = None\nfast = True\n")
    check_parameters(namespace)
    assert parameter_values(namespace) == {"epochs": 5, "rate": 1, "data": None, "fast": True}


@pytest.mark.parametrize("value", ["sample", ["sample", "mine.zip"], None])
def test_a_parameter_may_have_one_of_two_types(value):
    namespace = {"__annotations__": {"data": "str or list"}, "data": value}
    check_parameters(namespace)
    with pytest.raises(TypeError, match="data is 3, of type int; expected str or list"):
        check_parameters(namespace | {"data": 3})


def test_widgets_are_for_notebooks_that_are_open_in_jupyter(monkeypatch):
    import ipywidgets

    asked, shown = [], []
    monkeypatch.setattr(ipywidgets, "interact", lambda show, **choices: asked.append((show, choices)))
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    browse(str.upper, image=["a", "b"])
    assert not asked
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/04_segment.ipynb")
    browse(lambda image: image.upper(), image=["a", "b"])
    ((show, choices),) = asked
    show(image="b")
    assert choices == {"image": ["a", "b"]} and shown == ["B"]


def test_names_defined_later_are_no_typos():
    namespace = notebook("epochs = 5\n") | {"model": object()}
    check_parameters(namespace)


@pytest.mark.parametrize("injected", ["epoch = 5\n", "epochs = 5\nEpochs = 6\n"])
def test_a_typo_stops_the_notebook(injected):
    with pytest.raises(NameError, match="unknown parameter '(epoch|Epochs)'.*data, epochs, fast, rate"):
        check_parameters(notebook(injected))


@pytest.mark.parametrize(
    "injected, message",
    [
        ('fast = "false"', "fast is 'false', of type str; expected bool"),
        ('rate = "1e-3"', "rate is '1e-3', of type str; expected float"),
        ("epochs = 2.5", "epochs is 2.5, of type float; expected int"),
        ("epochs = True", "epochs is True, of type bool; expected int"),
        ("data = 3", "data is 3, of type int; expected str"),
    ],
)
def test_a_value_of_another_type_stops_the_notebook(injected, message):
    with pytest.raises(TypeError, match=message):
        check_parameters(notebook(injected))


def test_native_log_messages_are_dropped_and_errors_come_through(capfd):
    os.write(2, b"before ")
    with pytest.raises(ImportError, match="real trouble"), quiet():
        os.write(2, b"log message ")
        raise ImportError("real trouble")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


@pytest.mark.parametrize(
    "images, name",
    [
        ("data/sample", "data_sample"),
        ("/home/me/slides/a.tif", "home_me_slides_a"),
        ("../plates/*/dapi_*.tif", "plates"),
        (["one/image.png", "two"], "one_image"),
        ("*.tif", "images"),
    ],
)
def test_results_have_a_folder_named_after_the_images(images, name):
    assert results_folder("runs/demo", images) == os.path.join("runs/demo", name)


def test_recipes_override_one_another():
    base, baseline, audit = recipe(), recipe("baseline"), recipe("baseline", "leak_audit")
    assert base["resize"] is None and baseline["resize"] == audit["resize"] == 128
    assert (baseline["split_by"], audit["split_by"]) == ("image", "field")


def test_the_overview_has_notes_and_warnings_and_no_empty_columns():
    sizes = dict.fromkeys(("touching_border", "median_diameter_px", "scale", "covered"), [1, 1])
    some = {"image": ["a" * 30, "b"], "nuclei": [1, 4], "mean_confidence": [1, 0.71239], **sizes}
    some |= {"strangeness": [0.5, 2.0], "note": [None] * 2, "warning": [None, "uncertain"]}
    table = overview(pd.DataFrame(some))
    assert list(table) == ["nuclei", *sizes, "mean_confidence", "strangeness", "warning"]
    assert table["warning"].tolist() == ["", "uncertain"] and table["mean_confidence"].tolist() == [1, 0.712]


def test_only_confident_nuclei_are_outlined(tmp_path):
    labels = np.zeros((40, 40), np.int32)
    labels[4:14, 4:14], labels[24:34, 24:34] = 1, 2
    write_labels(tmp_path / "a_labels.tif", labels)
    rows = {"image": ["a", "a", "b"], "label": [1, 2, 1], "confidence": [0.9, 0.4, 0.1]}
    pd.DataFrame(rows).to_csv(tmp_path / "measurements.csv")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    both, one = (
        np.asarray(outlined_image(tmp_path, {"a": tmp_path / "a.png"}, "a", least)).any(axis=-1)
        for least in (0, 0.5)
    )
    middle = len(both) // 2
    assert both[:middle, :middle].any() and both[middle:, middle:].any()
    assert one[:middle, :middle].any() and not one[middle:, middle:].any()
