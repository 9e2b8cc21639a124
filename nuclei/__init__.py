"""Find cell nuclei in microscope images. The names that a notebook needs; the rest is in the modules."""

from nuclei.data import ROOT, Sample, describe, fingerprint, load_samples, survey
from nuclei.files import write_json
from nuclei.parameters import check_parameters, parameters
from nuclei.segmenter import Segmenter, versions

__all__ = [
    "ROOT",
    "Sample",
    "Segmenter",
    "check_parameters",
    "describe",
    "fingerprint",
    "load_samples",
    "parameters",
    "survey",
    "versions",
    "write_json",
]
