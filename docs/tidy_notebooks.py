"""Prepare executed notebooks to be committed: python docs/tidy_notebooks.py notebooks/*.ipynb."""

import base64
import hashlib
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from PIL import Image

COLOURS = 256

TIMES = re.compile(r" - \d+m?s - \d+m?s/step")
"""In the output of `keras.Model.fit`: they depend on what else the machine does."""


def digest(notebook: nbformat.NotebookNode) -> str:
    """Return a hash of the code: it differs once a cell has been edited after the last run."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]


def tidy(path: str | Path) -> None:
    """Remove progress bars, widgets, warnings and times; reduce figures to `COLOURS`."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_kept(output)]
            for output in cell.outputs:
                if "text" in output:
                    output["text"] = TIMES.sub("", output["text"])
                if picture := output.get("data", {}).get("image/png"):
                    output["data"]["image/png"] = _reduced(picture)
    kept = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    notebook.metadata = kept | {"sources": digest(notebook)}
    nbformat.write(notebook, path)


def _is_kept(output: Mapping) -> bool:
    widget = any("widget" in kind for kind in output.get("data", {}))
    return not widget and output.get("name") != "stderr"


def _reduced(picture: str) -> str:
    """Return a PNG, as base64 text, with a palette of `COLOURS`; one that has a palette stays as it is."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    file = io.BytesIO()
    method = Image.Quantize.MAXCOVERAGE  # rare colours, such as those of outlines, stay
    reduced = image.convert("RGB").quantize(COLOURS, method, kmeans=3, dither=Image.Dither.NONE)
    reduced.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    for path in sys.argv[1:]:
        tidy(path)
