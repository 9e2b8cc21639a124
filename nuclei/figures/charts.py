"""Charts of numbers: functions that take tables and return a matplotlib Figure."""

import math
from functools import partial

import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from scipy.stats import binomtest

from nuclei.common import counted
from nuclei.evaluation.calibration import calibration_error
from nuclei.figures.colours import INK, PREDICTION, TRAINING, TRUTH, VALIDATION
from nuclei.figures.style import WIDTH, Look, shortened, styled

PUBLISHED = ("published baseline", 0.96804)
"""The best validation pixel accuracy of the published work, at 128 x 128 pixels."""

QUANTITIES = {"accuracy": "pixel accuracy", "score": "competition score of one crop an image"}
"""What the axis says instead of a metric's name."""

PALE = "#D9D9D9"

SERIES = cycler(
    color=["#0090E0", "#004B87", "#7A3E9D", "#CC79A7", "#666666", "#009E73", "#333333"],
    linestyle=["-", "--", "-", "-.", ":", "--", "-"],
    marker=list("os^DvPX"),
)
"""Lines of a chart: dash and marker distinguish them without colour too. Orange is left to what is true."""

WHOLE = partial(MaxNLocator, "auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)

NAMED = 20  # up to so many images each have a bar with their name; more become a histogram


@styled
def data_set(table: pd.DataFrame) -> Figure:
    """Show the images of each type and size, the nuclei per image and their diameters, of a `survey`."""
    figure = Figure(figsize=(WIDTH, 5.2))
    (types, diameters), (sizes, counts) = figure.subplots(2, 2)
    number = table["type"].value_counts()[::-1]
    _bars(types, number)
    types.set(title="Images of each type", xlabel="images")

    areas = [np.concatenate([*table["areas"][table["type"] == name]]) for name in number.index]
    box: Look = {"boxprops": {"facecolor": PALE, "edgecolor": INK}, "patch_artist": True, "widths": 0.5}
    box |= {"medianprops": {"color": INK, "linewidth": 2}, "whis": (5, 95), "showfliers": False}
    diameters.boxplot([_diameter(each) for each in areas], orientation="horizontal", **box)
    diameters.set(title="Diameter of a nucleus", xscale="log", yticklabels=number.index)
    diameters.set_xlabel("pixels; whiskers: 5th to 95th percentile")
    diameters.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    diameters.xaxis.set_major_formatter("{x:g}")
    diameters.minorticks_off()

    shapes = table.value_counts(["height", "width"])
    shapes.index = pd.Index([f"{height:,} × {width:,}" for height, width in shapes.index])
    if len(shapes) > NAMED:
        rest = shapes.iloc[NAMED - 1 :]
        shapes = pd.concat([shapes.iloc[: NAMED - 1], pd.Series({f"{len(rest)} other sizes": rest.sum()})])
    _bars(sizes, shapes[::-1])
    sizes.set(title="Images of each size, height × width in pixels", xlabel="images")

    _histogram(counts, table["nuclei"], color=TRAINING)
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
    kept: int,
    kept_by: str,
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Show how a quantity went from epoch to epoch, in validation and, where it is known, in training.

    The table has ``epoch`` (from 0), ``val_<metric>``, and perhaps `metric`, such as "loss". `kept` is the
    epoch, from 1, whose weights were kept, `kept_by` the column by which it was chosen; `reference` the name
    of a published value, and the value.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    axis = figure.subplots()
    epochs, validation = table["epoch"] + 1, table[f"val_{metric}"]
    line: Look = {"marker": "o" if len(table) <= 30 else "", "markersize": 4}
    if metric in table:
        axis.plot(epochs, table[metric], "--", color=TRAINING, label="training", **line)
    axis.plot(epochs, validation, color=VALIDATION, linewidth=2, label="validation", **line)
    if reference:
        name, value = reference
        axis.axhline(value, color=INK, linestyle=":", linewidth=1.8, label=f"{name}: {value:.5g}")
    value = validation.iloc[kept - 1]
    axis.axvline(kept, color=PALE, linewidth=6, zorder=0)
    diamond: Look = {"markersize": 9, "markerfacecolor": "white", "markeredgewidth": 2}
    label = f"epoch {kept}, kept: {value:.5g}"
    axis.plot(kept, value, "D", color=VALIDATION, label=label, **diamond)
    why = f"the best in validation by {QUANTITIES[kept_by.removeprefix('val_')]}"
    axis.set_title(f"Epoch {kept} was kept: {why}.", loc="left", fontsize=9)
    axis.set(xlabel="epoch", ylabel=QUANTITIES.get(metric, metric), xlim=(0.5, max(epochs) + 0.5))
    axis.xaxis.set_major_locator(WHOLE())
    axis.grid(axis="y")
    axis.legend(loc="best")
    return figure


@styled
def precision_curves(panels: dict[str, dict[str, pd.Series]]) -> Figure:
    """Show the average precision of several methods, or for several image types, at every IoU threshold.

    `panels` has by title and name a Series of AP, 0-1, with the IoU thresholds as its index. A name has one
    style in all panels. The legends are sorted by the mean over the thresholds, the competition score.
    """
    figure = Figure(figsize=(WIDTH, 3.8))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = dict.fromkeys(name for curves in panels.values() for name in curves)
    styles = dict(zip(names, SERIES(), strict=False))
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
    """Show the score of each image type (the index), see `evaluation.report.measures_with_interval`.

    Rows whose names begin with "all" are paler. A single field of view has no interval.
    """
    table = table[::-1]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.36 * len(table)))
    axis = figure.subplots()
    score = table["score"].astype(float)
    counts = zip(table.index, table["images"], table["fields"], strict=True)
    names = [f"{name}\n{counted(n, 'image')}, {counted(m, 'field')} of view" for name, n, m in counts]
    style: Look = {"height": 0.65, "tick_label": names, "ecolor": INK, "capsize": 3}
    style["color"] = ["#9FD0F2" if name.startswith("all ") else PREDICTION for name in table.index]
    reach = np.where(table["fields"] > 1, _reach(table["interval"], score), np.nan)
    axis.barh(range(len(table)), score, xerr=reach, **style)
    for row, value in enumerate(score):
        axis.text(0.01, row, f"{value:.3f}", va="center", fontsize=8.5)
    axis.set(xlim=(0, 1), xlabel="competition score, with its 95% interval over fields of view")
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(axis="x")
    return figure


@styled
def recall_by_size(table: pd.DataFrame) -> Figure:
    """Show which share of the true nuclei of each size was found: see `evaluation.metrics.recall_by_area`."""
    table = table[table["nuclei"] > 0]
    figure = Figure(figsize=(WIDTH, 3.2))
    axis = figure.subplots()
    pairs = zip(_diameter(table["area_from"]), _diameter(table["area_below"]), strict=True)
    edges = [f"{a:.0f} to {b:.0f}" if b < np.inf else f"over {a:.0f}" for a, b in pairs]
    recall = table["recall"]
    axis.bar(edges, recall, color=PREDICTION, width=0.7, label="found")
    style: Look = {"facecolor": "white", "edgecolor": TRUTH, "hatch": "////", "width": 0.7}
    bars = axis.bar(edges, 1 - recall, bottom=recall, label="missed", **style)
    shares = zip(recall, table["nuclei"], strict=True)
    axis.bar_label(bars, [f"{share:.0%} of {nuclei:,}" for share, nuclei in shares], padding=2, fontsize=8)
    axis.set(xlabel="diameter of a circle of the nucleus's area, pixels", ylim=(0, 1.1))
    axis.set_ylabel("share of the true nuclei\nfound, at an IoU above 0.5")
    figure.legend(loc="outside right upper", reverse=True)
    return figure


@styled
def measured(measurements: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Show how many nuclei each image has, and how large and how bright they are, by the tables of a run.

    Sizes are in micrometres where the tables have them. Images of several channels have their own panel.
    """
    means = measurements.filter(regex="^intensity_mean").dropna(axis=1, how="all")
    channels = means.filter(like="_ch")
    levels = {"grey images": means.drop(columns=channels.columns), "images with channels": channels}
    levels = {kind: columns for kind, columns in levels.items() if columns.size}
    rows = 2 if len(levels) > 1 else 1
    figure = Figure(figsize=(WIDTH, 0.4 + 2.4 * rows))
    counts, sizes, *others = figure.subplots(rows, (2 + len(levels)) // rows).flat
    nuclei = summary.set_index("image")["nuclei"][::-1]
    counts.set(title="Nuclei per image", xlabel="nuclei")
    if len(nuclei) <= NAMED:
        _bars(counts, nuclei.rename(lambda name: shortened(str(name))), PREDICTION)
        counts.tick_params(axis="y", labelsize=7.5)
    else:
        _histogram(counts, nuclei)
        counts.set_ylabel("images")
    area, unit = ("area_um2", "µm") if "area_um2" in measurements else ("area_px", "pixels")
    _histogram(sizes, _diameter(measurements[area].dropna()))
    sizes.set(title="Size", xlabel=f"diameter of a circle of its area, {unit}", ylabel="nuclei")
    for axis, (kind, columns) in zip(others, levels.items(), strict=True):
        axis.set(title=f"Brightness of {kind}", xlabel="mean intensity, in the file's units", ylabel="nuclei")
        if columns.shape[1] == 1:
            _histogram(axis, columns.squeeze(axis=1).dropna())
            continue
        edges = _edges(columns.to_numpy().ravel())
        for name, style in zip(columns, SERIES(), strict=False):
            line: Look = {"histtype": "step", "color": style["color"], "linestyle": style["linestyle"]}
            label = name.replace("intensity_mean_ch", "channel ")
            axis.hist(columns[name].dropna(), bins=edges, label=label, linewidth=1.6, **line)
        axis.margins(y=0.2)
        axis.legend(loc="upper center", ncols=3, handlelength=1.5, columnspacing=1)
    return figure


@styled
def reliability(confidence: np.ndarray, matched: np.ndarray, bins: int = 10) -> Figure:
    """Show whether the confidence, (N,) floats 0-1, is the share of nuclei that are `matched`, (N,) bool.

    A reliability diagram after Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, with 95%
    Wilson intervals. The error in the title is that of `calibration_error`.
    """
    place = np.minimum((np.asarray(confidence, float) * bins).astype(int), bins - 1)
    groups = pd.DataFrame({"confidence": confidence, "matched": np.asarray(matched, int)}).groupby(place)
    n, hits, mean = groups.size(), groups["matched"].sum(), groups["confidence"].mean()
    share = hits / n
    tests = [binomtest(k, of).proportion_ci(method="wilson") for k, of in zip(hits, n, strict=True)]
    error = calibration_error(confidence, matched, bins)

    figure = Figure(figsize=(5, 5.2))
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    diagram.plot([0, 1], [0, 1], "--", color=TRAINING, label="perfect calibration")
    style: Look = {"fmt": "-o", "color": PREDICTION, "ecolor": INK, "capsize": 3, "label": "this model"}
    diagram.errorbar(mean, share, _reach(tests, share), **style)
    diagram.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that matches a true nucleus,\nat an IoU above 0.5")
    diagram.set_title(f"Expected calibration error {error:.3f}, {n.sum():,} nuclei")
    diagram.grid(axis="y")
    diagram.legend(loc="upper left")
    _histogram(counts, confidence, np.linspace(0, 1, bins + 1))
    counts.set(xlabel="confidence", ylabel="nuclei")
    return figure


def _bars(axis: Axes, counts: pd.Series, color: str = TRAINING) -> None:
    """Draw a horizontal bar for each count, named by the index, the first at the bottom."""
    bars = axis.barh(range(len(counts)), counts, height=0.65, color=color, tick_label=counts.index)
    axis.bar_label(bars, [f"{count:,}" for count in counts], padding=4, fontsize=8.5)
    axis.margins(x=0.12)
    axis.xaxis.set_major_locator(WHOLE())


def _histogram(axis: Axes, values, edges: np.ndarray | None = None, color: str = PREDICTION) -> None:
    axis.hist(values, bins=list(_edges(values) if edges is None else edges), color=color, edgecolor="white")
    axis.yaxis.set_major_locator(WHOLE())


def _edges(values) -> np.ndarray:
    """Return the edges of bins of equal width: for counts up to 30 of a whole width, for others 10 to 40."""
    values = np.asarray(values)[np.isfinite(values)]
    if values.dtype.kind in "iu":
        width = math.ceil((values.max() + 1) / min(30, 2 * math.sqrt(len(values))))
        return np.arange(0, values.max() + width + 1, width) - 0.5
    number = len(np.histogram_bin_edges(values, "auto")) - 1 if values.size else 10
    return np.histogram_bin_edges(values, int(np.clip(number, 10, 40)))


def _diameter(area) -> np.ndarray:
    return np.sqrt(4 / np.pi * np.asarray(area, float))  # of a circle


def _reach(intervals, values: pd.Series) -> np.ndarray:
    """Return how far (N, 2) intervals reach below and above their values, for error bars: (2, N)."""
    low, high = np.reshape(list(intervals), (-1, 2)).astype(float).T
    return np.maximum([values - low, high - values], 0)
