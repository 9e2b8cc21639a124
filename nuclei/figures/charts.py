"""Charts of numbers: functions that take tables and return a matplotlib Figure."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from scipy.stats import binomtest

from nuclei.figures.style import (
    INK,
    PALE,
    PREDICTION,
    SERIES,
    TRAINING,
    TRUTH,
    VALIDATION,
    WIDTH,
    Look,
    shortened,
    styled,
)

PUBLISHED = ("published baseline", 0.96804)
"""The best validation pixel accuracy of the published work, at 128 x 128 pixels."""

QUANTITIES = {
    "accuracy": "pixel accuracy",
    "loss": "loss",
    "score": "competition score of one crop an image",
}

WHOLE = partial(MaxNLocator, "auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)

NAMED = 20
"""Up to so many images each have a bar with their name; more become a histogram."""


@styled
def data_set(table: pd.DataFrame) -> Figure:
    """Show what a data set holds: images of each type and size, nuclei per image, diameters of nuclei.

    Parameters
    ----------
    table : DataFrame, one row per image
        Columns ``type`` (str), ``height``, ``width`` (pixels), ``nuclei`` (count), ``areas`` (array of the
        areas of its nuclei in pixels).
    """
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    (types, diameters), (sizes, counts) = figure.subplots(2, 2)
    number = table["type"].value_counts()[::-1]
    _bars(types, number.index, number)
    types.set(title="Images of each type", xlabel="images")

    areas = [np.concatenate(list(table.loc[table["type"] == name, "areas"])) for name in number.index]
    diameters.boxplot(
        [_diameter(each) for each in areas],
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        widths=0.5,
        boxprops={"facecolor": PALE, "edgecolor": INK},
        medianprops={"color": INK, "linewidth": 2},
    )
    diameters.set(title="Diameter of a nucleus", xscale="log", yticklabels=number.index)
    diameters.set_xlabel("pixels; whiskers: 5th to 95th percentile")
    diameters.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    diameters.xaxis.set_major_formatter("{x:g}")
    diameters.xaxis.set_minor_locator(NullLocator())

    shapes = table.value_counts(["height", "width"])
    names = [f"{height:,} × {width:,}" for height, width in shapes.index]
    if len(shapes) > NAMED:
        rest = shapes[NAMED - 1 :]
        names, shapes = [*names[: NAMED - 1], f"{len(rest)} other sizes"], [*shapes[: NAMED - 1], rest.sum()]
    _bars(sizes, names[::-1], shapes[::-1])
    sizes.set(title="Images of each size, height × width in pixels", xlabel="images")
    for axis in (types, sizes):
        axis.xaxis.set_major_locator(WHOLE())

    _histogram(counts, table["nuclei"], _whole_bins(table["nuclei"]), TRAINING)
    median = table["nuclei"].median()
    counts.axvline(median, color=TRUTH, linewidth=2, linestyle="--", label=f"median: {median:.0f}")
    counts.set(title="Nuclei per image", xlabel="nuclei", ylabel="images")
    counts.legend()
    return figure


@styled
def history(
    table: pd.DataFrame,
    metric: str,
    *,
    kept: int | None = None,
    kept_by: str | None = None,
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Show how a quantity went from epoch to epoch, in validation and, where it is known, in training.

    Parameters
    ----------
    table : DataFrame with columns ``epoch`` (from 0), ``val_<metric>``, and perhaps `metric`
    metric : str
        One of `QUANTITIES`.
    kept : int, optional
        The epoch, from 1, whose weights were kept; a broad line marks it.
    kept_by : str, optional
        The column by which it was chosen, such as "val_score": the title names it, as the epoch need
        not be the best by another quantity.
    reference : (name, value), optional
        A published value to compare with, drawn as a line.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axis = figure.subplots()
    epochs, validation = table["epoch"] + 1, table[f"val_{metric}"]
    dot = "o" if len(table) <= 25 else ""
    if metric in table:
        axis.plot(epochs, table[metric], f"{dot}--", color=TRAINING, markersize=4, label="training")
    axis.plot(epochs, validation, f"{dot}-", color=VALIDATION, linewidth=2, markersize=4, label="validation")
    if reference:
        name, value = reference
        axis.axhline(value, color=INK, linestyle=":", linewidth=1.8, label=f"{name}: {value:.5g}")
    if kept:
        value = validation.iloc[kept - 1]
        axis.axvline(kept, color=PALE, linewidth=6, zorder=0)
        style: Look = {"markersize": 9, "markerfacecolor": "white", "markeredgewidth": 2, "color": VALIDATION}
        axis.plot(kept, value, "D", label=f"epoch {kept}, kept: {value:.5g}", **style)
        by = QUANTITIES.get((kept_by or "").removeprefix("val_"), kept_by)
        why = f": the best in validation by {by}" if kept_by else ""
        axis.set_title(f"Epoch {kept} was kept{why}.", loc="left", fontsize=9)
    axis.set(xlabel="epoch", ylabel=QUANTITIES.get(metric, metric), xlim=(0.5, max(epochs) + 0.5))
    axis.xaxis.set_major_locator(WHOLE())
    axis.grid(axis="y")
    axis.legend(loc="best")
    return figure


@styled
def precision_curves(panels: dict[str, dict[str, pd.Series]]) -> Figure:
    """Show the average precision of several methods, or for several image types, at every IoU threshold.

    Parameters
    ----------
    panels : dict of title -> dict of name -> Series of AP, 0-1, with the IoU thresholds as its index
        The methods in one panel were scored on the same images. A name has one colour, dash and marker in all
        panels. The legends are sorted by the mean over the thresholds, which is the competition score.
    """
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = dict.fromkeys(name for curves in panels.values() for name in curves)
    styles = dict(zip(names, itertools.cycle(SERIES), strict=False))
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name in sorted(curves, key=lambda name: -curves[name].mean()):
            curve = curves[name]
            axis.plot(curve.index, curve, label=f"{curve.mean():.3f}  {name}", markersize=5, **styles[name])
        axis.set(title=title, ylim=(0, 1), xticks=curve.index[::2])
        axis.grid(axis="y")
        axis.legend(loc="lower left", title="mean", alignment="left", title_fontsize=9, handlelength=3)
    axes[0].set_ylabel("average precision, TP / (TP + FP + FN)")
    figure.supxlabel("IoU above which a predicted nucleus counts as found", fontsize=9)
    return figure


@styled
def scores_by_type(table: pd.DataFrame) -> Figure:
    """Show a score for each image type, with its interval; rows whose names begin with "all" are paler.

    Parameters
    ----------
    table : DataFrame, the image types as its index
        Columns ``score`` (0-1), ``interval`` (a pair), ``images`` and ``fields`` (counts).
    """
    table = table[::-1]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.36 * len(table)), layout="constrained")
    axis = figure.subplots()
    low, high = np.array(table["interval"].tolist(), float).T
    reach = np.maximum([table["score"] - low, high - table["score"]], 0)
    names = [
        f"{name}\n{_many(row.images, 'image')}, {_many(row.fields, 'field')} of view"
        for name, row in table.iterrows()
    ]
    colours = ["#9FD0F2" if name.startswith("all ") else PREDICTION for name in table.index]
    _bars(axis, names, table["score"].astype(float), "{:.3f}", behind=high, color=colours)
    axis.errorbar(table["score"], range(len(table)), xerr=reach, fmt="none", ecolor=INK, capsize=3)
    axis.set(xlim=(0, 1), xlabel="competition score, with its 95 % interval over fields of view")
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    return figure


@styled
def recall_by_size(table: pd.DataFrame) -> Figure:
    """Show which share of the true nuclei of each size was found: see `evaluation.metrics.recall_by_area`."""
    table = table[table["nuclei"] > 0]
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axis = figure.subplots()
    pairs = zip(_diameter(table["area_from"]), _diameter(table["area_below"]), strict=True)
    edges = [f"{a:.0f} to {b:.0f}" if np.isfinite(b) else f"over {a:.0f}" for a, b in pairs]
    recall = table["recall"]
    axis.bar(edges, recall, color=PREDICTION, width=0.7, label="found")
    style: Look = {"facecolor": "white", "edgecolor": TRUTH, "hatch": "////"}
    axis.bar(edges, 1 - recall, bottom=recall, width=0.7, label="missed", **style)
    for column, (share, nuclei) in enumerate(zip(recall, table["nuclei"], strict=True)):
        axis.text(column, 1.02, f"{share:.0%} of {nuclei:,}", ha="center", fontsize=8)
    axis.set(
        xlabel="diameter of a circle of the nucleus's area, pixels",
        ylabel="share of the true nuclei\nfound, at an IoU above 0.5",
        ylim=(0, 1.1),
    )
    figure.legend(loc="outside right upper", reverse=True)
    return figure


@styled
def measured(measurements: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Show how many nuclei each image has, and how large and how bright they are.

    measurements, summary : the tables that `workflows.segment.segment` writes; micrometres where they
    have them. Grey images and images of several channels have a panel of their own.
    """
    means = [name for name in measurements if name.startswith("intensity_mean")]
    means = [name for name in means if measurements[name].notna().any()]
    channels = [name for name in means if "_ch" in name]
    grey = [name for name in means if name not in channels]
    levels = {"Brightness of grey images": grey, "Brightness of images with channels": channels}
    levels = {title: names for title, names in levels.items() if names}
    figure = Figure(figsize=(WIDTH, 5.2 if len(levels) > 1 else 2.8), layout="constrained")
    counts, sizes, *others = figure.subplots(*((2, 2) if len(levels) > 1 else (1, 2 + len(levels)))).flat
    nuclei = summary["nuclei"][::-1]
    if len(nuclei) <= NAMED:
        _bars(counts, [shortened(str(n)) for n in summary["image"][::-1]], nuclei, color=PREDICTION)
        counts.tick_params(axis="y", labelsize=7.5)
        counts.set(title="Nuclei in each image", xlabel="nuclei")
    else:
        _histogram(counts, nuclei, _whole_bins(nuclei))
        counts.set(title="Nuclei per image", xlabel="nuclei", ylabel="images")
    area, unit = ("area_um2", "µm") if "area_um2" in measurements else ("area_px", "pixels")
    diameters = _diameter(measurements[area].dropna())
    _histogram(sizes, diameters, _bins(diameters))
    sizes.set(title="Size", xlabel=f"diameter of a circle of its area, {unit}", ylabel="nuclei")
    for axis, (title, names) in zip(others, levels.items(), strict=True):
        edges = _bins(measurements[names].to_numpy().ravel())
        axis.set(title=title, xlabel="mean intensity, in the file's units", ylabel="nuclei")
        if len(names) == 1:
            _histogram(axis, measurements[names[0]].dropna(), edges)
            continue
        for name, style in zip(names, itertools.cycle(SERIES), strict=False):
            line: Look = {"histtype": "step", "color": style["color"], "linestyle": style["linestyle"]}
            label = name.replace("intensity_mean_ch", "channel ")
            axis.hist(measurements[name].dropna(), bins=edges, label=label, linewidth=1.6, **line)
        axis.margins(y=0.2)
        axis.legend(loc="upper center", ncols=3, handlelength=1.5, columnspacing=1)
    return figure


@styled
def reliability(confidence: np.ndarray, matched: np.ndarray, bins: int = 10) -> Figure:
    """Show whether a confidence means what it says: a reliability diagram.

    Parameters
    ----------
    confidence : (N,) float, 0-1
        Of predicted nuclei.
    matched : (N,) bool
        Whether each has an IoU above 0.5 with a true nucleus.
    bins : int
        Number of equal intervals of the confidence.

    Notes
    -----
    After Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. The expected calibration error is
    the mean distance of a point to the diagonal, weighted by its nuclei. The bars are 95 %
    Wilson intervals.
    """
    place = np.minimum((np.asarray(confidence, float) * bins).astype(int), bins - 1)
    nuclei, hits, sums = (np.bincount(place, each, minlength=bins) for each in (None, matched, confidence))
    used = nuclei > 0
    n, share, mean = nuclei[used], hits[used] / nuclei[used], sums[used] / nuclei[used]
    tests = [
        binomtest(int(k), int(m)).proportion_ci(method="wilson") for k, m in zip(hits[used], n, strict=True)
    ]
    low, high = np.transpose([(test.low, test.high) for test in tests])
    error = np.sum(n * np.abs(share - mean)) / n.sum()

    figure = Figure(figsize=(5, 5.2), layout="constrained")
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    diagram.plot([0, 1], [0, 1], "--", color=TRAINING, label="perfect calibration")
    bars = np.maximum([share - low, high - share], 0)
    diagram.errorbar(mean, share, bars, fmt="-o", color=PREDICTION, ecolor=INK, capsize=3, label="this model")
    diagram.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that matches a true nucleus,\nat an IoU above 0.5")
    diagram.set_title(f"Expected calibration error {error:.3f}, {_many(n.sum(), 'nucleus', 'nuclei')}")
    diagram.grid(axis="y")
    diagram.legend(loc="upper left")
    _histogram(counts, confidence, np.linspace(0, 1, bins + 1))
    counts.set(xlabel="confidence", ylabel="nuclei")
    return figure


@styled
def robustness(table: pd.DataFrame, clean: str = "clean") -> Figure:
    """Show the score on changed images beside that on the same images unchanged.

    Parameters
    ----------
    table : DataFrame, a row for each change, named by the index, and a column for each model; scores 0-1
        A number beside a point is its ratio to the score on unchanged images.
    clean : str
        The row of the unchanged images; a line of each model's style goes through its points.
    """
    changed = table.drop(index=clean)
    changed = changed.loc[changed.mean(axis=1).sort_values().index]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.24 * len(changed)), layout="constrained")
    axis = figure.subplots()
    shifts = np.linspace(0.18, -0.18, table.shape[1]) if table.shape[1] > 1 else [0]
    white: Look = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for name, style, shift in zip(table, itertools.cycle(SERIES), shifts, strict=False):
        reference, places = table.at[clean, name], np.arange(len(changed)) + shift
        label = f"{name}, unchanged images: {reference:.3f}"
        axis.plot(changed[name], places, label=label, markersize=5.5, **style | {"linestyle": "none"})
        axis.axvline(reference, color=style["color"], linestyle=style["linestyle"], linewidth=1.4)
        for value, place in zip(changed[name], places, strict=True):
            text: Look = {"textcoords": "offset points", "va": "center", "fontsize": 7, "bbox": white}
            axis.annotate(f"{value / max(reference, 1e-9):.0%}", (value, place), (6, 0), **text)
    axis.set_yticks(range(len(changed)), changed.index)
    axis.set_xlabel("competition score; its ratio to that on unchanged images, the vertical lines")
    axis.set(xlim=(0, min(1, 1.15 * table.to_numpy().max())), ylim=(-0.6, len(changed) - 0.4))
    axis.grid(axis="both")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def throughput(table: pd.DataFrame, unit: str = "megapixels a second") -> Figure:
    """Show how much several programs or engines do in a second, the fastest on top.

    table : DataFrame, a row for each, named by the index, and a column for each case, such as an image size
    """
    table = table.loc[table.mean(axis=1).sort_values().index]
    height = 0.7 / table.shape[1]
    figure = Figure(figsize=(WIDTH, 1 + 0.16 * (1 + table.shape[1]) * len(table)), layout="constrained")
    axis = figure.subplots()
    fills = [(PREDICTION, ""), (PALE, ""), ("white", "////"), (INK, "")]
    for k, (name, (colour, hatch)) in enumerate(zip(table, itertools.cycle(fills), strict=False)):
        places = np.arange(len(table)) + ((table.shape[1] - 1) / 2 - k) * height
        style: Look = {"facecolor": colour, "edgecolor": INK, "hatch": hatch, "linewidth": 0.6}
        bars = axis.barh(places, table[name], height=height, label=str(name), **style)
        axis.bar_label(bars, [f"{value:.3g}" for value in table[name]], padding=3, fontsize=8)
    axis.set_yticks(range(len(table)), table.index)
    axis.set(xlabel=unit, xmargin=0.08)
    if table.shape[1] > 1:
        axis.legend(loc="lower right")
    return figure


def _bars(axis: Axes, names, values, text: str = "{:,}", behind=None, color: Any = TRAINING) -> None:
    """Draw horizontal bars, the first at the bottom, with their values at the ends or behind `behind`."""
    rows = range(len(names))
    axis.barh(rows, values, height=0.65, color=color)
    axis.set_yticks(rows, names)
    ends = values if behind is None else np.maximum(values, behind)
    for row, end, value in zip(rows, ends, values, strict=True):
        place: Look = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axis.annotate(text.format(value), (end, row), fontsize=8.5, **place)
    axis.margins(x=0.12)


def _histogram(axis: Axes, values: np.ndarray, edges: np.ndarray, colour: str = PREDICTION) -> None:
    axis.hist(values, bins=list(edges), color=colour, edgecolor="white")
    axis.yaxis.set_major_locator(WHOLE())


def _diameter(area):
    """Return the diameter of a circle of this area."""
    return np.sqrt(4 / np.pi * np.asarray(area, float))


def _bins(values: np.ndarray) -> np.ndarray:
    """Return the edges of 10 to 40 bins of equal width, as many as the values are worth."""
    values = values[np.isfinite(values)]
    number = len(np.histogram_bin_edges(values, "auto")) - 1 if values.size else 10
    return np.histogram_bin_edges(values, int(np.clip(number, 10, 40)))


def _whole_bins(counts: pd.Series) -> np.ndarray:
    """Return the edges of bins of one whole width from 0 on: for many counts 30, for few fewer."""
    width = math.ceil((counts.max() + 1) / min(30, 2 * math.sqrt(len(counts))))
    return np.arange(0, counts.max() + width + 1, width) - 0.5


def _many(number: int, one: str, several: str | None = None) -> str:
    """Return "1 image", "2 images" and so on."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
