"""The folder of a trained model: the networks, their settings, the split and the history."""

import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nuclei.common import model_folder, replacing, some, write_json
from nuclei.images.tiles import STRIDE
from nuclei.segmentation.candidates import FEATURES
from nuclei.segmentation.inference import StoredNetwork, as_keras, engine
from nuclei.segmentation.strangeness import Usual, encoder_features

if TYPE_CHECKING:
    import keras  # takes seconds to import

FILES = ("model.keras", "settings.json", "split.json", "history.csv")

IOU_FILE = "iou.keras"  # of models that rate candidates
USUAL_FILE = "usual.npz"  # of models that know their training images

FORMER_USUAL = (
    "a former format, which does not hold the training images one by one, so that images unlike them get no "
    "warning. Train the model again with 02_train."
)


def _ascending(values: Any, high: float = inf) -> bool:
    """Return whether `values` is a list of finite numbers from 0 to `high`, none below the one before."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return False
    return all(a <= b for a, b in pairwise([0, *values, high])) and inf not in values


def _is_calibration(curve: Any) -> bool:
    if not isinstance(curve, dict) or not curve:
        return curve == {}
    x, y = curve.get("confidence", []), curve.get("probability", [])
    return _ascending(x) and _ascending(y, 1) and len(x) == len(y) > 0


def _is_half(half: Any) -> bool:
    """Return whether it is an entry of ``cross_tuned``, see `nuclei.segmentation.segmenter.Segmenter`."""
    if not isinstance(half, dict) or not _is_calibration(half.get("calibration") or {}):
        return False
    return isinstance(half.get("images"), list) and isinstance(half.get("thresholds"), dict)


RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "resize": (
        lambda side: type(side) is int and side > 0 and side % STRIDE == 0,
        f"a multiple of {STRIDE} pixels",
    ),
    "thresholds": (lambda thresholds: isinstance(thresholds, dict), "thresholds by name"),
    "normalize": (lambda value: isinstance(value, bool), "true or false"),
    "working_diameter": (lambda value: _ascending([value]), "a number of pixels from 0"),
    "diameters": (lambda pair: _ascending(pair) and len(pair) == 2, "two diameters, the smaller first"),
    "calibration": (
        _is_calibration,
        "lists of confidence and probability, of one length, ascending, the latter up to 1",
    ),
    "cross_tuned": (
        lambda halves: isinstance(halves, list) and all(map(_is_half, halves)),
        "for each half its images, thresholds and calibration",
    ),
}
"""The settings of a model, a check of each, and what is expected; all but ``thresholds`` may be null."""

THRESHOLDS = ("foreground_threshold", "marker_threshold", "min_area", "min_confidence", "smoothing")
"""Of a model without an IoU network; the first two must be there."""


def read_model_folder(folder: str | Path, callers: int = 1) -> dict:
    """Read a model from its folder alone: the fields of `nuclei.segmentation.segmenter.Segmenter`, by name.

    `callers` is the number of threads that will predict at the same time, see `StoredNetwork`. Without an IoU
    network, or without ``usual.npz``, the fields made from them are left out.

    Raises FileNotFoundError where the folder or one of its files is missing, ValueError where a file cannot
    be read, is of another model, or the settings lack what the model needs; see also
    `nuclei.segmentation.inference.engine`.

    Three former formats are recognised. With ``rescale_below`` above 0 small nuclei were enlarged by a rule
    that is gone: ValueError. An IoU network without ``calibration`` was trained and tuned when candidates
    came from more levels than today; these include today's, so that it still runs: a warning. A ``usual.npz``
    with ``variances`` is of another measure of strangeness: it is left out, with a warning.
    """
    folder = model_folder(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: not a complete model folder, {' and '.join(missing)} missing; "
            f"expected {', '.join(FILES)}, as notebook 02_train writes them."
        )
    network = folder / "model.keras"
    engine()  # one that is missing is no fault of the model's
    try:
        parts = {
            "network": StoredNetwork(network, callers=callers),
            "settings": json.loads((folder / "settings.json").read_text()),
            "split": json.loads((folder / "split.json").read_text()),
            "history": pd.read_csv(folder / "history.csv"),
        }
        if (folder / IOU_FILE).is_file():
            parts["iou_network"] = StoredNetwork(folder / IOU_FILE, exact=True)
        usual = _arrays(folder / USUAL_FILE) if (folder / USUAL_FILE).is_file() else {}
        if usual and "variances" not in usual:
            parts["usual"] = Usual(**usual)
            parts["encoder"] = StoredNetwork(network, exact=True, callers=callers, part=encoder_features)
    except Exception as error:  # Keras, json and pandas have no common base class for their errors
        raise ValueError(
            f"{folder}: the model cannot be read ({error}). Train it again or restore the folder."
        ) from error
    _check_settings(folder / "settings.json", parts["settings"], "iou_network" in parts)
    _check_split(folder / "split.json", parts["split"])
    _check_networks(folder, parts)
    if "variances" in usual:
        warnings.warn(f"{folder / USUAL_FILE}: {FORMER_USUAL}", stacklevel=3)
    return parts


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)


def _check_settings(file: Path, settings: object, has_iou_network: bool) -> None:
    """Raise ValueError or FileNotFoundError where the settings lack what a model needs, or hold nonsense."""
    restore = "Restore the file, or train the model again with 02_train."
    if not isinstance(settings, dict):
        raise ValueError(f"{file}: a {type(settings).__name__}, expected settings. {restore}")
    if below := settings.get("rescale_below"):
        found = f"'rescale_below' is {below!r}, a former format that would no longer enlarge small nuclei"
        raise ValueError(f"{file}: {found}; expected 'working_diameter'. Train it again with 02_train.")
    for name, (fits, expected) in RULES.items():
        if name not in settings and name in ("resize", "thresholds"):
            raise ValueError(f"{file}: no {name!r}, without which the model cannot be used. {restore}")
        value = settings.get(name)
        if value is not None and not fits(value):
            raise ValueError(f"{file}: {name!r} is {repr(value)[:80]}, expected {expected}. {restore}")
    thresholds = settings["thresholds"] or {}
    if "min_iou" in thresholds and not has_iou_network:
        raise FileNotFoundError(
            f"{file.parent}: not a complete model folder, {IOU_FILE} missing, the network that rates "
            f"candidates. {restore}"
        )
    known = ("min_iou",) if has_iou_network else THRESHOLDS
    if unknown := [name for name in thresholds if name not in known]:
        found = f"{unknown[0]!r} among the thresholds"
        raise ValueError(f"{file}: {found}, expected {', '.join(known)} alone. {restore}")
    for name in {**dict.fromkeys(known[:2]), **thresholds}:
        number, high = thresholds.get(name), 1 if name in known[:2] else inf
        if not _ascending([number], high):
            expected = "a number from 0" + (" to 1" if high == 1 else "")
            found = f"{name!r} among the thresholds is {number!r}"
            raise ValueError(f"{file}: {found}, expected {expected}. {restore}")
    if has_iou_network and not settings.get("calibration"):
        warnings.warn(
            f"{file}: no 'calibration', as in a former format, or where no nuclei were found in validation "
            "images: its confidence is not calibrated. Train it again with 02_train, which tunes it too.",
            stacklevel=4,
        )


def _check_split(file: Path, split: object) -> None:
    """Raise ValueError unless the split has a list of ids for each side, and only lists."""
    lists = {"train_pixels": [], **split} if isinstance(split, dict) else {}  # former models have none
    for name in ("train", "validation", "train_pixels"):
        if not isinstance(lists.get(name), list):
            found = f"{file}: {name!r} is {str(lists.get(name))[:40]}, expected a list"
            raise ValueError(f"{found}. Restore the file.")


def _check_networks(folder: Path, parts: dict) -> None:
    """Raise ValueError where a network, or what is known of training images, belongs to another model."""
    expected = [("network", "model.keras", 3, [1, 2])]
    if "iou_network" in parts:  # it rates candidates, which need two maps
        expected = [("network", "model.keras", 3, [2]), ("iou_network", IOU_FILE, len(FEATURES), [])]
    for name, file, inputs, outputs in expected:
        given, made = parts[name].channels
        if given != inputs or (outputs and made not in outputs):
            raise ValueError(
                f"{folder / file}: a network with {given} channels in its input and {made} in its output, "
                f"expected {inputs} and {' or '.join(map(str, outputs)) or 'any'}: is it of another model? "
                "Restore the file."
            )
    if usual := parts.get("usual"):
        features, known = parts["encoder"].channels[1], np.atleast_2d(usual.known).shape[:2]
        shapes = (features,), (features,), (known[1], features), known, ()
        usable = all(np.isfinite(values).all() for values in usual) and (usual.std > 0).all()
        usable = usable and usual.limit > 0 and known[0] > 0
        if tuple(values.shape for values in usual) != shapes or not usable:
            raise ValueError(
                f"{folder / USUAL_FILE}: of another model or damaged, expected finite numbers for the "
                f"{features} features of model.keras, std and limit above 0. Restore it, or train again."
            )


def write_model_folder(folder: str | Path, parts: Mapping[str, Any]) -> Path:
    """Write what `read_model_folder` returns, completely or not at all, and replace an older folder.

    Networks may be Keras models, of which the optimizer's state is left out; see `save_network` for the
    precision of the weights. A model card, README.md, is kept. Raises ValueError as `check_replaceable` does.
    """
    folder = Path(folder)
    check_replaceable(folder)
    with replacing(folder) as temporary:
        temporary.mkdir()
        save_network(as_keras(parts["network"]), temporary / "model.keras")
        if iou_network := parts.get("iou_network"):
            save_network(as_keras(iou_network), temporary / IOU_FILE)
        if usual := parts.get("usual"):
            half = {"axes": np.float16, "known": np.float16}  # which are large
            arrays = {name: each.astype(half.get(name, np.float32)) for name, each in usual._asdict().items()}
            np.savez_compressed(temporary / USUAL_FILE, **arrays)
        write_json(temporary / "settings.json", parts["settings"])
        write_json(temporary / "split.json", parts["split"])
        parts["history"].to_csv(temporary / "history.csv", index=False)
        if (folder / "README.md").exists():
            shutil.copy(folder / "README.md", temporary)
    return folder


def check_replaceable(folder: str | Path, data: str | list | None = None) -> None:
    """Raise ValueError where a folder holds anything but a model, which a new one may replace.

    `data`, a parameter of 02_train, is what the new one is trained on: that of other data is not replaced.
    """
    known = {*FILES, IOU_FILE, USUAL_FILE, "README.md", ".DS_Store"}  # the last is of macOS
    if foreign := sorted({path.name for path in Path(folder).glob("*")} - known):
        expected = "expected a new folder, or that of an earlier model alone"
        raise ValueError(f"model folder {folder}: it holds {some(foreign)}, {expected}")
    if data is None or not (settings := Path(folder) / "settings.json").exists():
        return
    try:
        earlier = (json.loads(settings.read_text()).get("parameters") or {}).get("data", data)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{settings}: cannot be read ({error}); name another folder") from error
    if earlier != data:
        found = f"it holds a model of other data ({earlier}, now {data})"
        raise ValueError(f"model folder {folder}: {found}; name another folder")


def save_network(network: "keras.Model", path: Path) -> None:
    """Save a network as a .keras file with its kernels as 16-bit floats: half the size.

    Keras casts them back to 32 bits when it loads the file. Vectors stay 32-bit, as a variance may exceed the
    range of 16 bits; so does a kernel that would become infinite.
    """
    import keras

    keras.Model(network.input, network.output, name=network.name).save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["model.weights.h5"] = _with_half_kernels(files["model.weights.h5"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _with_half_kernels(content: bytes) -> bytes:
    """Copy an HDF5 file, its float32 arrays of two or more axes as float16."""
    import h5py

    target = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)

        def copy(name, item):
            is_group = isinstance(item, h5py.Group)
            copied = new.require_group(name) if is_group else new.create_dataset(name, data=_half(item[()]))
            copied.attrs.update(item.attrs)

        old.visititems(copy)
    return target.getvalue()


def _half(values):
    if np.ndim(values) < 2 or values.dtype != np.float32 or np.abs(values).max() > np.finfo(np.float16).max:
        return values
    return values.astype(np.float16)
