"""The library's shape: short modules and functions, imports that point downwards only."""

import ast

import pytest

from nuclei import ROOT

ROOMS = "common images data segmentation evaluation figures training output workflows cli".split()
"""From the lowest to the highest: each imports only from itself and from those before it."""

ABOVE_ALL = {"__init__", "__main__", "notebook"}
MODULES = sorted((ROOT / "nuclei").rglob("*.py"))
LARGEST_MODULE, LARGEST_FUNCTION = 400, 60  # lines; docstrings of functions not counted


def room(path):
    """Return the room of a module: its sub-package, or its own name at the top level."""
    return path.relative_to(ROOT / "nuclei").with_suffix("").parts[0]


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nuclei":
            parts = node.module.split(".")[1:] or [alias.name for alias in node.names]
            yield parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_short_and_so_are_its_functions(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LARGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = len((ast.get_docstring(node, clean=False) or "").splitlines())
            assert node.end_lineno - node.lineno + 1 - docstring <= LARGEST_FUNCTION, node.name


@pytest.mark.parametrize(
    "path", [p for p in MODULES if room(p) not in ABOVE_ALL], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_downwards(path):
    above = ROOMS[ROOMS.index(room(path)) + 1 :]
    assert not {*imported_rooms(path)} & {*above, *ABOVE_ALL}
