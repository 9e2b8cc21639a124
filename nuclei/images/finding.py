"""Which files are images, and what they are called."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from glob import glob
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from nuclei.common import checked_path, some

ZARR = ".zarr"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
UNREAD = tuple(
    ".webp .jp2 .gif .avif .heic .zarr .h5 .czi .nd2 .lif .vsi .oib .oif .oir .ims .dv .lsm .stk .zvi .mrxs "
    ".svs .ndpi .scn".split()
)
CONVERT = "convert it to TIFF, with Fiji (File > Save As), bioformats2raw and raw2ometiff, or tifffile"

ENDINGS = ("_cp_masks", "_masks", "_labels")  # of label images; the longest first, as one ends like another
BY_PRODUCTS = ("_overlay", "_flows", "_cp_outlines")  # of pictures that programs write beside their labels
RESULTS = (*ENDINGS, *BY_PRODUCTS)


def is_picture(path: PurePath, suffixes: Sequence[str] = SUFFIXES) -> bool:
    """Return whether a path below a folder or in a zip is a picture by its name, and not hidden."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in suffixes and not hidden


def is_review(path: PurePath, exists: Callable[[Any], bool]) -> bool:
    """Return whether a picture is the contact sheet of a run: its table lies beside it."""
    return path.name == "review.png" and exists(path.with_name("review.csv"))


def is_address(place: object) -> bool:
    """Return whether a place is an address such as ``s3://bucket/a.zarr``."""
    return "://" in str(place)


def is_zarr(place: str | Path) -> bool:
    """Return whether a place is the folder of an OME-Zarr or of an image in one, or an address."""
    metadata = (Path(place, name).is_file() for name in (".zattrs", ".zgroup", "zarr.json"))
    return is_address(place) or Path(place).suffix.lower() == ZARR and Path(place).is_dir() or any(metadata)


def find_images(places: str | Path | Iterable[str | Path]) -> tuple[Path, dict[str, str | Path]]:
    """Find image files: named ones, those below folders, those of patterns such as ``plates/*/dapi_*.tif``.

    An OME-Zarr is one image; it may also have an address, such as ``s3://bucket/a.zarr``. Hidden files, those
    in ``masks/`` and ``labels/`` beside a folder ``images/``, and names that end in one of `RESULTS` are not
    images. Links to folders are followed. Warns of `UNREAD` formats in a folder, and of names of results
    without their image.

    Returns the folder that all have in common, absolute, and the files by name: a name is the path from that
    folder, with ``/`` and without the suffix, which stays only where two files would have one name. An image
    that lies in ``<id>/images/<id>.png`` is named as its folder, ``<id>``. Raises FileNotFoundError if a
    place is not there, or there is no image in any; TypeError or ValueError if one is no path.
    """
    if isinstance(places, (str, Path)) or not isinstance(places, Iterable):
        places = [places]
    given = [str(place if is_address(place) else checked_path("images", place)) for place in places]
    folders: list[Path] = []
    files: dict[Path, str | Path] = {}
    for place in given:
        if is_address(place):
            path = Path("/", place.replace("://", "/").rstrip("/"))
            folders.append(path.parent)
            files[path] = place
            continue
        named = os.path.exists(place)
        matches = [Path(place)] if named else _existing(map(Path, glob(place, recursive=True)))
        if not matches:
            raise FileNotFoundError(f"`images` {place}: no such file or folder; check the path")
        for match in matches:
            folder, inside = match.parent, [match]
            if match.is_dir() and not is_zarr(match):
                folder, below = match, [path.relative_to(match) for path in files_below(match)]
                warn_of_unread((path.as_posix() for path in below if path.suffix.lower() != ZARR), match)
                inside = [match / path for path in below if is_picture(path, (*SUFFIXES, ZARR))]
            elif not match.is_file() and not is_zarr(match):  # opening a pipe would block
                raise ValueError(f"`images` {match}: neither a file nor a folder")
            elif not named:  # a file that is named is an image whatever its suffix
                is_image = is_picture(PurePath(match.name), (*SUFFIXES, ZARR))
                is_image = is_image or is_zarr(match) and not {*match.parents}.intersection(matches)
                inside = [match] if is_image else []
            folders.append(Path(os.path.abspath(folder)))
            files |= {Path(os.path.abspath(path)): path for path in inside}
    left_out = {path for path in files if _is_result(path)}
    files = {path: place for path, place in files.items() if path not in left_out}
    if not files:
        expected = f"no images found, expected files that end in {', '.join((*SUFFIXES, ZARR))}"
        results = f"Those in masks/ or labels/, and names that end in {', '.join(RESULTS)}, are results."
        raise FileNotFoundError(f"`images` {', '.join(given)}: {expected}. {results}")
    _warn_of_names(left_out, files)
    root = Path(os.path.commonpath(folders))
    names = {path: _name(path, root) for path in files}
    full = {path: path.relative_to(root).as_posix() for path in files}
    taken = Counter(names.values()) + Counter(full.values())
    return root, {full[p] if taken[name] > 1 else name: files[p] for p, name in names.items()}


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder and the folders that links in it lead to, each folder once, sorted.

    An OME-Zarr, a folder of many files, counts as one. Warns of pictures that are links to nothing.
    """
    files, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in visited:  # a link to a folder around it would never end
            folders.clear()
            continue
        visited.add(real)
        zarrs = [name for name in folders if PurePath(name).suffix.lower() == ZARR]
        folders[:] = [name for name in folders if name not in zarrs]
        files += [Path(place, name) for name in (*zarrs, *names)]
    return [file for file in _existing(files) if file.is_file() or file.suffix.lower() == ZARR]


def _existing(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that are there, sorted; warn of pictures that are links to nothing.

    git-annex and DataLad leave such links where they have not yet fetched a file.
    """
    paths = sorted(paths)
    missing = {path for path in paths if not path.exists()}
    if broken := [path for path in missing if is_picture(PurePath(path.name), (*SUFFIXES, ZARR))]:
        warnings.warn(f"{some(sorted(broken))} left out, links to files that are not there", stacklevel=1)
    return [path for path in paths if path not in missing]


def warn_of_unread(names: Iterable[str], place: str | Path) -> None:
    """Warn once of `UNREAD` formats in a folder or zip; `names` are the paths of all files in it, with /."""
    found = {
        str(part)  # an OME-Zarr is a folder: its many files count as one
        for path in map(PurePosixPath, names)
        for part in (path, *path.parents)
        if is_picture(part, UNREAD)
    }
    if found:
        unread = f"{some(sorted(found))} left out, in a format that is not read"
        warnings.warn(f"{place}: {unread}; {CONVERT}", stacklevel=3)


def _is_result(path: Path) -> bool:
    labels = path.parent.name in ("masks", "labels") and (path.parent.parent / "images").is_dir()
    return labels or is_review(path, Path.is_file) or path.stem.endswith(RESULTS)


def _warn_of_names(results: Iterable[Path], images: Iterable[Path]) -> None:
    """Warn of files that are taken for results by their names, but whose image or run is not there."""
    known = {path.with_suffix("") for path in images}
    alone = []
    for path in sorted(results):
        ending = next((each for each in RESULTS if path.stem.endswith(each)), "")
        if ending and path.with_name(path.stem.removesuffix(ending)) not in known:
            alone.append(path)
    runs = {folder for path in alone for folder in path.parents}
    runs = {folder for folder in runs if (folder / "run.json").exists()}
    if alone := [path for path in alone if runs.isdisjoint(path.parents)]:
        reason = "as their names end as those of results do; rename them"
        warnings.warn(f"{some(alone)} left out, {reason}", stacklevel=3)


def _name(path: Path, root: Path) -> str:
    below = path.relative_to(root)
    if path.parts[-3:-1] == (path.stem, "images"):
        return (below.parents[1] if len(below.parts) > 2 else Path(path.stem)).as_posix()
    return below.with_suffix("").as_posix()
