"""What the paths of a command must be, told before any long work."""

from pathlib import Path

from nuclei import data


def model_folder(model: str | Path) -> Path:
    """Return a model's folder; a relative one may also start from the repository's root.

    Raises FileNotFoundError where there is none.
    """
    model = Path(model)
    folder = model if model.exists() else data.ROOT / model
    if not folder.is_dir():
        raise FileNotFoundError(
            f"--model {model}: no such folder, expected that of a trained model. "
            "saved_model/ holds those that are shipped, and 02_train writes one."
        )
    return folder


def output_folder(out: str | Path) -> Path:
    """Return `out`, which need not be there yet; ValueError where it or a folder above it is a file."""
    out = Path(out)
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(
                f"--out {out}: {path} is a file, expected a folder or a new name; choose another"
            )
    return out
