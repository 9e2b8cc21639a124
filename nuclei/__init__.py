"""Find cell nuclei in microscope images. The names that a notebook needs; the rest is in the modules."""

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "DEFAULT_MODEL": "common",
    "ROOT": "common",
    "Sample": "data.samples",
    "Segmenter": "segmentation.segmenter",
    "as_rgb8": "images.intensity",
    "check_parameters": "notebook",
    "check_start": "training.parameters",
    "check_training": "training.parameters",
    "model_settings": "training.parameters",
    "describe": "data.samples",
    "fingerprint": "data.samples",
    "load_samples": "data.samples",
    "open_image": "images.reading",
    "parameter_values": "notebook",
    "quiet": "common",
    "survey": "data.samples",
    "versions": "common",
    "write_json": "common",
}
__all__ = list(_MODULES)


def __getattr__(name):
    """Import a module when a name of it is first asked for: TensorFlow alone takes seconds to load."""
    if name in _MODULES:
        with import_module("nuclei.common").quiet():  # TensorFlow's log messages
            return getattr(import_module(f"nuclei.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'nuclei' has no attribute {name!r}")
