"""How large, how round and how bright each nucleus is, as tables."""

import numpy as np
import pandas as pd
from skimage.measure import regionprops_table

from nuclei.segmentation.watershed import confidence

SHAPE = ("label", "centroid", "area", "perimeter", "eccentricity", "orientation", "solidity")

INTENSITY = ("intensity_mean", "intensity_min", "intensity_max")


def measure(
    labels: np.ndarray, channels: np.ndarray, foreground: np.ndarray, pixel_size: float | None = None
) -> pd.DataFrame:
    """Measure every nucleus of an image.

    Parameters
    ----------
    labels : (H, W) integer array, 0 = background
    channels : (H, W, C) array of bool, integers or floats
        The values of the image as its file has them.
    foreground : (H, W) float array, 0-1
        The probability that a pixel lies in a nucleus.
    pixel_size : float, optional
        Side of a pixel in micrometres.

    Returns
    -------
    DataFrame
        One row a nucleus, by ascending label; without nuclei no row, but all columns:
        ``label``;
        ``centroid_x_px``, ``centroid_y_px``, where (0, 0) is the centre of the top left pixel;
        ``area_px``, ``perimeter_px``;
        ``eccentricity``, ``orientation_deg`` and ``solidity``: of the ellipse with the same second moments
        how far it is from a circle (0) towards a line (1), and the angle of its long axis against the x axis,
        counter-clockwise, 0-180; the area as a fraction of the convex hull's;
        ``intensity_mean``, ``_min``, ``_max`` and ``_integrated`` (the sum over the nucleus), with ``_ch0``,
        ``_ch1``, … where there are several channels;
        ``touches_border``, whether a pixel lies at the image's edge, where a nucleus may be cut;
        ``confidence``, the mean of `foreground` in the nucleus.
        With a `pixel_size` also centroid and perimeter in ``_um`` and ``area_um2``.
    """
    values = channels.astype(np.uint8) if channels.dtype == bool else channels
    found = pd.DataFrame(regionprops_table(labels, values, (*SHAPE, *INTENSITY)))
    table = pd.DataFrame(
        {
            "label": found["label"],
            "centroid_x_px": found["centroid-1"],
            "centroid_y_px": found["centroid-0"],
            "area_px": found["area"].astype(int),
            "perimeter_px": found["perimeter"],
            "eccentricity": found["eccentricity"],
            "orientation_deg": (np.degrees(found["orientation"]) + 90) % 180,
            "solidity": found["solidity"],
        }
    )
    if pixel_size:
        for name in ("centroid_x", "centroid_y", "perimeter"):
            table[f"{name}_um"] = table[f"{name}_px"] * pixel_size
        table["area_um2"] = table["area_px"] * pixel_size**2
    for k in range(values.shape[2]):
        channel = f"_ch{k}" if values.shape[2] > 1 else ""
        for name in INTENSITY:
            table[name + channel] = found[f"{name}-{k}"]
        table[f"intensity_integrated{channel}"] = _sums(labels, values[..., k])[table["label"]]
    edges = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    table["touches_border"] = np.isin(table["label"], np.concatenate(edges))
    table["confidence"] = confidence(labels, foreground)[table["label"] - 1]
    return table


def summarise(table: pd.DataFrame, shape: tuple[int, int], pixel_size: float | None = None) -> dict:
    """Return what `measure` found in an image of `shape` (H, W), as a row of its own.

    Its keys: ``width_px``, ``height_px``, ``pixel_size_um``, ``nuclei`` (their count), ``touching_border``,
    ``median_area_px``, ``median_area_um2``, ``covered`` (fraction of the image), ``mean_confidence``. What is
    not known, or has no meaning without nuclei, is None.
    """
    height, width = shape
    area = float(table["area_px"].median()) if len(table) else None
    return {
        "width_px": width,
        "height_px": height,
        "pixel_size_um": pixel_size,
        "nuclei": len(table),
        "touching_border": int(table["touches_border"].sum()),
        "median_area_px": area,
        "median_area_um2": area * pixel_size**2 if area and pixel_size else None,
        "covered": float(table["area_px"].sum() / (height * width)),
        "mean_confidence": float(table["confidence"].mean()) if len(table) else None,
    }


def _sums(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of (H, W) `values` in each label, (N + 1,) float64."""
    return np.bincount(labels.ravel(), weights=values.ravel())
