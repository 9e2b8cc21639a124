"""What notebooks need of their own: a guard for their parameters, and silence.

papermill lets a misspelt parameter pass with a mere warning, and TensorFlow talks while it is loaded.
"""

import ast


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
        A value has another type than the parameter's, such as the text "false" for a bool. None, for
        "without", always passes (papermill cannot read ``str | None``).
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
        value = namespace[name]
        fits = type(value) in (kind, type(None)) or (kind is float and type(value) is int)
        if not fits:
            raise TypeError(
                f"parameter {name} is {value!r}, of type {type(value).__name__}; expected {kind.__name__}. "
                "In a recipe write 0.001, not 1e-3, and true or false without quotes."
            )


def parameter_values(namespace: dict) -> dict:
    """Return the notebook's parameters and their present values, to be saved with a result."""
    return {name: namespace[name] for name in namespace["__annotations__"]}
