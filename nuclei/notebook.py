"""What notebooks need of their own: a guard for their parameters, and silence.

papermill lets a misspelt parameter pass with a mere warning, and TensorFlow talks while it is loaded.
"""

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager

from nuclei.instances import TARGETS
from nuclei.pipeline import AUGMENTS
from nuclei.splits import check_fraction


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


def check_training(parameters: dict) -> None:
    """Stop 02_train before any long work where a parameter has a value that cannot be.

    Raises ValueError that names the parameter, what was found and what was expected.
    """
    choices = {"target": TARGETS, "augment": AUGMENTS, "monitor": ("val_accuracy", "val_score")}
    for name, known in choices.items():
        if parameters[name] not in known:
            raise ValueError(f"{name} is {parameters[name]!r}, expected one of {', '.join(known)}")
    if parameters["split_by"] not in ("field", "image") and not parameters["split_by"].endswith(".json"):
        raise ValueError(
            f"split_by is {parameters['split_by']!r}, expected field, image, or a path of a split.json"
        )
    for name in ("resize", "crop"):
        side = parameters[name]
        if side is not None and (side < 32 or side % 32):
            raise ValueError(
                f"{name} is {side}, expected a multiple of 32 pixels (the encoder halves five times)"
            )
    if (parameters["working_diameter"] or 0) < 0:
        raise ValueError(f"working_diameter is {parameters['working_diameter']}, expected 0 or more, or None")
    for name in ("epochs", "patience", "batch_size"):
        if parameters[name] < 1:
            raise ValueError(f"{name} is {parameters[name]}, expected 1 or more")
    if parameters["warmup_epochs"] and parameters["warmup_epochs"] >= parameters["epochs"]:
        raise ValueError(
            f"warmup_epochs is {parameters['warmup_epochs']}, expected fewer than epochs, "
            f"{parameters['epochs']}"
        )
    check_fraction(parameters["validation_fraction"])


def check_start(parameters: dict, settings: dict) -> None:
    """Stop 02_train where the model that it goes on from has learned from images in another form.

    Raises ValueError that names the parameter; `settings` are those of the model's folder.
    """
    for name in ("resize", "normalize"):
        if (parameters[name] or None) != (settings.get(name) or None):
            raise ValueError(
                f"{name} is {parameters[name]}, but the model in {parameters['start_from']} was trained with "
                f"{name} {settings.get(name)}: give it that value"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what native code writes to the standard error stream meanwhile; exceptions come through.

    TensorFlow tells at every import, before its log level counts, which processor features it found.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for later: no complaint about a missing GPU
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
