import pytest

from nuclei.training.parameters import check_start, check_training, model_settings

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
    "scale_range": [1.0, 1.0],
    "learning_rate": 0.001,
    "figure_epochs": [],
}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"target": "instance"}, "target is 'instance', expected one of foreground, distance"),
        (
            {"augment": "flips"},
            "augment is 'flips', expected one of none, flip, colour_jitter_half, colour_jitter, strong",
        ),
        ({"monitor": "val_loss"}, "monitor is 'val_loss', expected one of val_accuracy, val_score"),
        ({"monitor": "val_score"}, "monitor is 'val_score', which is measured on crops .* null as resize"),
        ({"split_by": "fields"}, "split_by is 'fields', expected field, image, or the path"),
        ({"resize": 100}, "resize is 100, expected a multiple of 32 pixels"),
        ({"resize": None, "crop": 0}, "crop is 0, expected a multiple of 32 pixels"),
        ({"working_diameter": -25}, "working_diameter is -25, expected 0 or more"),
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"warmup_epochs": 1}, "warmup_epochs is 1, expected fewer than epochs, 1"),
        ({"warmup_epochs": 2, "epochs": 5, "decay_epochs": 4}, "decay_epochs is 4, expected at most 3"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0, expected a number above 0 and below 1"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1, expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number above 0"),
        ({"weight_average": 1.0}, "weight_average is 1.0, expected a number from 0 and below 1"),
        ({"scale_range": []}, r"scale_range is \[\], expected two factors above 0"),
        ({"scale_range": [2, 1]}, r"scale_range is \[2, 1\], expected two factors above 0, the lesser first"),
        ({"scale_range": [0, 1]}, r"scale_range is \[0, 1\], expected two factors above 0"),
        ({"scale_range": ["a", "b"]}, "scale_range is .* expected two factors"),
        ({"crop_diameters": [7, 25]}, "crop_diameters is .* expected three diameters"),
        ({"figure_epochs": [0]}, r"figure_epochs is \[0\], expected a list of epochs, counted from 1"),
        ({"edge_weight": -1.0}, "edge_weight is -1.0, expected 0 or more"),
        ({"steps_per_epoch": 0}, "steps_per_epoch is 0, expected 1 or more"),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"augment": "strong"}, "augment is 'strong', which needs square crops"),
        ({"crop_diameters": [9, 9, 9]}, "expected the first below the last"),
        ({"epochs": None}, "epochs is None, expected 1 or more"),
        ({"warmup_epochs": None}, "warmup_epochs is None, expected 0 or more"),
        ({"channel": -1}, "channel is -1, expected 0 or more"),
    ],
)
def test_a_training_that_cannot_be_is_stopped_at_once(changed, message):
    check_training(GOOD)
    with pytest.raises(ValueError, match=message):
        check_training(GOOD | changed)


def test_a_training_continues_with_images_and_maps_of_the_kind_of_its_model():
    parameters = {
        "start_from": "saved_model/mine", "resize": None, "normalize": True, "target": "interior"
    }  # fmt: skip
    check_start(parameters, {"resize": None, "normalize": True}, 2)
    check_start(parameters | {"normalize": False}, {"resize": None}, 2)
    with pytest.raises(
        ValueError, match="target is 'interior', which has 2 maps, .* predicts 1: expected fore"
    ):
        check_start(parameters, {"resize": None, "normalize": True}, 1)
    with pytest.raises(
        ValueError, match="normalize is True, but the model in saved_model/mine was trained with"
    ):
        check_start(parameters, {"resize": None}, 2)
    with pytest.raises(ValueError, match="resize is None, but .* with resize 128: give it that value"):
        check_start(parameters, {"resize": 128, "normalize": True}, 2)


def test_the_model_is_used_as_it_was_trained(squares):
    """The squares' nuclei have 63 pixels: a diameter of 8.96."""
    parameters = {"resize": None, "normalize": True, "working_diameter": None, "scale_range": [0.5, 2.0]}
    plain = {"resize": None, "normalize": True, "working_diameter": 0, "diameters": [4.5, 17.9]}
    assert model_settings(parameters, squares) == plain
    assert model_settings(parameters, squares, {"working_diameter": 25})["working_diameter"] == 25
    assert model_settings(parameters | {"working_diameter": 20}, squares, plain)["working_diameter"] == 20
    assert model_settings(parameters | {"crop_diameters": [7, 25, 80]}, squares)["diameters"] == [7.0, 80.0]
    for resized in ({"resize": 128}, {"resize": 128, "crop_diameters": [7, 25, 80]}):
        assert "diameters" not in model_settings(parameters | resized, squares)
