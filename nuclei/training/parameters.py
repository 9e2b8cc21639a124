"""The parameters of a training, checked before any long work."""

from nuclei.data.splits import check_fraction
from nuclei.training.augmentation import AUGMENTS
from nuclei.training.targets import TARGETS


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
