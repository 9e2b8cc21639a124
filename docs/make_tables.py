"""Fill the numbers and tables of the Markdown pages from the files that hold them: `make readme`.

A page marks a number by a format string and a table by the name of a function below:

    <!--{metrics[all][score]:.3f}-->0.623<!---->

    <!--table:scores-->
    | image type | images |
    <!---->

`metrics` is plot/metrics.json, `baseline` is plot/baseline/metrics.json, and every other name is that of a
JSON file in benchmarks/ or below it.
"""

import json
import math
import re
from pathlib import Path

import pandas as pd

from nuclei import DEFAULT_MODEL, ROOT
from nuclei.output.formats import DEFAULT, FORMATS

NUMBER = re.compile(r"(<!--(\{[^>]+\})-->).*?(<!---->)")
TABLE = re.compile(r"(<!--table:(\w+)-->\n).*?(<!---->)", re.DOTALL)

RESULTS = {
    "metrics": json.loads((ROOT / "plot" / "metrics.json").read_text()),
    "baseline": json.loads((ROOT / "plot" / "baseline" / "metrics.json").read_text()),
    **{path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "benchmarks").rglob("*.json"))},
}

NAMES = {"dsb2018": "DSB 2018", "sbsst265": "S-BSST265", "aitslab1": "Aitslab"}
NAMES |= {"nuinsseg": "NuInsSeg", "tnbc": "TNBC"}


def pages() -> list[Path]:
    """Return the pages that may hold numbers and tables."""
    return [
        ROOT / "README.md",
        ROOT / "benchmarks" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "saved_model").glob("*/README.md")),
    ]


def filled(text: str) -> str:
    """Return a page's text with its numbers and tables as the result files have them."""
    text = NUMBER.sub(lambda m: m[1] + m[2].format(**RESULTS) + m[3], text)
    return TABLE.sub(lambda m: m[1] + globals()[m[2]]() + "\n" + m[3], text)


def table(header: str | list[str], rows: list[list]) -> str:
    """Return a Markdown table; floats get three decimals. `header` is a list, or names split by commas."""
    names = header.split(", ") if isinstance(header, str) else header
    lines = [names, ["---"] * len(names), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)


def cell(value: str | int | float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


def formats() -> str:
    """The files that `nuclei segment` writes."""
    rows = [
        [f"`{name}`" + " (default)" * (name in DEFAULT), ", ".join(f"`{f}`" for f in each.files), each.about]
        for name, each in FORMATS.items()
    ]
    return table("`--save`, file, content", rows)


def scores() -> str:
    """The default model's scores by image type, by data set if there are several, and over all images."""
    metrics = RESULTS["metrics"]
    sources = metrics.get("by_source", {})
    by_source = {f"data set {name}": each for name, each in sources.items()} if len(sources) > 1 else {}
    found = metrics["by_type"] | by_source | {"**all**": metrics["all"]}
    header = "image type, images, fields, nuclei, score, 95% interval, AP50, AP75"
    rows = [
        [kind, each["images"], each["fields"], each["nuclei"], each["score"]]
        + ["{:.3f}–{:.3f}".format(*each["interval"]), each["ap_50"], each["ap_75"]]
        for kind, each in found.items()
    ]
    return table(header, rows)


def sources() -> str:
    """The default model's scores on each data set, and those of the former one."""
    names = {
        "nuinsseg": "NuInsSeg: H&E, new organs",
        "sbsst265": "S-BSST265: DAPI, tissue and cells",
        "tnbc": "TNBC: H&E, breast cancer",
        "aitslab1": "Aitslab: Hoechst, U2OS cells",
    }
    new, former = (RESULTS["sources"]["models"][name] for name in (DEFAULT_MODEL, "saved_model/dsb2018"))
    rows = [
        [names[source], side, each["images"], each["nuclei"], each["score"], each["ap_50"]]
        + [f"{each['area_ratio']:.2f}", former[side][source]["score"]]
        for side in ("test", "validation")
        for source, each in new[side].items()
        if source != "dsb2018"  # has its own table
    ]
    return table("data set, use, images, nuclei, score, AP50, area, former model", rows)


def robustness() -> str:
    """What changes of the images cost the default model."""
    rows = [
        [name, each["images"], each["score"], f"{each['ratio']:.2f}"]
        for name, each in RESULTS["robustness"]["changes"].items()
    ]
    return table("change, images, score, ratio to unchanged", rows)


def sample_sizes() -> str:
    """The AP50 of the sample's real field at other sizes."""
    sizes = RESULTS["robustness"]["sample_sizes"]
    return table(["size", *sizes], [["AP50", *sizes.values()]])


def by_use() -> str:
    """The default model's scores on training, validation and test images of each data set."""
    sides = RESULTS["sources"]["models"][DEFAULT_MODEL]
    names = ("score", "panoptic_quality", "thresholds", "calibration_error")
    rows = [
        [NAMES[source], side, each["images"], *(each[name] for name in names)]
        for source in NAMES
        for side in ("train", "validation", "test")
        if (each := sides[side].get(source))
    ]
    return table("data set, use, images, score, panoptic quality, thresholds, calibration error", rows)


def specimens() -> str:
    """The default model's scores on unseen images by organ or tissue."""
    groups = RESULTS["sources"]["models"][DEFAULT_MODEL]["specimen"]
    named = {f"{NAMES[name.split(':')[0]]}:{name.split(':')[1]}": each for name, each in groups.items()}
    return table("organ or tissue, images, nuclei, score, AP50", [_short(*item) for item in named.items()])


def sizes() -> str:
    """The default model's scores on unseen images by the diameter of their median nucleus."""
    groups = RESULTS["sources"]["models"][DEFAULT_MODEL]["size"]
    least = {name: 0 if "under" in name else int(name.split()[0]) for name in groups}
    rows = [_short(name, groups[name]) for name in sorted(groups, key=lambda name: least[name])]
    return table("median diameter in pixels, images, nuclei, score, AP50", rows)


def _short(name: str, measures: dict) -> list:
    return [name, *(measures[key] for key in ("images", "nuclei", "score", "ap_50"))]


def ranking() -> str:
    """Scores of validation images with candidates ranked by other features."""
    columns = (*NAMES, "all", "changed")
    found = RESULTS["ranking"]["features"]
    rows = [[name, *(each[column] for column in columns)] for name, each in found.items()]
    return table(["IoU network", *NAMES.values(), "all", "all, changed"], rows)


def members() -> str:
    """Scores of validation images with candidates rated by some members of the IoU network."""
    found = RESULTS["members"]
    rows = {f"member {k} alone": each for k, each in enumerate(found["alone"], start=1)}
    rows |= {f"mean of the first {count}": each for count, each in found["mean of the first"].items()}
    columns = (*NAMES, "all")
    cells = [
        [name, *(each["unchanged"][column] for column in columns), each["changed"]["all"]]
        for name, each in rows.items()
    ]
    return table(["rated by", *NAMES.values(), "all", "all, changed"], cells)


def strange_shares() -> str:
    """The share of the images of each data set that are called unlike the training images."""
    found = RESULTS["strangeness"]
    sides = found["shares"] | {"validation, data set not known": found["left_out"]}
    rows = [
        [NAMES[source], *(f"{side[source]:.0%}" if source in side else "" for side in sides.values())]
        for source in NAMES
    ]
    return table(["data set", *sides], rows)


def strange_pictures() -> str:
    """What the default model says of pictures of other things."""
    rows = []
    for name, each in RESULTS["strangeness"]["pictures"].items():
        confidence = f"{each['confidence']:.2f}" if each["nuclei"] else ""
        rows.append([name.replace("_", " "), each["nuclei"], confidence, f"{each['strangeness']:.1f}"])
    return table("picture, nuclei, mean confidence, strangeness", rows)


def compared() -> str:
    """Other methods on the same images."""
    names = {
        "Otsu and watershed": "Otsu's threshold and a watershed",
        "its maps, by thresholds": "its maps, thresholds instead of candidates",
        "its foreground alone": "its foreground map alone, thresholds",
        "this model, on the same": "this model, images outside both training sets",
        "saved_model/baseline": "published baseline, the same images",
    }
    peer = RESULTS["stardist"]
    peer_name = f"StarDist, trained {peer['minutes']:.0f} minutes"
    rows = [
        [names.get(name, name), each["images"], each["score"], each["ap_50"], each["ap_75"]]
        for name, each in (RESULTS["metrics"]["compared"] | {peer_name: peer}).items()
    ]
    return table("method, images, score, AP50, AP75", rows)


def weaknesses() -> str:
    """The image types, sizes and mistakes that cost the default model most."""
    metrics, whole = RESULTS["metrics"], RESULTS["metrics"]["all"]
    types = {kind: each["score"] for kind, each in metrics["by_type"].items() if not kind.startswith("all ")}
    worst = " and ".join(f"{kind} ({types[kind]:.3f})" for kind in sorted(types, key=types.get)[:2])
    smallest = metrics["by_size"][0]
    diameter = 2 * math.sqrt(smallest["area_below"] / math.pi)  # of a circle
    return (
        f"* **Image types**: lowest scores for {worst}.\n"
        f"* **Small nuclei**: {smallest['recall']:.0%} of those under {diameter:.0f} pixels wide are found.\n"
        f"* **Touching nuclei**: {whole['merges']:,} of {whole['predicted_nuclei']:,} predicted nuclei cover "
        "two or more true ones."
    )


def cards() -> str:
    """The cards of the models that are shipped."""
    folders = sorted((ROOT / "saved_model").glob("*/README.md"))
    return " · ".join(f"[{path.parent.name}]({path.relative_to(ROOT).as_posix()})" for path in folders)


def leak() -> str:
    """The baseline's recipe under a random and a grouped split."""
    names = {"random": "random images", "grouped": "whole fields of view"}
    rows = [
        [names[split], each["validation_images"], f"{each['with_sibling_in_training']:.0%}"]
        + [f"{each['val_accuracy']:.5f}", each["val_score"]]
        for split, each in RESULTS["leak_audit"].items()
    ]
    return table("split by, validation images, with a neighbour in training, pixel accuracy, score", rows)


def audit() -> str:
    found = RESULTS["audit"]["precision_of_first"]
    return table([f"first {n} rows" for n in found], [[f"{share:.0%}" for share in found.values()]])


def ablations() -> str:
    return table(
        "variant, score", [[name, run["val_score"]] for name, run in RESULTS["ablations"]["runs"].items()]
    )


def scales() -> str:
    """Scores at the scales in use and at others, by the size of nuclei."""
    rows = []
    for each in RESULTS["scales"]["ranges"]:
        low, high = each["pixels"]
        heading = [f"{low:g} to {high:g}", each["images"]]
        for name, found in each["scales"].items():
            change, error, unchanged = found["gain"], found["error"], found["gain_unchanged"]
            gains = [f"{change:+.3f} ± {error:.3f}", "" if unchanged is None else f"{unchanged:+.3f}"]
            rows.append([*heading, name, found["score"], *(["in use", ""] if heading[0] else gains)])
            heading = ["", ""]
    return table("nuclei in pixels, images, scales, score, gain, gain on unchanged images", rows)


def candidates() -> str:
    found = RESULTS["candidates"]["types"]
    columns = next(iter(found.values()))
    return table(["image type", *columns], [[kind, *each.values()] for kind, each in found.items()])


def strangers() -> str:
    """Scores on each data set, after short trainings that differ in one part."""
    rows = []
    for name, run in RESULTS["strangers"]["runs"].items():
        scores = [f"{run['scores'][source]:.3f}" for source in NAMES]
        if (left_out := run.get("left_out")) in NAMES:
            scores[list(NAMES).index(left_out)] += " (left out)"
        rows.append([name, *scores, f"{run['scores']['changed']:.2f}"])
    return table(["training", *NAMES.values(), "changed images"], rows)


def left_out() -> str:
    """Scores on a data set that short trainings left out: means over the seeds, by augmentation."""
    names = {"none": "the start", "flip": "flips alone", "strong": "strong augmentation"}
    runs = pd.DataFrame(RESULTS["left_out"]["runs"]).fillna({"augment": "none"})
    means = runs.groupby(["left_out", "augment"])[["score", "changed"]].mean()
    columns = {(of, key): name for of in ("score", "changed") for key, name in names.items()}
    rows = [
        [NAMES[source], *(float(means.loc[(source, key), of]) for of, key in columns)]
        for source in runs["left_out"].unique()
    ]
    header = [f"changed images: {name}" if of == "changed" else name for (of, _), name in columns.items()]
    return table(["data set left out", *header], rows)


def savings() -> str:
    """Scores and passes of the network with each saving of time undone."""
    names = {"none": "all savings, as shipped"}
    undone = RESULTS["savings"]["undone"].items()
    rows = [
        [names.get(name, name), each["score"], each["changed"], f"{each['passes']:.2f}"]
        for name, each in undone
    ]
    return table("undone, score, changed images, passes", rows)


def unknown_type() -> str:
    names = {
        "flip": "no colour jitter",
        "colour_jitter_half": "colour jitter on half of the crops",
        "colour_jitter": "colour jitter on all crops",
        "fine-tuned": "the same, fine-tuned on images of the type",
    }
    models = RESULTS["unknown_type"]["models"]
    rows = [
        [name, models[key]["validation"], models[key]["score"], models[key]["thresholds"]]
        for key, name in names.items()
    ]
    return table("training, own validation images, the held-out type, the same with thresholds", rows)


def speed() -> str:
    """What was run in turn, and how many times faster the first is, by the median of the rounds."""
    found = RESULTS["speed"]
    images = f"{found['processes']['images']} images, whole processes"
    compared = {
        images: ("processes", "segment", "plain", "`nuclei segment`", "a plain loop"),
        "the same, in 32 bits": ("processes", "exact", "plain", "`nuclei segment`", "a plain loop"),
        "one small image, whole process": ("startup", "openvino", "tensorflow", "OpenVINO", "TensorFlow"),
        "a batch for training": ("training", "drawing_a_batch", "step", "drawing it", "a step on it"),
    }
    rows = []
    for what, (part, first, second, *names) in compared.items():
        seconds = found[part]["seconds"]
        ratio = dict.fromkeys(seconds, 1) | found[part]["ratio"]  # to the first, which has none
        rows.append([what, *names, seconds[first], seconds[second], f"{ratio[second] / ratio[first]:.2f}"])
    return table("what, A, B, seconds of A, seconds of B, B / A", rows)


def engines() -> str:
    """Megapixels a second of the network, by side of the image and by what runs it."""
    names = {
        "openvino": "OpenVINO",
        "openvino, 32 bits": "OpenVINO in 32 bits",
        "tensorflow": "TensorFlow",
        "keras predict": "Keras' `predict`",
        "stardist": "StarDist's network",
    }
    rows = []
    for side, each in RESULTS["speed_intel"]["network"].items():
        rates = each["megapixels_per_second"]
        rows.append([f"{side} × {side}", *(f"{rates[name]:.2f}" for name in names)])
    return table(["pixels", *names.values()], rows)


def memory() -> str:
    """Seconds and peak memory of large images."""
    rows = [
        [
            megapixels,
            f"{each['seconds']:.0f}",
            f"{float(megapixels) / each['seconds']:.2f}",
            f"{each['gb']:.2f}",
        ]
        for megapixels, each in RESULTS["speed"]["memory"].items()
    ]
    return table("megapixels, seconds, megapixels a second, GB of memory", rows)


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page.read_text()))
