"""The size, shape and brightness of each nucleus, as tables."""

import numpy as np
import pandas as pd
from skimage.measure import regionprops_table

LENGTHS = {  # our columns of lengths, and scikit-image's names
    "equivalent_diameter": "equivalent_diameter_area",
    "major_axis": "axis_major_length",
    "minor_axis": "axis_minor_length",
    "perimeter": "perimeter",
}
ELLIPSE = ("eccentricity", "orientation")
INTENSITY = ("mean", "median", "std", "min", "max")


def measure(
    labels: np.ndarray,
    channels: np.ndarray,
    confidence: np.ndarray,
    pixel_size: tuple[float, float] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Measure every nucleus of an image: one row by ascending label; without nuclei no row, but all columns.

    `labels` are (H, W) integers, 0 = background; `channels`, (H, W, C), the values of the image as its file
    has them; `confidence`, (N,) floats 0-1, that of labels 1 to N; `pixel_size` the height and width of a
    pixel in micrometres; `origin` the row and column of the top left pixel, where the labels are those of a
    tile. The columns are those of docs/output.md.

    Centroids count from (0, 0), the centre of the top left pixel; in ImageJ it is the corner. ``circularity``
    is NaN where the perimeter is 0. Where pixels are not square, the ellipse is that of the nucleus in
    micrometres, and ``perimeter_um`` and ``circularity`` are NaN: scikit-image defines the perimeter for
    square pixels alone.
    """
    computable = {"bool": np.uint8, "float16": np.float32}  # sums of 16-bit floats overflow
    values = channels.astype(computable.get(channels.dtype.name, channels.dtype), copy=False)
    names = ("label", "centroid", "num_pixels", "solidity", *ELLIPSE, *LENGTHS.values())
    found = regionprops_table(labels, values, (*names, *(f"intensity_{name}" for name in INTENSITY)))
    height, width = pixel_size or (1, 1)
    if square := np.isclose(height, width):
        scaled = found | {name: found[name] * height for name in LENGTHS.values()}
    else:
        names = (*ELLIPSE, *(name for name in LENGTHS.values() if name != "perimeter"))
        scaled = regionprops_table(labels, properties=names, spacing=pixel_size)
        scaled["perimeter"] = np.full(len(found["label"]), np.nan)
    perimeter = np.where(square & (found["perimeter"] > 0), found["perimeter"], np.nan)
    y, x = (found[f"centroid-{axis}"] + start for axis, start in enumerate(origin))
    table = {
        "label": found["label"],
        "centroid_x_px": x,
        "centroid_y_px": y,
        "area_px": found["num_pixels"],
        **{f"{ours}_px": found[name] for ours, name in LENGTHS.items()},
        "circularity": 4 * np.pi * found["num_pixels"] / perimeter**2,
        "eccentricity": scaled["eccentricity"],
        "orientation_deg": (np.degrees(scaled["orientation"]) + 90) % 180,
        "solidity": found["solidity"],
    }
    if pixel_size:
        table["centroid_x_um"] = x * width
        table["centroid_y_um"] = y * height
        table["area_um2"] = found["num_pixels"] * height * width
        table |= {f"{ours}_um": scaled[name] for ours, name in LENGTHS.items()}
    for k in range(values.shape[2]):
        channel = f"_ch{k}" if values.shape[2] > 1 else ""
        table |= {f"intensity_{name}{channel}": found[f"intensity_{name}-{k}"] for name in INTENSITY}
        sums = np.bincount(labels.ravel(), weights=values[..., k].ravel())
        table[f"intensity_integrated{channel}"] = sums[found["label"]]
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    table["touches_border"] = np.isin(found["label"], border)
    table["confidence"] = confidence[found["label"] - 1]
    return pd.DataFrame(table)
