"""Charts of numbers: functions that take tables and return a matplotlib Figure.

The colours are those of `nuclei.figures.pictures`; training is grey and validation blue.
"""

import itertools
import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from nuclei.figures.pictures import INK, PREDICTION, STYLE, TRUTH, WIDTH

TRAINING, VALIDATION = "#8C8C8C", "#0072B2"

PUBLISHED = ("published baseline", 0.96804)
"""The best validation pixel accuracy of the published work, at 128 x 128 pixels."""


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
    counts.axvline(table["nuclei"].median(), color=TRAINING, linewidth=2, linestyle="--")
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
        median.set(color=INK, linewidth=2)
    areas.set(
        title="Area of a nucleus (5th to 95th percentile)",
        xlabel="area, pixels",
        xscale="log",
        yticklabels=names,
    )
    areas.xaxis.set_major_formatter("{x:,.0f}")
    return figure


@matplotlib.rc_context(STYLE)
def history(
    table: pd.DataFrame,
    metric: str,
    *,
    label: str,
    kept: int | None = None,
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Show how a quantity went from epoch to epoch, in validation and, where it is known, in training.

    Parameters
    ----------
    table : DataFrame with columns ``epoch`` (from 0), ``val_<metric>``, and perhaps `metric`
    label : str
        The quantity's name and unit, for the axis.
    kept : int, optional
        The epoch, from 1, whose weights were kept.
    reference : (name, value), optional
        A published value to compare with, drawn as a dashed line.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axis = figure.subplots()
    epochs, validation = table["epoch"] + 1, table[f"val_{metric}"]
    if metric in table:
        axis.plot(epochs, table[metric], color=TRAINING, linewidth=2, label="training")
    axis.plot(epochs, validation, color=VALIDATION, linewidth=2, label="validation")
    if kept:
        value = validation[kept - 1]
        axis.plot(kept, value, "o", color=VALIDATION, label=f"kept: {value:.5f}, epoch {kept}")
    if reference:
        name, value = reference
        axis.axhline(value, color=INK, linestyle="--", linewidth=1.5, label=f"{name}: {value:.5f}")
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
    model : keras.Model made by `nuclei.training.unet.unet`; channels and sides are read from it
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


@matplotlib.rc_context(STYLE)
def precision_curves(panels: dict[str, dict[str, pd.Series]]) -> Figure:
    """Show the average precision of several methods at every IoU threshold, the first of a panel in blue.

    Parameters
    ----------
    panels : dict of title -> dict of name -> Series of AP, 0-1, with the IoU thresholds as its index
        The methods in one panel were scored on the same images.
    """
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    others = itertools.cycle([(INK, "--"), (TRAINING, "-"), (INK, ":"), (TRAINING, "-.")])
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for place, (name, curve) in enumerate(curves.items()):
            colour, line = next(others) if place else (PREDICTION, "-")
            style = {"color": colour, "linewidth": 1.5 if place else 2.5, "marker": "o", "markersize": 4}
            axis.plot(curve.index, curve, line, label=f"{name}: mean {curve.mean():.3f}", **style)
        axis.set(title=title, ylim=(0, 1), xticks=curve.index[::2])
        axis.grid(axis="y")
        axis.legend(loc="lower left")
    axes[0].set_ylabel("average precision, TP / (TP + FP + FN)")
    figure.supxlabel("IoU above which a predicted nucleus counts as found", fontsize=9)
    return figure


@matplotlib.rc_context(STYLE)
def precision_by_type(curves: dict[str, pd.Series]) -> Figure:
    """Show the average precision of one model at every IoU threshold for several image types.

    `curves` are by type, AP, 0-1, with the IoU thresholds as its index.
    """
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    axis = figure.subplots()
    for (kind, curve), marker in zip(curves.items(), itertools.cycle("os^Dv"), strict=False):
        line = "-" if "fluorescent" in kind else "--"
        label = f"{kind}: mean {curve.mean():.3f}"
        axis.plot(curve.index, curve, line, color=PREDICTION, marker=marker, markersize=5, label=label)
    axis.set(ylim=(0, 1), ylabel="average precision, TP / (TP + FP + FN)")
    axis.set_xlabel("IoU above which a predicted nucleus counts as found")
    axis.grid(axis="y")
    axis.legend(loc="lower left")
    return figure


@matplotlib.rc_context(STYLE)
def scores_by_type(table: pd.DataFrame) -> Figure:
    """Show a score for each image type, with its interval.

    Parameters
    ----------
    table : DataFrame, the image types as its index
        Columns ``score`` (0-1), ``interval`` (a pair), ``images`` and ``fields`` (counts).
    """
    table = table[::-1]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.42 * len(table)), layout="constrained")
    axis = figure.subplots()
    low, high = np.array(table["interval"].tolist()).T
    reach = np.maximum([table["score"] - low, high - table["score"]], 0)
    names = [f"{name} ({row.images}, {row.fields})" for name, row in table.iterrows()]
    axis.barh(names, table["score"], color=PREDICTION, height=0.6, xerr=reach, ecolor=INK, capsize=3)
    for row, (score, end) in enumerate(zip(table["score"], high, strict=True)):
        axis.text(max(score, end) + 0.015, row, f"{score:.3f}", va="center")
    axis.set(
        xlim=(0, 1), xlabel="competition score, with its 95% interval (in brackets: images, fields of view)"
    )
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    return figure


@matplotlib.rc_context(STYLE)
def recall_by_size(table: pd.DataFrame) -> Figure:
    """Show which share of the true nuclei of each size was found: see `evaluation.metrics.recall_by_area`."""
    table = table[table["nuclei"] > 0]
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axis = figure.subplots()
    edges = [
        f"{np.sqrt(4 / np.pi * row.area_from):.0f} to {np.sqrt(4 / np.pi * row.area_below):.0f}"
        if np.isfinite(row.area_below)
        else f"over {np.sqrt(4 / np.pi * row.area_from):.0f}"
        for row in table.itertuples()
    ]
    axis.bar(edges, 1, color=TRUTH, width=0.7, label="missed")
    axis.bar(edges, table["recall"], color=PREDICTION, width=0.7, label="found")
    for column, (recall, nuclei) in enumerate(zip(table["recall"], table["nuclei"], strict=True)):
        axis.text(column, 1.02, f"{recall:.0%} of {nuclei:,}", ha="center", fontsize=8)
    axis.set(
        xlabel="diameter of the circle of the nucleus's area, pixels",
        ylabel="share of the true nuclei\nfound, at an IoU above 0.5",
        ylim=(0, 1.1),
    )
    figure.legend(loc="outside right upper")
    return figure


@matplotlib.rc_context(STYLE)
def measured(measurements: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Show how many nuclei each image has, and how large and how bright they are.

    measurements, summary : the tables that `workflows.segment.segment` writes; micrometres where they
    have them
    """
    figure = Figure(figsize=(WIDTH, 3), layout="constrained")
    counts, sizes, levels = figure.subplots(1, 3)
    counts.hist(summary["nuclei"], bins=20, color=PREDICTION)
    counts.set(title="Nuclei per image", xlabel="nuclei", ylabel="images")
    area, unit = ("area_um2", "µm") if "area_um2" in measurements else ("area_px", "pixels")
    sizes.hist(np.sqrt(4 / np.pi * measurements[area].dropna()), bins=30, color=PREDICTION)
    sizes.set(title="Size", xlabel=f"diameter of a circle of its area, {unit}", ylabel="nuclei")
    brightness = [name for name in measurements if name.startswith("intensity_mean")]
    for name, line in zip(brightness, ("-", "--", ":", "-."), strict=False):
        label = name.removeprefix("intensity_mean").replace("_ch", "channel ") or "grey"
        levels.hist(
            measurements[name].dropna(), bins=30, histtype="step", color=INK, linestyle=line, label=label
        )
    levels.set(title="Brightness", xlabel="mean intensity, as in the file", ylabel="nuclei")
    if len(brightness) > 1:
        levels.legend()
    for axis in (counts, sizes, levels):
        axis.yaxis.get_major_locator().set_params(integer=True)
    return figure
