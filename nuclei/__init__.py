"""Find cell nuclei in microscope images. The names that a notebook needs; the rest is in the modules."""

from importlib import import_module

_MODULES = {
    "ROOT": "data",
    "Sample": "data",
    "Segmenter": "segmenter",
    "as_rgb8": "data",
    "check_parameters": "notebook",
    "check_start": "notebook",
    "check_training": "notebook",
    "describe": "data",
    "fingerprint": "data",
    "load_samples": "data",
    "parameter_values": "notebook",
    "quiet": "notebook",
    "survey": "data",
    "versions": "segmenter",
    "write_json": "files",
}
__all__ = list(_MODULES)


def __getattr__(name):
    """Import a module when a name of it is first asked for: TensorFlow alone takes seconds to load."""
    if name in _MODULES:
        return getattr(import_module(f"nuclei.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'nuclei' has no attribute {name!r}")
