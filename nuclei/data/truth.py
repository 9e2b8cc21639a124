"""Images, and the truth about their nuclei that lies elsewhere: label images, masks or a CSV."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm
from tqdm.contrib.concurrent import thread_map

from nuclei.common import some
from nuclei.data.labels import as_labels, check_labels, check_nuclei
from nuclei.data.layouts import ending_of, find_samples, plain_stem
from nuclei.data.run_lengths import read_rle_csv, read_table
from nuclei.data.samples import Sample, numbered, open_files, read_labels
from nuclei.images.file_warnings import naming_warnings, working_on
from nuclei.images.finding import ENDINGS, SUFFIXES, is_picture, is_review, warn_of_unread
from nuclei.images.intensity import as_rgb8
from nuclei.images.reading import open_image, read_numbers


@naming_warnings()
def read_samples(
    images: Path, truth: Path, channel: int | None = None, page: int | None = None
) -> tuple[list[Sample], list[str]]:
    """Return the images that have a truth, sorted by id, and the ids of those that it marks as ignored.

    images : a folder or zip of images
    truth : their nuclei, elsewhere; for the forms of both see `nuclei.workflows.score.score`
    channel, page : see `nuclei.images.open_image`

    Raises FileNotFoundError or ValueError where anything is missing, broken or does not fit together.
    Warnings name the file.
    """
    names, content = open_files(images)
    warn_of_unread(names, images)
    pictures = _pictures(names)
    named = [(p.parts[-3], p) for p in pictures if len(p.parts) > 2 and p.parent.name == "images"]
    named = named or [(plain_stem(p), p) for p in pictures if len(p.parts) == 1 and not ending_of(p)]
    paths = _by_id(named, images, "<id>/images/<id>.png or files")

    def read(id: str) -> np.ndarray:
        with working_on(name := f"{images}/{paths[id]}"):
            return as_rgb8(open_image(io.BytesIO(content(str(paths[id]))), channel, page, name).pixels())

    # a folder may hold thousands of ignored images: they are checked, but not kept in memory
    checking = tqdm(paths, "checking images", unit="image", disable=None, leave=False)
    shapes = {id: read(id).shape[:2] for id in checking}
    labels, marked = read_truth(truth, shapes, page)
    ignored = sorted(marked & set(paths))
    if missing := sorted(set(paths) - set(labels) - marked):
        raise ValueError(
            f"{truth}: no truth for {some(missing)} in {images}; add it, or move the images elsewhere"
        )
    if not labels:
        raise ValueError(f"{truth}: all rows are marked as Ignored, expected at least one image to score")
    for id in labels:
        check_labels(labels[id], f"{truth}: the labels of {id}", shapes[id])
    return [numbered(id, read(id), labels[id]) for id in sorted(labels)], ignored


def read_truth(
    truth: Path, shapes: dict[str, tuple[int, int]], page: int | None = None
) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return (H, W) integer labels by id, and the ids that a CSV has in ignored rows alone.

    `shapes` are the images' (height, width) by id, `page` is theirs. Images beside the truth are not read.
    """
    if truth.is_file() and truth.suffix.lower() != ".zip":
        labels = read_rle_csv(truth, shapes)
        for id, each in labels.items():
            check_nuclei(each, f"{truth}: the labels of {id}")
        return labels, set(read_table(truth)["ImageId"]) - set(labels)
    names, content = open_files(truth)
    warn_of_unread(names, truth)
    found: Mapping[str, object]
    if any(PurePosixPath(name).parent.name == "images" for name in names):
        found = files = find_samples(names, truth)

        def read(id: str) -> np.ndarray:
            return read_labels(content, files[id], shapes[id], page)

    else:
        pictures = [path for path in _pictures(names) if len(path.parts) == 1]
        with_ending = [path for path in pictures if ending_of(path) in ENDINGS]  # maybe beside their images
        named = [(plain_stem(path, ending_of(path)), path) for path in with_ending or pictures]
        found = paths = _by_id(named, truth, "label images directly in it")

        def read(id: str) -> np.ndarray:
            name = f"{truth}/{paths[id]}"
            return as_labels(read_numbers(content(str(paths[id])), name), name)

    if unknown := sorted(found.keys() - shapes.keys()):
        listed = f"{some(unknown)} not among the images to score"
        raise ValueError(f"{truth}: {listed}; add them, or move their labels elsewhere")
    bar = {"desc": "reading labels", "unit": "image", "disable": None, "leave": False}
    return dict(zip(found, thread_map(read, found, **bar), strict=True)), set()


def _pictures(names: Iterable[str]) -> list[PurePosixPath]:
    """Return the paths of all pictures in a folder or zip, sorted."""
    paths = list(map(PurePosixPath, sorted(names)))
    return [path for path in paths if is_picture(path) and not is_review(path, paths.__contains__)]


def _by_id(named: list[tuple[str, PurePosixPath]], source: Path, expected: str) -> dict[str, PurePosixPath]:
    """Return pictures by id; FileNotFoundError without any, ValueError where several have one id."""
    if not named:
        endings = f"that end in {', '.join(SUFFIXES)}"
        raise FileNotFoundError(f"{source}: no pictures found, expected {expected} {endings}; check the path")
    id, count = Counter(id for id, _ in named).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{source}: more than one picture for {id}, expected one; rename one or move it elsewhere"
        )
    return dict(named)
