"""Images as people have them: which files are images, and what one file holds.

A file may hold more than a picture: pages (planes of a stack, time points), channels, and how large a pixel
is. Pages and channels are counted from 0.
"""

import os
from collections import Counter
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from nuclei import data
from nuclei.layouts import BY_PRODUCTS, ENDINGS, SUFFIXES
from nuclei.tiffs import naming, read_tiff

RESULTS = (*ENDINGS, *BY_PRODUCTS)
"""Endings of names, before the suffix, of pictures that this and other programs write beside an image."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF file begins, by byte order; with + for more than 4 GB."""


class Picture(NamedTuple):
    """What a file holds.

    image : (H, W) or (H, W, 2 to 4) array of any type, the values of the file
        What a model looks at: grey, grey + alpha, RGB or RGB + alpha.
    channels : (H, W, C) array of the same type
        All that can be measured: every channel of the page, without alpha.
    pixel_size : float or None
        Micrometres; None where the file does not tell, or has pixels that are no squares.
    """

    image: np.ndarray
    channels: np.ndarray
    pixel_size: float | None = None


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

    Notes
    -----
    Not taken for images are hidden files, files in ``masks/`` and ``labels/`` beside a folder ``images/``,
    and names that end in one of `RESULTS`.
    """
    folders, files = [], {}
    for place in map(str, places):
        named = os.path.exists(place)
        matches = [place] if named else sorted(glob(place, recursive=True))
        if not matches:
            raise FileNotFoundError(f"IMAGES {place}: no such file or folder; check the path")
        for match in map(Path, matches):
            inside = sorted(match.rglob("*")) if match.is_dir() else [match]
            chosen = named and match.is_file()  # by name, so that its suffix does not matter
            folders.append(match if match.is_dir() else match.parent)
            files |= {_absolute(path): path for path in inside if _is_image(path, match, chosen)}
    if not files:
        raise FileNotFoundError(
            f"{', '.join(map(str, places))}: no images found, expected files that end in "
            f"{', '.join(SUFFIXES)}. Those in masks/ or labels/, and names that end in "
            f"{', '.join(RESULTS)}, are taken for results."
        )
    root = Path(os.path.commonpath([_absolute(folder) for folder in folders]))
    names = {path: _name(path, root) for path in files}
    full = {path: path.relative_to(root).as_posix() for path in files}
    taken = Counter(names.values()) + Counter(full.values())
    return root, {full[p] if taken[name] > 1 else name: files[p] for p, name in names.items()}


def read_picture(
    file: str | Path | BinaryIO,
    channel: int | None = None,
    page: int | None = None,
    name: str | None = None,
) -> Picture:
    """Read a PNG, JPEG or TIFF file.

    Parameters
    ----------
    file : str, Path or binary file
    channel : int, optional
        Which channel, or colour, the image is, from 0; needed where there are several that are no colours.
    page : int, optional
        Which plane the image is, from 0; needed where there are several.
    name : str, optional
        What errors call the file; by default its path.

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        The file is broken or no image, has several pages or channels and none was chosen (the error lists
        them), not the one that was, or values that are no numbers.
    OSError
        The file cannot be opened.
    """
    name = str(file) if name is None else name
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            return read_picture(opened, channel, page, name)
    begin = file.read(4)
    file.seek(0)
    if begin in TIFF:
        with naming(name):
            pixels, colours, pixel_size = read_tiff(file, channel, page)
    else:
        content = file.read()
        pixels, colours, pixel_size = np.atleast_3d(data.decode(lambda _: content, name)), True, None
        if page or pixels.ndim > 3:
            raise ValueError(f"{name}: a file of one page was expected; save one page of it, or give no page")
    check_values(pixels, name)
    measured, seen = choose_channels(pixels.shape[2], colours, channel, name)
    image = pixels[..., seen]
    return Picture(image[..., 0] if image.shape[2] == 1 else image, pixels[..., measured], pixel_size)


def check_values(pixels: np.ndarray, name: str) -> None:
    """Raise ValueError where values are no numbers; it calls the file by `name`."""
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{name}: values of type {pixels.dtype}, expected whole or decimal numbers")
    if pixels.dtype.kind == "f" and (bad := np.count_nonzero(~np.isfinite(pixels))):
        raise ValueError(f"{name}: {bad:,} of {pixels.size:,} values are NaN or infinite; replace them first")


def choose_channels(count: int, colours: bool, channel: int | None, name: str) -> tuple[slice, slice]:
    """Choose among the channels of a file.

    Parameters
    ----------
    count : int, how many there are
    colours : bool, whether they are grey or RGB, with or without alpha
    channel : int, optional; see `read_picture`
    name : str, what errors call the file

    Returns
    -------
    slice, slice
        The channels to measure, and those that a model looks at; see `Picture`.

    Raises
    ------
    ValueError
        There is no such channel.
    """
    measured = {2: 1, 4: 3}.get(count, count) if colours else count
    if channel is None:
        return slice(measured), slice(count)
    if not 0 <= channel < measured:
        raise ValueError(f"{name}: channel {channel} was asked for, there are {measured} from 0")
    return slice(measured), slice(channel, channel + 1)


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
