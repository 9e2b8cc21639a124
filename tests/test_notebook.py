import os

import pytest

from nuclei.common import quiet
from nuclei.notebook import check_parameters, parameter_values


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
