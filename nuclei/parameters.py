"""Notebook parameters: what they are, and a guard, as papermill lets a misspelt name pass with a warning."""

import ast
import typing


def check_parameters(namespace: dict) -> None:
    """Stop a notebook whose injected parameters do not match its parameters cell.

    Call it as ``check_parameters(globals())`` after the cell that is tagged "parameters", in which every
    parameter stands with its type: ``epochs: int = 2  # passes over the training set``.

    Parameters
    ----------
    namespace : dict
        The notebook's globals. ``In`` is IPython's list of the cells run so far.

    Raises
    ------
    NameError
        A name was injected that the parameters cell does not know.
    TypeError
        A value has another type than the parameter's, such as the text "false" for a bool.
    """
    expected = namespace.get("__annotations__", {})
    for cell in namespace.get("In", []):
        if not cell.startswith("# Parameters"):  # papermill's heading of the cell that it injects
            continue
        for statement in ast.parse(cell).body:
            if isinstance(statement, ast.Assign) and (name := statement.targets[0].id) not in expected:
                raise NameError(
                    f"unknown parameter {name!r}. This notebook has: {', '.join(sorted(expected))}."
                )
    for name, kind in expected.items():
        value, kinds = namespace[name], typing.get_args(kind) or (kind,)
        if isinstance(value, int) and float in kinds and not isinstance(value, bool):
            continue  # 1 is a fine float
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(
                f"parameter {name} is {value!r}, of type {type(value).__name__}; expected {_name(kinds)}. "
                "In a recipe write 0.001, not 1e-3, and true or false without quotes."
            )


def parameters(namespace: dict) -> dict:
    """Return the notebook's parameters and their present values, to be saved with a result."""
    return {name: namespace[name] for name in namespace["__annotations__"]}


def _name(kinds: tuple) -> str:
    return " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
