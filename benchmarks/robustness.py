"""How much do changes of the image cost?

    python benchmarks/robustness.py [MODEL_FOLDER] [IMAGES]

Changes a fixed third of the validation images, segments them, and writes robustness.json beside this file,
and plot/robustness.png: the competition score and its ratio to that of the same images unchanged, for each
change, over the images that it alters. Thresholds were tuned on the other half of the validation images,
before any change. Then the AP50 of the sample's real field, which no training saw, at other sizes. A quarter
of an hour on two cores; IMAGES for fewer.
"""

import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage as ndi
from skimage.color import hed2rgb, rgb2gray, rgb2hed
from tqdm import tqdm

import nuclei
from nuclei.data import splits
from nuclei.evaluation import metrics
from nuclei.figures.style import PREDICTION, save, styled
from nuclei.images.resizing import resize_image, resize_labels

EVERY, SEED = 3, 0
SIZES = (0.35, 0.5, 2, 3, 4, 6)
LARGER = (9, 12, 16)  # of the sample alone
LARGEST = 1536 * 1536  # pixels of a resized image; larger ones are left out of that size


def of_unit(change):
    """Make a change of floats in 0-1 one of uint8 images, both (H, W, 3)."""
    return lambda image: np.round(np.clip(change(image / 255), 0, 1) * 255).astype(np.uint8)


def gamma(exponent):
    return of_unit(lambda image: image**exponent)


def noise(share):
    return of_unit(lambda image: image + np.random.default_rng(SEED).normal(0, share, (*image.shape[:2], 1)))


def blur(sigma):
    return of_unit(lambda image: ndi.gaussian_filter(image, (sigma, sigma, 0)))


def uneven_light(image):
    """The right edge has half of the light."""
    return image * np.linspace(1, 0.5, image.shape[1])[:, None]


def haze(image):
    return 0.6 * image + 0.25


def saturated(image):
    """The brightest fifth of the range is cut off, as by overexposure."""
    return image / max(0.8 * image.max(), 1e-6)


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def other_stain(image):
    """Stained images alone: a third less hematoxylin, a third more eosin."""
    if np.ptp(image, axis=-1).mean() * 255 <= 5:
        return image
    return hed2rgb(rgb2hed(image) * [0.67, 1.33, 1])


def one_colour(image):
    """Dark images alone, as a camera in colour shows one dye: blue."""
    return image if np.median(image) > 0.5 else rgb2gray(image)[..., None] * [0.0, 0.0, 1.0]


CHANGES = {
    "none": lambda image: image,
    **{f"gamma {exponent}": gamma(exponent) for exponent in (0.5, 0.6, 1.6, 2)},
    **{f"blur, sigma {sigma} pixels": blur(sigma) for sigma in (1, 2)},
    **{f"noise of {share:.0%}": noise(share) for share in (0.02, 0.05)},
    "uneven light": of_unit(uneven_light),
    "haze": of_unit(haze),
    "JPEG, quality 40": jpeg,
    "saturation": of_unit(saturated),
    "other stain": of_unit(other_stain),
    "one colour": of_unit(one_colour),
}


def third_of_validation(segmenter: nuclei.Segmenter, data: list[nuclei.Sample]) -> list[nuclei.Sample]:
    """Return a fixed third, in a random order, of the samples with which a model was validated."""
    ids = set(segmenter.split["validation"])
    validation = [s for s in data if splits.is_seen(s, ids)]
    chosen = np.random.default_rng(SEED).permutation(len(validation))[: len(validation) // EVERY]
    return [validation[k] for k in chosen]


def resized(sample: nuclei.Sample, factor: float, largest: float = LARGEST) -> nuclei.Sample | None:
    """Resize an image and its labels; None for more than `largest` pixels, or a side under 32."""
    shape = tuple(round(side * factor) for side in sample.labels.shape)
    if shape[0] * shape[1] > largest or min(shape) < 32:
        return None
    return nuclei.Sample(sample.id, resize_image(sample.image, shape), resize_labels(sample.labels, shape))


def changed(samples: list[nuclei.Sample]) -> dict[str, list[nuclei.Sample]]:
    """Return the samples that a change alters, after it, by its name; after "none" all."""
    found = {}
    for name, change in CHANGES.items():
        after = [nuclei.Sample(s.id, change(s.image), s.labels) for s in samples]
        altered = [not np.array_equal(s.image, new.image) for s, new in zip(samples, after, strict=True)]
        found[name] = [new for new, other in zip(after, altered, strict=True) if other or name == "none"]
    for factor in SIZES:
        found[f"size x {factor}"] = [new for s in samples if (new := resized(s, factor))]
    return found


def sample_sizes(segmenter: nuclei.Segmenter) -> dict[str, float]:
    """Return the mean AP50 of the four tiles of the sample's real field of view, by size."""
    tiles = [s for s in nuclei.load_samples("sample") if not s.id.startswith("synthetic")]
    found = {}
    for factor in (1, *SIZES, *LARGER):
        group = [resized(s, factor, np.inf) for s in tiles]
        found[f"x {factor}"] = [metrics.match(s.labels, segmenter(s.image)) for s in group]
    return {
        name: round(float(metrics.score_table(each, (0.5,)).loc[0.5, "ap"]), 3)
        for name, each in found.items()
    }


@styled
def chart(report: dict) -> Figure:
    """Draw the ratio to the score of the unchanged images as a bar for each change."""
    ratios = {name: each["ratio"] for name, each in report.items() if name != "none"}
    figure = Figure(figsize=(6, 0.22 * len(ratios) + 0.8), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(list(ratios), list(ratios.values()), color=PREDICTION)
    axis.bar_label(bars, fmt="%.2f", padding=-28, fontsize=8, color="white")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.invert_yaxis()
    axis.set(xlabel="score, relative to that of the unchanged images", xlim=(0, 1.05))
    return figure


def main(folder: str = nuclei.DEFAULT_MODEL, images: str = "") -> None:
    segmenter = nuclei.Segmenter.load(folder)
    warnings.filterwarnings("ignore", "the median nucleus")  # unusual sizes are the question here
    data = nuclei.load_samples("dsb2018")
    samples = third_of_validation(segmenter, data)[: int(images) if images else None]
    scores: dict[str, dict[str, float]] = {}
    for name, group in changed(samples).items():
        scores[name] = {}
        for s in tqdm(group, name, unit="image"):
            labels = segmenter.unbiased(segmenter.predict_maps(s.image), s.id).labels
            scores[name][s.id] = metrics.image_score(metrics.match(s.labels, labels))
    report = {}
    for name, each in scores.items():
        if not each:  # no image is small enough for this size
            continue
        clean, score = np.mean([scores["none"][id] for id in each]), np.mean(list(each.values()))
        report[name] = {
            "images": len(each),
            "score": round(float(score), 4),
            "ratio": round(score / clean, 3),
        }
    about = {"model": folder, "images": len(samples), "seed": SEED, "data": nuclei.describe(data)}
    ratios = {name: each["ratio"] for name, each in report.items() if name != "none"}
    means = {
        "mean_ratio": np.mean([ratio for name, ratio in ratios.items() if name in CHANGES]),
        "mean_ratio_with_sizes": np.mean(list(ratios.values())),
    }
    file = Path(__file__).with_suffix(".json")
    found = {name: round(float(mean), 3) for name, mean in means.items()}
    found |= {"changes": report, "sample_sizes": sample_sizes(segmenter), "versions": nuclei.versions()}
    nuclei.write_json(file, about | found)
    save(chart(report), nuclei.ROOT / "plot" / "robustness.png")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
