"""A diagram of the network."""

import itertools
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nuclei.figures.colours import INK, PREDICTION, TRAINING, VALIDATION
from nuclei.figures.style import WIDTH, Look, styled

MIDDLE = 5.0  # the drawing's axis of symmetry; its levels are 1 apart

TOP, BOTTOM, LEFT, RIGHT = (0.5, 1), (0.5, 0), (0, 0.5), (1, 0.5)
"""Where an arrow touches a block, in shares of its width and height."""


@styled
def architecture(model, size: int = 128) -> Figure:
    """Draw a network of `nuclei.training.unet`: encoder on the left, decoder on the right, skips across.

    A block's height and width go with the logarithms of its side, for images of `size` pixels, and channels.
    """
    skips = [output.shape[-1] for output in model.get_layer("encoder").outputs]
    blocks = [layer for layer in model.layers if type(layer).__name__ == "Sequential"]
    filters = [block.layers[0].filters for block in blocks[:4]]
    left = [(3, size), *((channels, size // 2 ** (k + 1)) for k, channels in enumerate(skips))]
    right = [(model.output_shape[-1], size)]
    right += [(channels, size // 2 ** (k + 1)) for k, channels in enumerate(reversed(filters))]

    figure = Figure(figsize=(WIDTH, 4.8))
    axis = figure.subplots()
    down = [_block(axis, k, *each, TRAINING if k else "#C8C8C8", "image") for k, each in enumerate(left)]
    style: Look = {"name": "probability map" + "s" * (right[0][0] > 1), "sign": 1}
    up = [_block(axis, k, *each, VALIDATION if k else PREDICTION, **style) for k, each in enumerate(right)]
    for above, below in itertools.pairwise(down):
        _arrow(axis, above, BOTTOM, below, TOP)
    for above, below in itertools.pairwise(up):
        _arrow(axis, below, TOP, above, BOTTOM)
    bend = "angle,angleA=0,angleB=90,rad=8"
    _arrow(axis, down[-1], RIGHT, up[-1], BOTTOM, connectionstyle=bend)
    detail = len(blocks) > 4  # a last block at full resolution, which also sees the image itself
    for encoded, decoded in list(zip(down, up, strict=False))[0 if detail else 1 :]:
        _arrow(axis, encoded, RIGHT, decoded, LEFT, color="#909090", linestyle=(0, (4, 3)))
    _describe(axis)
    total = model.count_params()
    learned = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    axis.set_title(f"U-Net: {total / 1e6:.2f} million weights, {learned / 1e6:.2f} million of them trained")
    axis.set(xlim=(0.3, 2 * MIDDLE - 0.3), ylim=(-5.65, 0.45))
    axis.axis("off")
    return figure


def _block(axis: Axes, level: int, channels: int, side: int, colour: str, name: str, sign=-1) -> Rectangle:
    """Draw a feature map, with its size beside it; the uppermost has a name too."""
    width, height = 0.08 + 0.085 * math.log2(channels + 1), 0.16 + 0.05 * math.log2(side)
    x = MIDDLE + sign * (3.25 - 0.62 * level)  # sign: -1 on the left, 1 on the right
    block = Rectangle((x - width / 2, -level - height / 2), width, height, color=colour, linewidth=0)
    axis.add_patch(block)
    text = f"{side} × {side} × {channels}"
    text = text if level else f"{name}\n{text}"
    edge, align = x + sign * (width / 2 + 0.1), "right" if sign < 0 else "left"
    axis.text(edge, -level, text, ha=align, va="center", fontsize=8.5)
    return block


def _describe(axis: Axes) -> None:
    """Write what the two halves are, and what the arrows mean."""
    style: Look = {"fontsize": 9, "va": "top", "linespacing": 1.45}
    axis.text(0.35, -4.25, "Encoder: MobileNetV2,\neach level halves the sides", color=INK, **style)
    style |= {"color": VALIDATION, "ha": "right"}
    axis.text(2 * MIDDLE - 0.35, -4.25, "Decoder: pix2pix blocks,\neach level doubles them", **style)
    for y, text in ((-0.85, "skip connections"), (-5.6, "numbers: height × width × channels")):
        axis.text(MIDDLE, y, text, ha="center", va="bottom", color="#707070", fontsize=8.5)


def _arrow(axis: Axes, start: Rectangle, leaves: tuple, end: Rectangle, enters: tuple, **style: Any) -> None:
    """Draw an arrow from a point of one block to a point of another."""
    options: Look = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 1.5, "shrinkB": 1.5, "color": INK}
    options |= {"linewidth": 1.3, "joinstyle": "miter", **style}
    axis.annotate("", enters, leaves, xycoords=end, textcoords=start, arrowprops=options)
