"""Pictures of images and nuclei: functions that take arrays and return a matplotlib Figure.

One colour language throughout, safe for colour-blind readers (Okabe and Ito): what is true is orange,
what the model predicts is blue, and where both agree is white.
"""

import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Patch
from scipy.ndimage import binary_dilation, uniform_filter
from skimage.segmentation import find_boundaries

from nuclei.common import replacing

TRUTH, PREDICTION, BOTH = "#E69F00", "#0090E0", "#FFFFFF"

INK = "#333333"

DARK = "#101018"

WIDTH = 9.0
"""Inches: with the text at 9 points, a figure is readable at the width of a README."""

VIEW = 360
"""Pixels: larger images are shown by the square of this side in their middle."""

CLOSE, CLOSER = 200, 120
"""Pixels: sides of the square with most outlines, for the gallery and for the pipeline of one image."""

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#B0B0B0",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid.axis": "y",
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.titlesize": 12,
    "figure.facecolor": "white",
}


def save(figure: Figure, path: str | Path) -> Path:
    """Save `figure` as PNG; the file appears whole or not at all, its folder is made where needed."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
    return Path(path)


def outlined(image: np.ndarray, outlines: dict[str, np.ndarray], scale: int | None = None) -> np.ndarray:
    """Draw the outlines of nuclei into a copy of an image.

    Parameters
    ----------
    image : (H, W, 3) uint8
    outlines : dict of colour -> (H, W) labels or bool, 0 = background
        Where outlines of two colours meet, both agree: white.
    scale : int, optional
        The image is magnified by it first, so that outlines look thin; by default to about 600 pixels.

    Returns
    -------
    (H * scale, W * scale, 3) uint8
    """
    scale = scale or max(1, round(600 / max(image.shape[:2])))
    canvas = image.repeat(scale, axis=0).repeat(scale, axis=1)
    drawn = np.zeros(canvas.shape[:2], bool)
    for colour, labels in outlines.items():
        big = np.asarray(labels, np.int32).repeat(scale, axis=0).repeat(scale, axis=1)
        edge = find_boundaries(big, mode="thick")
        if scale > 2:
            edge = binary_dilation(edge)
        canvas[edge] = np.round(np.multiply(to_rgb(colour), 255))
        canvas[edge & drawn] = np.round(np.multiply(to_rgb(BOTH), 255))
        drawn |= edge
    return canvas


def brightened(image: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) uint8 image stretched for the eye: its 99.5th percentile becomes white."""
    white = max(np.percentile(image, 99.5), 32)  # the floor keeps the noise of an empty image dark
    return np.clip(image * (255 / white), 0, 255).astype(np.uint8)


def agreement(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float 0-1: the image darkened, agreement white, missed orange, invented blue.

    image : (H, W, 3) uint8; truth, predicted : (H, W) bool
    """
    picture = np.repeat(image.mean(axis=-1, keepdims=True) / 255 * 0.3, 3, axis=-1)
    for colour, where in (
        (BOTH, truth & predicted),
        (TRUTH, truth & ~predicted),
        (PREDICTION, predicted & ~truth),
    ):
        picture[where] = np.multiply(to_rgb(colour), 0.92)
    return picture


@matplotlib.rc_context(STYLE)
def examples(
    images: list[np.ndarray],
    labels: list[np.ndarray],
    titles: list[str],
    *,
    title: str = "",
    found: bool = False,
) -> Figure:
    """Show images side by side, above themselves with every nucleus outlined.

    images : list of (H, W, 3) uint8; labels : list of (H, W) int, 0 = background; titles : one a column;
    found : whether the labels are predicted ones (blue) instead of true ones (orange)
    """
    colour, name = (PREDICTION, "nuclei found") if found else (TRUTH, "true nuclei")
    figure, axes = _grid(2, len(images), title, row_height=WIDTH / len(images))
    for column, (image, each, text) in enumerate(zip(images, labels, titles, strict=True)):
        image, each = brightened(_centre_square(image)), _centre_square(each)
        _show(axes[0, column], image, text)
        _show(axes[1, column], outlined(image, {colour: each}))
    _row_names(axes, ("image", name), ("black", colour))
    return figure


@matplotlib.rc_context(STYLE)
def mosaics(
    pictures: list[np.ndarray], tiles: list[tuple[int, int]], titles: list[str], *, title: str = ""
) -> Figure:
    """Show fields of view that were put back together from tiles, with short marks where the seams end.

    pictures : list of (H, W, 4) uint8, with opacity; tiles : list of (height, width) of one tile in pixels
    """
    figure, axes = _grid(1, len(pictures), title, row_height=WIDTH / len(pictures) + 0.3)
    for axis, picture, (height, width), text in zip(axes[0], pictures, tiles, titles, strict=True):
        _show(axis, np.dstack([brightened(picture[..., :3]), picture[..., 3:]]), text)
        rows, columns = np.arange(1, 9) * height - 0.5, np.arange(1, 9) * width - 0.5
        axis.set(
            yticks=rows[rows < picture.shape[0] - 1],
            xticks=columns[columns < picture.shape[1] - 1],
            xticklabels=[],
            yticklabels=[],
        )
        axis.tick_params(color=TRUTH, length=8, width=2, direction="in", right=True, top=True)
    return figure


@matplotlib.rc_context(STYLE)
def predictions(
    images: list[np.ndarray], truths: list[np.ndarray], probabilities: list[np.ndarray], *, title: str = ""
) -> Figure:
    """Show, one sample a column: image, truth, predicted probability, and where the two differ.

    images : list of (H, W, 3) uint8; truths : list of (H, W) bool; probabilities : list of (H, W) float 0-1
    """
    figure, axes = _grid(4, len(images), title, row_height=WIDTH / len(images))
    truth_colours, probability_colours = (
        LinearSegmentedColormap.from_list(name, [DARK, colour])
        for name, colour in (("truth", TRUTH), ("probability", PREDICTION))
    )
    for column, (image, truth, probability) in enumerate(zip(images, truths, probabilities, strict=True)):
        predicted = probability >= 0.5
        _show(axes[0, column], brightened(image))
        axes[1, column].imshow(truth, cmap=truth_colours, vmin=0, vmax=1)
        axes[2, column].imshow(probability, cmap=probability_colours, vmin=0, vmax=1)
        axes[3, column].imshow(agreement(image, truth, predicted))
        axes[3, column].set_xlabel(f"{np.mean(truth == predicted):.1%} of pixels agree")
    _row_names(axes, ("image", "truth", "prediction", "difference"), ("black", TRUTH, PREDICTION, "black"))
    return figure


@matplotlib.rc_context(STYLE)
def gallery(
    images: list[np.ndarray],
    truths: list[np.ndarray],
    predicted: list[np.ndarray],
    titles: list[str],
    *,
    title: str = "",
    columns: int = 4,
    row_names: tuple[str, ...] = (),
) -> Figure:
    """Show images with true (orange) and predicted (blue) outlines, white where both agree.

    Of a large image it is the square with the longest outlines.

    images : list of (H, W, 3) uint8; truths, predicted : lists of (H, W) labels or bool, 0 = background
    """
    rows = math.ceil(len(images) / columns)
    figure, axes = _grid(rows, columns, title, row_height=WIDTH / columns + 0.3)
    for axis in axes.flat[len(images) :]:
        axis.remove()
    for axis, image, truth, guess, text in zip(axes.flat, images, truths, predicted, titles, strict=False):
        window = _busiest_square(truth, guess, CLOSE)
        image, truth, guess = image[window], truth[window], guess[window]
        _show(axis, outlined(brightened(image), {TRUTH: truth, PREDICTION: guess}), text)
    for axis, name in zip(axes[:, 0], row_names, strict=False):
        axis.set_ylabel(name, fontsize=10)
    _name_outlines(figure)
    return figure


@matplotlib.rc_context(STYLE)
def pipeline(image: np.ndarray, maps: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Figure:
    """Show the way of one image, where it has most outlines: maps, nuclei, and these beside the true ones.

    image : (H, W, 3) uint8; maps : (H, W, C) float 0-1; labels, truth : (H, W) int, 0 = background
    """
    blues = LinearSegmentedColormap.from_list("probability", [DARK, PREDICTION])
    window = _busiest_square(truth, labels, CLOSER)
    bright, maps, labels, truth = brightened(image[window]), maps[window], labels[window], truth[window]
    questions = ["nucleus or not?", "inside or rim?"]
    steps = {
        "image": bright,
        **{q: blues(maps[..., k])[..., :3] for k, q in enumerate(questions[: maps.shape[-1]])},
        "which nucleus?": numbered(labels),
        "as the expert has it?": outlined(bright, {TRUTH: truth, PREDICTION: labels}),
    }
    figure, axes = _grid(1, len(steps), "", row_height=WIDTH / len(steps) + 0.6)
    _name_outlines(figure)
    for number, (axis, (title, picture)) in enumerate(zip(axes[0], steps.items(), strict=True), start=1):
        _show(axis, picture, f"{number}  {title}")
    for left, right in zip(axes[0][:-1], axes[0][1:], strict=True):
        arrow = {"arrowstyle": "simple,head_width=0.9,head_length=0.6,tail_width=0.35", "zorder": 9}
        ends = ((0.97, 0.5), (0.03, 0.5), "axes fraction", "axes fraction")
        figure.add_artist(ConnectionPatch(*ends, axesA=left, axesB=right, fc="white", ec=INK, **arrow))
    return figure


def numbered(labels: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float 0-1: every nucleus in one of six blues and greys, background dark.

    labels : (H, W) int, 0 = background
    """
    shades = np.array([to_rgb(c) for c in ("#0090E0", "#9FD8FF", "#0072B2", "#D9F0FF", "#4FB3E8", "#B9C4CC")])
    picture = shades[labels % len(shades)]
    picture[labels == 0] = to_rgb(DARK)
    return picture


def _grid(rows: int, columns: int, title: str, row_height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(WIDTH, rows * row_height + 0.5 * bool(title)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.05, wspace=0.01, hspace=0)
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes


def _show(axis, image: np.ndarray, title: str = "") -> None:
    axis.imshow(image, interpolation="nearest" if image.shape[0] < 200 else "antialiased")
    axis.set_title(title, fontsize=9)


def _row_names(axes: np.ndarray, names: tuple[str, ...], colours: tuple[str, ...]) -> None:
    for axis, name, colour in zip(axes[:, 0], names, colours, strict=True):
        axis.set_ylabel(name, fontsize=10, color=colour)


def _name_outlines(figure: Figure) -> None:
    figure.legend(
        handles=[
            Patch(color=TRUTH, label="true outline"),
            Patch(color=PREDICTION, label="predicted outline"),
            Patch(facecolor=BOTH, edgecolor=INK, label="both"),
        ],
        loc="outside lower center",
        ncols=3,
    )


def _busiest_square(truth: np.ndarray, predicted: np.ndarray, largest: int) -> tuple[slice, slice]:
    """Return the square of at most `largest` pixels with the longest outlines in both (H, W) labels."""
    side = min(*truth.shape, largest)
    outlines = sum(find_boundaries(each.astype(np.int32)).astype(float) for each in (truth, predicted))
    lengths = uniform_filter(outlines, side, mode="constant")
    half, (height, width) = side // 2, truth.shape
    inside = lengths[half:, half:][: height - side + 1, : width - side + 1]  # by corner, where it fits
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return np.s_[top : top + side, left : left + side]


def _centre_square(array: np.ndarray, largest: int = VIEW) -> np.ndarray:
    """Cut a square from the middle, so that images of all shapes line up and their nuclei can be seen."""
    side = min(*array.shape[:2], largest)
    top, left = ((length - side) // 2 for length in array.shape[:2])
    return array[top : top + side, left : left + side]
