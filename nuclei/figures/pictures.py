"""Pictures of images and nuclei: functions that take arrays and return a matplotlib Figure."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch, Patch, Rectangle
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt
from skimage.color import label2rgb
from skimage.measure import regionprops

from nuclei.figures.colours import BOTH, DARK, INK, PREDICTION, TRUTH
from nuclei.figures.drawing import brightened, busiest_square, close_up, contours, draw_outlines
from nuclei.figures.style import WIDTH, Look, drawable, styled
from nuclei.figures.style import save as save  # so that a notebook finds it beside the pictures
from nuclei.segmentation.candidates import Candidates

PANEL = 3.0  # inches: no picture in a figure is wider or higher

Arrays = list[np.ndarray]

LARGEST, CLOSER = 200, 120  # pixels: largest side of the squares that the gallery and the pipeline show

BLUES, ORANGES = (LinearSegmentedColormap.from_list("", [DARK, colour]) for colour in (PREDICTION, TRUTH))

SHADES = [to_rgb(c) for c in ("#4FB3E8", "#D9F0FF", "#7FA8C9", "#9FD8FF", "#B9C4CC", "#2F9FE0")]
"""Colours of neighbouring nuclei, which no outline separates."""

CENTRED: Look = {"ha": "center", "va": "center", "fontsize": 8}


@styled
def examples(
    images: Arrays, labels: Arrays, titles: list[str], *, title: str = "", predicted: bool = False
) -> Figure:
    """Show images, (H, W, 3) uint8, and a close-up of each with the outlines of its nuclei, (H, W) int.

    True outlines are orange, `predicted` ones blue. A frame shows where in the image the close-up lies.
    """
    name, colour = ("predicted", "predicted") if predicted else ("truth", "true")
    figure, axes = _panels(("image", f"close-up with\n{colour} outlines"), titles, title)
    for (above, below), image, each in zip(axes.T, images, labels, strict=True):
        outer = busiest_square([each], min(each.shape))
        image, each = image[outer], each[outer]
        rows, columns = inner = close_up([each], len(each))
        _show(above, brightened(image))
        _show(below, brightened(image[inner]))
        pale = predicted and np.median(image) > 127  # where blue with a dark line would look black
        draw_outlines(below, **{name: each[inner]}, below=BOTH if pale else DARK)
        if (side := rows.stop - rows.start) < 0.9 * len(image):
            style: Look = {"edgecolor": BOTH, "path_effects": [withStroke(linewidth=3, foreground=DARK)]}
            corner = columns.start - 0.5, rows.start - 0.5
            above.add_patch(Rectangle(corner, side, side, fill=False, linewidth=1.2, **style))
    return figure


@styled
def mosaics(pictures: Arrays, tiles: list[tuple[int, int]], titles: list[str], *, title: str = "") -> Figure:
    """Show fields of view, (H, W, 4) uint8 with opacity 0 where no tile lies, with ticks where tiles meet.

    `tiles` are the height and width of a tile of each, in pixels.
    """
    shapes = [picture.shape[1] / picture.shape[0] for picture in pictures]  # all are shown equally high
    high = min(PANEL, (WIDTH - 0.25 * len(shapes)) / sum(shapes))
    figure = Figure(figsize=(sum(shapes) * high + 0.25 * len(shapes), high + 0.5 + 0.4 * bool(title)))
    figure.set_layout_engine("compressed", w_pad=0.1)
    figure.suptitle(title)
    axes = figure.subplots(1, len(pictures), squeeze=False, width_ratios=shapes)[0]
    for axis, picture, (height, width), text in zip(axes, pictures, tiles, titles, strict=True):
        _show(axis, np.dstack([brightened(picture[..., :3]), picture[..., 3:]]))
        axis.set_title(text, fontsize=9)
        axis.set_yticks(np.arange(height, picture.shape[0], height) - 0.5, [])
        axis.set_xticks(np.arange(width, picture.shape[1], width) - 0.5, [])
        axis.tick_params(color=INK, length=4, width=1.2, right=True, top=True)
        axis.spines[:].set_visible(False)
        gap = picture[..., 3] == 0
        if gap.any():
            axis.patch.set(facecolor="#F2F2F2", hatch="////", edgecolor="#D0D0D0")
            box: Look = {"facecolor": "#F2F2F2", "edgecolor": "none", "pad": 2}
            axis.text(*_widest(gap), "not in the\ndata set", **CENTRED, bbox=box)
    return figure


@styled
def predictions(
    images: Arrays, truths: Arrays, probabilities: Arrays, titles: list[str] | None = None, *, title: str = ""
) -> Figure:
    """Show of each sample: image, truth, predicted probability, and where the two differ.

    Each is (H, W, 3) uint8, (H, W) bool, and (H, W) float 0-1. Samples without any nucleus, true or
    predicted, are left out while there are others.
    """
    samples = list(zip(images, truths, probabilities, titles or [""] * len(images), strict=True))
    samples = [s for s in samples if np.any(s[1]) or np.any(s[2] >= 0.5)] or samples
    steps = ("image", "truth", "prediction", "comparison")
    figure, axes = _panels(steps, [text for *_, text in samples], title)
    for column, (image, truth, probability, _) in zip(axes.T, samples, strict=True):
        predicted = probability >= 0.5
        shown = (brightened(image), ORANGES(truth * 1.0), BLUES(probability))
        for axis, picture in zip(column, (*shown, agreement(image, truth, predicted)), strict=True):
            _show(axis, picture)
        column[3].set_xlabel(f"{np.mean(truth == predicted):.1%} of pixels agree", fontsize=8)
    names = {"both": BOTH, "truth alone: missed": TRUTH, "prediction alone: false": PREDICTION}
    handles = [Patch(facecolor=colour, edgecolor=INK, label=name) for name, colour in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def agreement(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float 0-1: the image darkened, true positives white, missed orange, false blue."""
    colours = 0.92 * np.array([to_rgb(colour) for colour in (DARK, TRUTH, PREDICTION, BOTH)])
    dark = image.mean(axis=-1, keepdims=True) / 255 * 0.3
    return np.where((truth | predicted)[..., None], colours[truth + 2 * predicted], dark)


@styled
def gallery(
    groups: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray, str]]], *, title: str = ""
) -> Figure:
    """Show images with true (orange) and predicted (blue) outlines, white where the two agree.

    `groups` has by name the image, (H, W, 3) uint8, truth and prediction, (H, W) labels, and title of each.
    Of a large image it is a close-up where it has the longest outlines.
    """
    figure, axes = _panels([""] * max(map(len, groups.values())), list(groups), title)
    for column, group in zip(axes.T, groups.values(), strict=True):
        for axis, (image, truth, predicted, text) in zip(column, group, strict=False):
            window = close_up([truth, predicted], LARGEST)
            _show(axis, brightened(image[window]))
            axis.set_title(f"{axis.get_title()}\n{text}".strip(), fontsize=9)
            draw_outlines(axis, truth=truth[window], predicted=predicted[window])
        for axis in column[len(group) :]:
            axis.remove()
    _name_outlines(figure)
    return figure


@styled
def contact_sheet(crops: list[tuple[np.ndarray, np.ndarray, str, str]], *, title: str = "") -> Figure:
    """Show nuclei in their surroundings, six in a row, each with its outline.

    crops : list of (image, nucleus, name, text): (H, W, 3) uint8, (H, W) bool, and what stands above
    """
    figure, axes = _grid(len(crops), 6, title)
    for axis, (image, nucleus, name, text) in zip(axes, crops, strict=True):
        _show(axis, brightened(image))
        draw_outlines(axis, predicted=nucleus)
        name = drawable(name)
        first, rest = name[:13], name[13:]  # both fit above the panel
        rest = rest if len(rest) <= 13 else f"…{rest[-12:]}"
        axis.set_title("\n".join(filter(None, (first, rest, text))), fontsize=7)
    return figure


@styled
def pipeline(
    image: np.ndarray,
    maps: np.ndarray,
    labels: np.ndarray,
    truth: np.ndarray,
    *,
    candidates: tuple[Candidates, np.ndarray] | None = None,
    confidence: np.ndarray | None = None,
) -> Figure:
    """Show how the nuclei of one image are found, step by step, in the square with the longest outlines.

    `image`, `maps` and `labels` are those of a `Prediction`, and so is `confidence`, which is written into
    the nuclei; `candidates` those of `Segmenter.candidates`.
    """
    window = busiest_square([truth, labels], CLOSER)
    bright, maps, labels, truth = brightened(image[window]), maps[window], labels[window], truth[window]
    names = ["foreground map: nucleus or not?", "interior map: away from the edge?"][: maps.shape[-1]]
    steps = [("image", bright), *((name, BLUES(maps[..., k] * 1.0)) for k, name in enumerate(names))]
    if candidates:
        outlines, count = _candidate_outlines(*candidates, window)
        steps += [(f"{count} candidates, bright: rated high", (bright * 0.35).astype(np.uint8))]
    nuclei = label2rgb(labels, colors=SHADES, bg_label=0, bg_color=to_rgb(DARK))
    steps += [("nuclei kept" + ", with confidence" * (confidence is not None), nuclei)]
    steps += [("comparison with the truth", bright)]
    figure, axes = _grid(len(steps), 3 if len(steps) > 4 else len(steps))
    for number, (axis, (name, picture)) in enumerate(zip(axes, steps, strict=True), start=1):
        _show(axis, picture)
        axis.set_title(f"{number}  {name}")
    if candidates:
        axes[-3].add_collection(outlines)
    if confidence is not None:
        _write_confidence(axes[-2], labels, confidence)
    draw_outlines(axes[-1], truth=truth, predicted=labels)
    _name_outlines(figure)
    for left, right in itertools.pairwise(axes):
        if left.get_subplotspec().rowspan == right.get_subplotspec().rowspan:
            _draw_arrow(left, right)
    return figure


def _candidate_outlines(
    found: Candidates, ious: np.ndarray, window: tuple[slice, slice]
) -> tuple[LineCollection, int]:
    """Return the outlines of the candidates in a window, the best on top, and how many there are."""
    outlines: dict[int, list[np.ndarray]] = {}
    for k in np.argsort(ious, kind="stable"):
        mask = np.zeros(found.shape, bool)
        mask.ravel()[found.pixels[found.starts[k] : found.stops[k]]] = True
        if lines := contours(mask[window]):
            outlines[k] = lines
    ratings = np.array([ious[k] for k, lines in outlines.items() for _ in lines])
    colours = LinearSegmentedColormap.from_list("rating", ["#3A5068", PREDICTION, "#E8F8FF"])
    style: Look = {"cmap": colours, "clim": (0.2, 0.9), "linewidths": 0.4 + 1.2 * np.square(ratings)}
    return LineCollection([*itertools.chain(*outlines.values())], array=ratings, **style), len(outlines)


def _write_confidence(axis: Axes, labels: np.ndarray, confidence: np.ndarray) -> None:
    """Write into the nuclei, (H, W) labels, their confidence, where there is room."""
    for region in regionprops(labels):
        x, y = np.add(_widest(region.image), region.bbox[1::-1])
        if region.area > 60 and 6 <= x < labels.shape[1] - 6:
            axis.text(x, y, f"{confidence[region.label - 1]:.2f}", **CENTRED, color=DARK)


def _draw_arrow(left: Axes, right: Axes) -> None:
    """Draw an arrow from a panel to the one on its right."""
    arrow: Look = {"arrowstyle": "simple,head_width=0.9,head_length=0.6,tail_width=0.35", "zorder": 9}
    ends = (0.96, 0.5), (0.04, 0.5), left.transAxes, right.transAxes
    left.figure.add_artist(ConnectionPatch(*ends, facecolor="white", edgecolor=INK, **arrow))


def _widest(mask: np.ndarray) -> tuple[int, int]:
    """Return x and y of the pixel that is furthest inside of an (H, W) mask."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def _panels(steps: Sequence[str], samples: Sequence[str], title: str = "") -> tuple[Figure, np.ndarray]:
    """Return a figure of square panels with their names, and its axes, (steps, samples).

    A sample is a column; where there are fewer than three, it is a row.
    """
    upright = len(samples) > 2
    rows, columns = (steps, samples) if upright else (samples, steps)
    side = min(PANEL, (WIDTH - 0.2) / len(columns))
    size = (len(columns) * side + 0.2, len(rows) * (side + 0.25) + 0.3 * bool(title) + 0.25)
    figure = Figure(figsize=size)
    figure.set_layout_engine("compressed", w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0)
    figure.suptitle(title)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=9)
    return figure, axes if upright else axes.T


def _grid(panels: int, columns: int, title: str = "") -> tuple[Figure, np.ndarray]:
    """Return a figure of so many square panels without names, row by row, and their axes."""
    figure, axes = _panels([""] * max(1, math.ceil(panels / columns)), [""] * columns, title)
    for axis in axes.flat[panels:]:
        axis.remove()
    return figure, axes.flat[:panels]


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, interpolation="bicubic" if image.shape[0] < LARGEST else "antialiased")


def _name_outlines(figure: Figure) -> None:
    names = {"true outline": TRUTH, "predicted outline": PREDICTION, "both agree": BOTH}
    handles = [Line2D([], [], color=colour, label=name, linewidth=2) for name, colour in names.items()]
    style: Look = {"facecolor": "#4A4A52", "edgecolor": "none", "labelcolor": "white", "frameon": True}
    figure.legend(handles=handles, loc="outside lower center", ncols=3, **style)
