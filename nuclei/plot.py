"""Figures: functions that take data and return a matplotlib Figure.

One colour language throughout, safe for colour-blind readers (Okabe and Ito): what is true is orange,
what the model predicts is blue, and where both agree is white. Training is grey, validation is blue.
"""

import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, FancyArrowPatch, Patch, Rectangle
from skimage.segmentation import find_boundaries

from nuclei.files import replacing

TRUTH, PREDICTION, BOTH = "#E69F00", "#0090E0", "#FFFFFF"
TRAINING, VALIDATION, INK = "#8C8C8C", "#0072B2", "#333333"
DARK = "#101018"

WIDTH = 9.0
"""Inches: with the text at 9 points, a figure is readable at the width of a README."""

PUBLISHED = ("published baseline", 0.96804)
"""The best validation pixel accuracy of the published work, at 128 x 128 pixels."""

VIEW = 360
"""Pixels: larger images are shown by the square of this side in their middle."""

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
    outlines : dict of colour -> (H, W) labels or bool, 0 = background; later ones are drawn on top
    scale : int, optional
        The image is magnified by it first, so that outlines look thin; by default to about 600 pixels.

    Returns
    -------
    (H * scale, W * scale, 3) uint8
    """
    scale = scale or max(1, round(600 / max(image.shape[:2])))
    canvas = image.repeat(scale, axis=0).repeat(scale, axis=1)
    for colour, labels in outlines.items():
        big = np.asarray(labels, np.int32).repeat(scale, axis=0).repeat(scale, axis=1)
        canvas[find_boundaries(big, mode="thick")] = np.round(np.multiply(to_rgb(colour), 255))
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
    images: list[np.ndarray], labels: list[np.ndarray], titles: list[str], *, title: str = ""
) -> Figure:
    """Show images side by side, above themselves with every true nucleus outlined.

    images : list of (H, W, 3) uint8; labels : list of (H, W) int, 0 = background; titles : one a column
    """
    figure, axes = _grid(2, len(images), title, row_height=WIDTH / len(images))
    for column, (image, truth, text) in enumerate(zip(images, labels, titles, strict=True)):
        image, truth = brightened(_centre_square(image)), _centre_square(truth)
        _show(axes[0, column], image, text)
        _show(axes[1, column], outlined(image, {TRUTH: truth}))
    _row_names(axes, ("image", "true nuclei"), ("black", TRUTH))
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
) -> Figure:
    """Show images with true (orange) and predicted (blue) outlines, each above its own title's score.

    images : list of (H, W, 3) uint8; truths, predicted : lists of (H, W) labels or bool, 0 = background
    """
    rows = math.ceil(len(images) / columns)
    figure, axes = _grid(rows, columns, title, row_height=WIDTH / columns + 0.45)
    for axis in axes.flat[len(images) :]:
        axis.remove()
    for axis, image, truth, guess, text in zip(axes.flat, images, truths, predicted, titles, strict=False):
        image, truth, guess = map(_centre_square, (image, truth, guess))
        _show(axis, outlined(brightened(image), {TRUTH: truth, PREDICTION: guess}), text)
    figure.legend(
        handles=[
            Patch(color=TRUTH, label="true outline"),
            Patch(color=PREDICTION, label="predicted outline"),
        ],
        loc="outside lower center",
        ncols=2,
    )
    return figure


@matplotlib.rc_context(STYLE)
def pipeline(image: np.ndarray, maps: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Figure:
    """Show the way of one image: image, probability map, nuclei, and their outlines beside the true ones.

    image : (H, W, 3) uint8; maps : (H, W, C) float 0-1; labels, truth : (H, W) int, 0 = background
    """
    blues = LinearSegmentedColormap.from_list("probability", [DARK, PREDICTION])
    image, maps, labels, truth = map(_centre_square, (image, maps, labels, truth))
    bright = brightened(image)
    steps = {
        "1  image": bright,
        "2  U-Net: nucleus or not?": blues(maps[..., 0])[..., :3],
        "3  watershed: which nucleus?": numbered(labels),
        "4  predicted and true outlines": outlined(bright, {TRUTH: truth, PREDICTION: labels}),
    }
    figure, axes = _grid(1, len(steps), "", row_height=WIDTH / len(steps) + 0.3)
    for axis, (title, picture) in zip(axes[0], steps.items(), strict=True):
        _show(axis, picture, title)
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


@matplotlib.rc_context(STYLE)
def data_set(table: pd.DataFrame) -> Figure:
    """Show what a data set holds: images of each type, their sizes, nuclei per image, nuclear areas.

    Parameters
    ----------
    table : DataFrame, one row an image
        Columns ``type`` (str), ``height``, ``width`` (pixels), ``nuclei`` (count), ``areas`` (array of the
        areas of its nuclei in pixels).
    """
    figure = Figure(figsize=(WIDTH, 6), layout="constrained")
    (types, sizes), (counts, areas) = figure.subplots(2, 2)
    number = table["type"].value_counts()[::-1]
    types.barh(number.index, number, color=INK, height=0.6)
    types.bar_label(types.containers[0], padding=3)
    types.set(title="Images of each type", xlabel="images")

    shapes = table.value_counts(["height", "width"])
    heights, widths = (shapes.index.get_level_values(name) for name in ("height", "width"))
    sizes.scatter(widths, heights, s=12 + 340 * shapes / shapes.max(), color=INK, alpha=0.55, linewidth=0)
    sizes.set(title="Image sizes (a dot's area: how many)", xlabel="width, pixels", ylabel="height, pixels")
    sizes.margins(0.12)

    counts.hist(table["nuclei"], bins=30, color=INK)
    counts.axvline(table["nuclei"].median(), color=TRUTH, linewidth=2)
    counts.set(
        title=f"Nuclei per image (median {table['nuclei'].median():.0f})", xlabel="nuclei", ylabel="images"
    )
    counts.yaxis.get_major_locator().set_params(integer=True)

    names = list(number.index)
    each = [np.concatenate(list(table.loc[table["type"] == name, "areas"])) for name in names]
    boxes = areas.boxplot(
        each, orientation="horizontal", whis=(5, 95), showfliers=False, patch_artist=True, widths=0.5
    )
    for box, median in zip(boxes["boxes"], boxes["medians"], strict=True):
        box.set(facecolor="#D9D9D9", edgecolor=INK)
        median.set(color=TRUTH, linewidth=2)
    areas.set(
        title="Area of a nucleus (5th to 95th percentile)",
        xlabel="area, pixels",
        xscale="log",
        yticklabels=names,
    )
    return figure


@matplotlib.rc_context(STYLE)
def history(
    table: pd.DataFrame, metric: str, *, label: str, reference: tuple[str, float] | None = None
) -> Figure:
    """Show how a quantity went from epoch to epoch, in training and in validation.

    Parameters
    ----------
    table : DataFrame with columns ``epoch`` (from 0), `metric` and ``val_<metric>``
    label : str
        The quantity's name and unit, for the axis.
    reference : (name, value), optional
        A published value to compare with, drawn as a dashed line.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axis = figure.subplots()
    epochs, validation = table["epoch"] + 1, table[f"val_{metric}"]
    axis.plot(epochs, table[metric], color=TRAINING, linewidth=2, label="training")
    axis.plot(epochs, validation, color=VALIDATION, linewidth=2, label="validation")
    best = validation.idxmin() if metric == "loss" else validation.idxmax()
    axis.plot(
        epochs[best],
        validation[best],
        "o",
        color=VALIDATION,
        label=f"best: {validation[best]:.5f}, epoch {epochs[best]}",
    )
    if reference:
        name, value = reference
        axis.axhline(value, color=TRUTH, linestyle="--", linewidth=1.5, label=f"{name}: {value:.5f}")
    axis.set(xlabel="epoch", ylabel=label, xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y")
    axis.legend(loc="best")
    return figure


@matplotlib.rc_context(STYLE)
def architecture(model, size: int = 128) -> Figure:
    """Draw a U-Net: encoder going down on the left, decoder coming up on the right, skips across.

    Parameters
    ----------
    model : keras.Model made by `nuclei.model.unet`; channels and sides are read from it
    size : int, multiple of 32
        Side of the input in pixels for which the sides of the feature maps are given.

    Notes
    -----
    A block's height goes with the logarithm of its side, its width with that of its channels.
    """
    encoder = model.get_layer("encoder")
    skips = [output.shape[-1] for output in encoder.outputs]
    blocks = [layer for layer in model.layers if type(layer).__name__ == "Sequential"]
    filters = [block.layers[0].filters for block in blocks[:4]]
    detail = len(blocks) > 4  # a last block at full resolution, which also sees the image itself
    out = model.output_shape[-1]
    left = [(3, size), *((channels, size // 2 ** (k + 1)) for k, channels in enumerate(skips))]
    right = [(out, size), *((channels, size // 2 ** (k + 1)) for k, channels in enumerate(reversed(filters)))]

    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    axis = figure.subplots()
    middle, drop = 5.0, 1.0

    def block(x, level, channels, side, colour, above):
        width, height = 0.1 + 0.08 * math.log2(channels + 1), 0.36 + 0.06 * math.log2(side)
        axis.add_patch(
            Rectangle((x - width / 2, -level * drop - height / 2), width, height, color=colour, linewidth=0)
        )
        side_text = {"ha": "right" if x < middle else "left", "va": "center"}
        offset = -0.12 if x < middle else 0.12
        axis.text(
            x + offset + math.copysign(width / 2, offset), -level * drop, above, fontsize=8, **side_text
        )
        return width / 2

    def arrow(start, end, **style):
        options = {
            "arrowstyle": "-|>",
            "mutation_scale": 10,
            "color": "#777777",
            "linewidth": 1.2,
            "shrinkA": 2,
            "shrinkB": 2,
        }
        axis.add_patch(FancyArrowPatch(start, end, **options | style))

    x_left = [1.6 + 0.55 * k for k in range(6)]
    x_right = [2 * middle - x for x in x_left]
    for k, (channels, side) in enumerate(left):
        colour = "#BDBDBD" if k == 0 else TRAINING
        text = f"image\n{side} × {side} × {channels}" if k == 0 else f"{side} × {side} × {channels}"
        half = block(x_left[k], k, channels, side, colour, text)
        if k < 5:
            arrow((x_left[k], -(k + 0.42) * drop), (x_left[k + 1], -(k + 0.68) * drop))
        if k < 5 and (k or detail):
            arrow(
                (x_left[k] + half, -k * drop),
                (x_right[k] - 0.1 - 0.04 * math.log2(right[k][0] + 1), -k * drop),
                linestyle=(0, (4, 3)),
                color="#AAAAAA",
            )
    for k, (channels, side) in enumerate(right):
        text = f"probability map{'s' if channels > 1 else ''}\n{side} × {side} × {channels}"
        text = text if k == 0 else f"{side} × {side} × {channels}"
        block(x_right[k], k, channels, side, PREDICTION if k == 0 else VALIDATION, text)
        start = x_right[k + 1] if k < 4 else x_left[5] + 0.5
        arrow((start, -(k + 0.68) * drop), (x_right[k], -(k + 0.42) * drop))
    axis.text(
        middle,
        -0.55,
        "skip connections: fine detail goes straight across",
        ha="center",
        color="#777777",
        fontsize=8,
    )
    axis.text(
        x_left[0] - 1.1, -4.2, "ENCODER\nMobileNetV2\nwhat is it?", color=INK, fontsize=10, linespacing=1.5
    )
    axis.text(
        x_right[0] + 1.1,
        -4.2,
        "DECODER\npix2pix blocks\nwhere is it?",
        color=VALIDATION,
        fontsize=10,
        ha="right",
        linespacing=1.5,
    )
    total = model.count_params()
    learned = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    axis.set_title(f"U-Net: {total / 1e6:.2f} million weights, of which {learned / 1e6:.2f} million learn")
    axis.set(xlim=(0.2, 9.8), ylim=(-5.5, 0.7))
    axis.axis("off")
    return figure


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


def _centre_square(array: np.ndarray) -> np.ndarray:
    """Cut a square from the middle, so that images of all shapes line up and their nuclei can be seen."""
    side = min(*array.shape[:2], VIEW)
    top, left = ((length - side) // 2 for length in array.shape[:2])
    return array[top : top + side, left : left + side]
