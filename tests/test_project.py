"""What must agree across files: dependencies, the README's numbers, the recipes' words."""

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
from nuclei import ROOT, cli
from nuclei.data.fields import HELD_OUT

README = (ROOT / "README.md").read_text()
CARD = (ROOT / "saved_model" / "dsb2018" / "README.md").read_text()


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


def test_the_readme_tells_the_scores_of_the_last_run():
    metrics = read("plot/metrics.json")
    whole = metrics["all"]
    assert f"**{whole['score']:.3f}**" in README
    for kind, found in {**metrics["by_type"], "**all**": whole}.items():
        row = (
            f"| {kind} | {found['images']} | {found['fields']} | {found['nuclei']:,} | "
            + "{:.3f} | {:.3f} to {:.3f} | ".format(found["score"], *found["interval"])
            + f"{found['ap_50']:.3f} | {found['ap_75']:.3f} | {found['pixel_accuracy']:.4f} |"
        )
        assert row in README, row
    for found in metrics["compared"].values():
        row = f"| {found['images']} | {found['score']:.3f} | {found['ap_50']:.3f} | {found['ap_75']:.3f} |"
        assert row in README, row
    assert metrics["data"]["fingerprint"] in README


def test_readme_and_recipe_tell_the_scores_of_the_model_trained_anew():
    found = read("benchmarks/retrained.json")
    score, ap_50, ap_75 = (f"{found['all'][name]:.3f}" for name in ("score", "ap_50", "ap_75"))
    assert f"it scores {score}, {ap_50} at an IoU of 0.5 and {ap_75} at 0.75" in README
    recipe = (ROOT / "notebooks" / "recipes" / "dsb2018.yml").read_text()
    assert f"fields: {score}, best epoch {found['best_epoch']} of {found['epochs']}" in recipe


def test_the_readme_tells_the_baselines_scores():
    metrics = read("plot/baseline/metrics.json")
    assert metrics["val_accuracy"] > 0.96804, "the published one"
    assert f"**{metrics['val_accuracy']:.5f}**" in README
    assert f"| {metrics['best_epoch']} of {metrics['epochs']} |" in README
    assert f"{metrics['all']['score']:.3f} on the {metrics['all']['images']} images" in README


def test_the_readme_tells_the_leak():
    audit = read("benchmarks/leak_audit.json")
    for split in audit.values():
        assert f"{split['val_accuracy']:.5f}" in README
    assert f"{audit['random']['with_sibling_in_training']:.0%}" in README
    assert audit["grouped"]["with_sibling_in_training"] == 0
    assert audit["random"]["data"] == audit["grouped"]["data"]
    for split in audit.values():
        assert f"{split['val_score']:.3f}" in README


def test_models_that_differ_in_more_than_their_split_are_no_audit():
    check = runpy.run_path(str(ROOT / "benchmarks" / "leak_audit.py"))["check_recipes"]
    check({"epochs": 3, "split_by": "image", "out": "a"}, {"epochs": 3, "split_by": "field", "out": "b"})
    with pytest.raises(ValueError, match="differ in more than their split: epochs, seed"):
        check({"epochs": 3, "split_by": "image"}, {"epochs": 4, "split_by": "field", "seed": 0})


def test_the_readme_tells_what_fine_tuning_brings():
    found = read("benchmarks/unknown_type.json")
    before, after = (found["models"][name] for name in ("disturb", "fine-tuned"))
    assert f"score of {before['score']:.3f} on {before['images']} images" in README
    assert f"and {after['score']:.3f} after" in README
    assert f"with {found['images_to_learn_from']} images from other fields" in README
    assert f"finds {after['recall_50']:.0%} of their nuclei instead of {before['recall_50']:.0%}" in README
    assert f"{after['merges']} times two or more for one, before {before['merges']} times" in README


def test_the_readme_tells_what_light_and_colour_bring():
    models = read("benchmarks/unknown_type.json")["models"]
    names = {"flip": "none", "disturb_half": "half of them", "disturb": "all of them"}
    for name, crops in names.items():
        scores = [f"{models[name][what]:.3f}" for what in ("validation", "score", "thresholds")]
        assert f"| {crops} | {' | '.join(scores)} |" in README


def test_the_readme_tells_what_a_second_look_brings():
    for name, score in read("benchmarks/looks.json")["scores"].items():
        assert f"| {name} | {score:.3f} |" in README


def test_the_readme_tells_what_candidates_bring():
    types = read("benchmarks/candidates.json")["types"]
    for name, found in types.items():
        scores = [f"{score:.3f}" for way, score in found.items() if way != "images"]
        assert f"| {name} | {found['images']} | {' | '.join(scores)} |" in README
    images = sum(found["images"] for found in types.values())
    left_out, thresholds = (
        sum(found["images"] * found[way] for found in types.values()) / images
        for way in ("candidates, type left out", "thresholds of the other types")
    )
    assert f"{left_out:.3f} instead of {thresholds:.3f}" in README


def test_readme_and_card_tell_what_the_model_is_bad_at():
    metrics = read("plot/metrics.json")
    for text in (README, CARD):
        assert f"{metrics['all']['merges']} predicted ones hold two" in text
        assert (
            f"pink-and-purple (a score of {metrics['by_type']['pink-and-purple tissue']['score']:.3f})"
            in text
        )
        assert f"purple ({metrics['by_type']['purple tissue']['score']:.3f})" in text


def test_the_card_tells_the_scores_of_the_last_run():
    metrics = read("plot/metrics.json")
    for kind, found in {**metrics["by_type"], "all": metrics["all"]}.items():
        scores = " | ".join(f"{found[name]:.3f}" for name in ("score", "ap_50", "ap_75"))
        assert f"| {kind} | {found['images']} | {scores} |" in CARD


def test_the_readme_tells_what_short_runs_tell():
    for name, run in read("benchmarks/ideas.json")["ideas"].items():
        assert f"| {name} | {run['val_score']:.3f} |" in README


def test_the_readme_tells_what_other_magnifications_cost():
    found = read("benchmarks/magnification.json")
    assert f"| {found['images']} images, magnified |" in README
    for way, scores in found["scores"].items():
        assert f"| {way} | {' | '.join(f'{score:.3f}' for score in scores.values())} |" in README


def test_the_readme_tells_what_a_large_image_takes():
    found = read("benchmarks/large_image.json")
    assert f"{found['side']:,} × {found['side']:,} pixels took {found['seconds']:.0f} seconds" in README
    assert f"{found['megapixels_per_second']} megapixels a second" in README
    assert f"{found['peak_memory_gb']} GB of memory" in README


def test_the_readme_tells_what_a_crowd_takes():
    found = read("benchmarks/crowded.json")
    assert f"{found['nuclei']:,} crowded nuclei, drawn in" in README
    assert f"told apart in {found['seconds']['candidates']:.1f} seconds" in README
    assert f"{found['nuclei_found']:,} come out" in README


@pytest.mark.parametrize("model, recipe", [("baseline", "baseline"), ("dsb2018", "dsb2018_longer")])
def test_a_recipe_has_the_parameters_of_the_model_that_is_shipped(model, recipe):
    used = read(f"saved_model/{model}/settings.json")["parameters"]
    recipe = yaml.safe_load((ROOT / "notebooks" / "recipes" / f"{recipe}.yml").read_text())
    same = (used.keys() & recipe.keys()) - {"encoder_weights", "model_folder", "plot_folder"}
    assert len(same) > 20 and {name: used[name] for name in same} == {name: recipe[name] for name in same}


def test_no_number_is_left_open():
    for path in (ROOT / "README.md", *(ROOT / "notebooks" / "recipes").glob("*.yml")):
        assert not re.search(r"\b(RUNMIN|MINUTES|SCORE|ACCURACY|TODO)\b", path.read_text()), path


def test_the_field_of_the_embedded_sample_taught_no_shipped_model():
    for path in (ROOT / "saved_model").glob("*/split.json"):
        split = json.loads(path.read_text())
        assert set(split["validation"]) >= HELD_OUT and not set(split["train"]) & HELD_OUT


def test_the_default_model_is_there():
    assert (ROOT / cli.MODEL / "model.keras").exists()


def test_the_readme_names_only_files_that_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "model", sorted((ROOT / "saved_model").glob("*/settings.json")), ids=lambda p: p.parent.name
)
def test_a_shipped_model_is_small_and_tells_no_path(model):
    assert (model.parent / "model.keras").stat().st_size < 30e6
    assert (model.parent / "README.md").exists(), "a model card"
    assert not re.search(r'"/|\.\./', model.read_text())
