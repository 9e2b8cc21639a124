"""Which files are images, and what they are called."""

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from glob import glob
from pathlib import Path, PurePosixPath

from nuclei.common import some

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

ENDINGS = ("_cp_masks", "_masks", "_labels")  # the longest first, as one ends like another

BY_PRODUCTS = ("_overlay", "_flows", "_cp_outlines")  # pictures that programs write beside their labels


UNREAD = (".webp", ".jp2", ".czi", ".nd2", ".lif", ".zarr", ".vsi", ".oib", ".oif", ".ims", ".mrxs")
"""Formats of images that are not read."""

CONVERT = "convert it to TIFF or OME-TIFF, with Fiji (File > Save As) or bioformats2raw and raw2ometiff"


def is_picture(path: PurePosixPath) -> bool:
    """Return whether a file is a picture by its name, and not hidden."""
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return path.suffix.lower() in SUFFIXES and not hidden


RESULTS = (*ENDINGS, *BY_PRODUCTS)
"""Endings of names, before the suffix, of pictures that this and other programs write beside an image."""


def find_images(places: Iterable[str | Path]) -> tuple[Path, dict[str, Path]]:
    """Find image files, and name them by where they lie.

    Parameters
    ----------
    places : iterable of str or Path
        Files, folders (searched with all below them), or patterns such as ``plates/*/dapi_*.tif``.

    Returns
    -------
    Path
        The folder that all have in common, absolute.
    dict of str to Path
        Names are paths from that folder, with ``/`` and without the suffix, which stays only where two files
        would have one name. An image that lies in ``<id>/images/<id>.png`` is named as its folder, ``<id>``.

    Raises
    ------
    FileNotFoundError
        A place is not there, or there is no image in any.

    Warns
    -----
    UserWarning
        A folder has files in `UNREAD` formats.

    Notes
    -----
    Hidden files, files in ``masks/`` and ``labels/`` beside a folder ``images/``, and names that end in one
    of `RESULTS` are not images. Links to folders are followed.
    """
    folders: list[Path] = []
    files: dict[Path, Path] = {}
    for place in map(str, places):
        named = os.path.exists(place)
        matches = [place] if named else sorted(glob(place, recursive=True))
        if not matches:
            raise FileNotFoundError(f"IMAGES {place}: no such file or folder; check the path")
        for match in map(Path, matches):
            inside = files_below(match) if match.is_dir() else [match]
            warn_of_unread((path.relative_to(match).as_posix() for path in inside), match)
            chosen = named and match.is_file()  # by name, so that its suffix does not matter
            folders.append(match if match.is_dir() else match.parent)
            files |= {_absolute(path): path for path in inside if _is_image(path, match, chosen)}
    if not files:
        raise FileNotFoundError(
            f"{', '.join(map(str, places))}: no images found, expected files that end in "
            f"{', '.join(SUFFIXES)}. Those in masks/ or labels/, and names that end in "
            f"{', '.join(RESULTS)}, are results."
        )
    root = Path(os.path.commonpath([_absolute(folder) for folder in folders]))
    names = {path: _name(path, root) for path in files}
    full = {path: path.relative_to(root).as_posix() for path in files}
    taken = Counter(names.values()) + Counter(full.values())
    return root, {full[p] if taken[name] > 1 else name: files[p] for p, name in names.items()}


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder and the folders that links in it lead to, each folder once, sorted."""
    files, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in visited:  # a link to a folder around it would never end
            folders.clear()
            continue
        visited.add(real)
        files += [file for name in names if (file := Path(place, name)).is_file()]
    return sorted(files)


def warn_of_unread(names: Iterable[str], place: str | Path) -> None:
    """Warn once of images in a folder or zip whose formats are not read; `names` are paths in it, with /."""
    paths = [PurePosixPath(name).parts for name in names]
    found = {
        "/".join(parts[: k + 1])  # an OME-Zarr is a folder: its many files count as one
        for parts in paths
        for k, part in enumerate(parts)
        if part.lower().endswith(UNREAD) and not any(p.startswith(".") for p in parts[: k + 1])
    }
    if found:
        warnings.warn(
            f"{place}: {some(sorted(found))} left out, in a format that is not read; {CONVERT}", stacklevel=3
        )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _is_image(path: Path, place: Path, chosen: bool) -> bool:
    below = path.relative_to(place).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in below)
    labels = path.parent.name in ("masks", "labels") and (path.parent.parent / "images").is_dir()
    fits = chosen or (path.suffix.lower() in SUFFIXES and path.is_file())
    return fits and not hidden and not labels and not path.stem.endswith(RESULTS)


def _name(path: Path, root: Path) -> str:
    below = path.relative_to(root)
    if path.parts[-3:-1] == (path.stem, "images"):
        return (below.parents[1] if len(below.parts) > 2 else Path(path.stem)).as_posix()
    return below.with_suffix("").as_posix()
