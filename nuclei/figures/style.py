"""The style that all figures share: sizes, fonts, and how a figure is saved."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from nuclei.common import replacing
from nuclei.figures.colours import BOTH, DARK, INK, PREDICTION, TRUTH

Look = dict[str, Any]  # keywords of matplotlib

WIDTH = 9.0  # inches: with the text at 9 points, a figure is readable at the width of a README

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # names of images may have dollar signs
    "axes.titlesize": 10,
    "axes.edgecolor": "#B0B0B0",
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.titlesize": 11,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "hatch.linewidth": 0.6,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.05,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "nuclei",  # the same figure is the same file
}

styled = matplotlib.rc_context(STYLE)
"""Decorates a function that draws a figure; the reader's own style is left alone."""


@styled
def save(figure: Figure, path: str | Path) -> Path:
    """Save a figure in the format that the file's ending names: PNG, PDF or SVG; make its folder if needed.

    The file appears whole or not at all. A PNG has a palette of 256 colours: a third of the size.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    with replacing(path) as temporary:
        if kind == "png":
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=120)
            _with_palette(Image.open(content).convert("RGB")).save(temporary, format="PNG", optimize=True)
        else:
            date: Look = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
            figure.savefig(temporary, format=kind, dpi=300, metadata=date.get(kind))
    return path


def _with_palette(picture: Image.Image) -> Image.Image:
    """Reduce an RGB picture to 256 colours, among them exactly those of the colour language."""
    kept = np.round([np.multiply(to_rgb(colour), 255) for colour in (BOTH, TRUTH, PREDICTION, DARK, INK)])
    others = np.array(picture.quantize(250, kmeans=1).getpalette()).reshape(-1, 3)
    distances = np.abs(others[:, None] - kept).max(axis=2).min(axis=1)
    others = others[distances > 12]  # Pillow rounds, and would take a close one instead
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([kept, others]).astype(np.uint8).tobytes())
    return picture.quantize(palette=palette)  # with dithering


def shortened(name: str) -> str:
    """Return a name of at most 22 characters: of a longer one the beginning and the end."""
    name = drawable(name)
    return name if len(name) <= 22 else f"{name[:16]}…{name[-5:]}"


def drawable(name: str) -> str:
    """Return the name of a file with a question mark for each of its bytes that are no Unicode."""
    return name.encode("utf-8", "replace").decode()
