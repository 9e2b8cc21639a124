"""Find cell nuclei in microscope images. The names that a notebook needs; the rest is in the modules."""

from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "common": "DEFAULT_MODEL ROOT quiet versions write_json",
    "data.samples": "Sample describe fingerprint load_samples survey",
    "images.intensity": "as_rgb8",
    "images.reading": "open_image",
    "notebook": "check_parameters parameter_values",
    "segmentation.model_folder": "check_replaceable",
    "segmentation.segmenter": "Segmenter",
    "training.parameters": "check_start check_training model_settings",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = list(_MODULES)


def __getattr__(name):
    """Import a module when a name of it is first asked for: TensorFlow alone takes seconds to load."""
    if name in _MODULES:
        with import_module("nuclei.common").quiet():  # TensorFlow's log messages
            return getattr(import_module(f"nuclei.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'nuclei' has no attribute {name!r}")
