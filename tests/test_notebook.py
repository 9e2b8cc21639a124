import os

import pytest

from nuclei.common import quiet
from nuclei.notebook import check_parameters, parameter_values
from nuclei.training.parameters import check_start, check_training


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


def test_native_chatter_is_dropped_and_errors_come_through(capfd):
    os.write(2, b"before ")
    with pytest.raises(ImportError, match="real trouble"), quiet():
        os.write(2, b"chatter ")
        raise ImportError("real trouble")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


GOOD = {
    "target": "foreground",
    "augment": "none",
    "monitor": "val_accuracy",
    "split_by": "field",
    "resize": 128,
    "crop": 192,
    "working_diameter": None,
    "epochs": 1,
    "patience": 5,
    "batch_size": 16,
    "warmup_epochs": 0,
    "validation_fraction": 0.2,
}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"target": "instance"}, "target is 'instance', expected one of foreground, distance"),
        ({"augment": "flips"}, "augment is 'flips', expected one of none, flip, disturb_half, disturb"),
        ({"monitor": "val_loss"}, "monitor is 'val_loss', expected one of val_accuracy, val_score"),
        ({"split_by": "fields"}, "split_by is 'fields', expected field, image, or a path"),
        ({"resize": 100}, "resize is 100, expected a multiple of 32 pixels"),
        ({"resize": None, "crop": 0}, "crop is 0, expected a multiple of 32 pixels"),
        ({"working_diameter": -25}, "working_diameter is -25, expected 0 or more, or None"),
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"warmup_epochs": 1}, "warmup_epochs is 1, expected fewer than epochs, 1"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0, expected a number above 0 and below 1"),
    ],
)
def test_a_training_that_cannot_be_is_stopped_at_once(changed, message):
    check_training(GOOD)
    with pytest.raises(ValueError, match=message):
        check_training(GOOD | changed)


def test_a_training_goes_on_with_images_in_the_form_the_model_knows():
    parameters = {"start_from": "saved_model/mine", "resize": None, "normalize": True}
    check_start(parameters, {"resize": None, "normalize": True})
    check_start(parameters | {"normalize": False}, {"resize": None})
    with pytest.raises(
        ValueError, match="normalize is True, but the model in saved_model/mine was trained with"
    ):
        check_start(parameters, {"resize": None})
    with pytest.raises(ValueError, match="resize is None, but .* with resize 128: give it that value"):
        check_start(parameters, {"resize": 128, "normalize": True})
