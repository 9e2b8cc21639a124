"""What must agree across files: dependencies, recipes and models, links."""

import doctest
import json
import pkgutil
import re
import runpy
import tomllib
from importlib import import_module

import numpy as np
import pytest
import yaml

import nuclei
from nuclei import ROOT
from nuclei.common import DEFAULT_MODEL
from nuclei.data.fields import HELD_OUT
from nuclei.notebook import recipe

MODULES = [m.name for m in pkgutil.walk_packages(nuclei.__path__, "nuclei.") if "__main__" not in m.name]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    assert doctest.testmod(import_module(module), extraglobs={"np": np}).failed == 0


def names(requirements):
    return {re.split(r"[ <>=@\[]", r.strip())[0].lower().removesuffix("-base") for r in requirements}


def test_environment_and_pyproject_name_the_same_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (from_pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    assert "--editable ." in from_pip and any("tensorflow/examples.git" in r for r in from_pip)
    found = names([r for r in conda if isinstance(r, str)]) | names(from_pip)
    extra = {"python", "pip", "--editable", "tensorflow-examples"}  # the last is not on the package index
    assert found - extra == names(project["dependencies"])
    assert f"python {project['requires-python']}" in conda


def test_every_dependency_has_its_reason():
    lines = (ROOT / "environment.yml").read_text().split("dependencies:")[1].splitlines()
    for line in lines:
        if re.match(r"\s+- [a-z]", line) and not re.search(r"- (python|pip|tensorflow-examples)\b", line):
            assert "#" in line, line


def read(path):
    return json.loads((ROOT / path).read_text())


def test_the_leak_audit_refuses_models_that_differ_in_more_than_their_split():
    check = runpy.run_path(str(ROOT / "benchmarks" / "leak_audit.py"))["check_recipes"]
    check({"epochs": 3, "split_by": "image", "out": "a"}, {"epochs": 3, "split_by": "field", "out": "b"})
    with pytest.raises(ValueError, match="differ in more than their split: epochs, seed"):
        check({"epochs": 3, "split_by": "image"}, {"epochs": 4, "split_by": "field", "seed": 1})


@pytest.mark.parametrize(
    "model, names", [("baseline", ["baseline"]), ("general", ["general", "general_longer"])]
)
def test_a_shipped_model_was_trained_with_the_parameters_of_its_recipe(model, names):
    used = read(f"saved_model/{model}/settings.json")["parameters"]
    used["augment"] = used["augment"].replace("disturb", "colour_jitter")  # its name at the time
    without_effect = {"detail_filters", "momentum"} if used["start_from"] else set()
    places = {"encoder_weights", "start_from", "model_folder", "plot_folder"}
    parameters = recipe(*names)
    compared = (used.keys() & parameters.keys()) - places - without_effect
    assert len(compared) > 20
    assert {name: used[name] for name in compared} == {name: parameters[name] for name in compared}


def test_no_shipped_model_was_trained_on_the_field_of_the_sample():
    for path in (ROOT / "saved_model").glob("*/split.json"):
        split = json.loads(path.read_text())
        train, validation = (
            {id.rpartition("/")[2] for id in split[side]} for side in ("train", "validation")
        )
        assert validation >= HELD_OUT and not train & HELD_OUT


def test_the_default_model_exists():
    assert (ROOT / DEFAULT_MODEL / "model.keras").exists()


MAKE_TABLES = runpy.run_path(str(ROOT / "docs" / "make_tables.py"))
PAGES = [*MAKE_TABLES["pages"](), ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_numbers_and_tables_are_those_of_the_result_files(page):
    assert MAKE_TABLES["filled"](page.read_text()) == page.read_text(), "run `make readme`"
    assert not re.search(r"^\s*<!--\{", page.read_text(), re.M), "a line that begins so is not Markdown"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_a_number_and_a_table_are_filled_in():
    text = "The score is <!--{metrics[all][images]}-->7<!---->.\n<!--table:ablations-->\n<!---->"
    images = read("plot/metrics.json")["all"]["images"]
    filled = MAKE_TABLES["filled"](text)
    assert f"-->{images}<!---->.\n" in filled and "\n|variant|score|\n" in filled


@pytest.mark.parametrize(
    "model", sorted((ROOT / "saved_model").glob("*/settings.json")), ids=lambda p: p.parent.name
)
def test_a_shipped_model_is_small_has_a_card_and_names_no_path(model):
    assert (model.parent / "model.keras").stat().st_size < 30e6
    assert (model.parent / "README.md").exists(), "a model card"
    assert not re.search(r'"/|\.\./', model.read_text())
