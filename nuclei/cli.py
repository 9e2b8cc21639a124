"""The command line: reads the words, calls the library, prints what came out."""

import argparse
import logging
import os
import sys
import warnings

MODEL = "saved_model/dsb2018"

ROWS = {
    "ap": "AP",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "panoptic_quality": "panoptic quality",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, 1 if images were skipped, 2 after bad usage or input, 130 after Ctrl-C."""
    # read when TensorFlow is imported; at 2 it would still call a missing GPU an error
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # broken files are told as other errors are
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("nuclei: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"nuclei: error: {_one_line(error)}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """Bad usage is told as any other error is."""

    def error(self, message):
        raise ValueError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nuclei", description="Find cell nuclei in microscope images.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_segment(commands)
    score = commands.add_parser(
        "score",
        help="score a model on images whose nuclei are known",
        description="Score a model on images whose nuclei are known.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  nuclei score data/sample --truth data/sample --out runs/score\n"
        "  nuclei score stage1_test --truth stage1_solution.csv --out runs/stage1\n"
        "  nuclei score photos --truth label_images --model runs/mine/model --out runs/mine",
    )
    score.set_defaults(run=_score)
    score.add_argument(
        "images",
        metavar="IMAGES",
        help="folder of png, jpg or tif files, or folder or zip with <id>/images/<id>.png",
    )
    score.add_argument(
        "--truth",
        required=True,
        metavar="FOLDER_OR_CSV",
        help="IMAGES once more, where the nuclei lie beside them; or solution CSV, or folder of label images "
        "named as the images are",
    )
    score.add_argument(
        "--model",
        default=MODEL,
        metavar="FOLDER",
        help="trained model, from here or from the repository's root (default: %(default)s)",
    )
    score.add_argument(
        "--out", required=True, metavar="DIR", help="folder for scores.json and labels/<id>.tif"
    )
    _add_export(commands)
    return parser


def _add_segment(commands) -> None:
    segment = commands.add_parser(
        "segment",
        help="find the nuclei of any images, and write them to files",
        description="Find the nuclei of images. A call that was stopped goes on where it was.",
        usage="nuclei segment IMAGES... --out DIR [options]",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=20, width=90
        ),
        epilog="examples:\n"
        "  nuclei segment data/sample --out runs/sample --save all\n"
        "  nuclei segment 'plates/*/*.tif' --out runs/plates --channel 0 --pixel-size 0.325\n"
        "  nuclei segment slide.png --out runs/slide --scale 2 --save labels,geojson",
    )
    segment.set_defaults(run=_segment)
    add = segment.add_argument
    add("images", nargs="+", metavar="IMAGES", help="png, jpg or tif files, folders, or patterns")
    add("--out", required=True, metavar="DIR", help="folder for the results")
    add("--model", default=MODEL, metavar="FOLDER", help="trained model (default: %(default)s)")
    add(
        "--save",
        default="labels,measurements,overlay",
        metavar="KINDS",
        help="any of labels,measurements,overlay,geojson,roi,rle or all (default: the first three)",
    )
    add("--channel", type=int, metavar="N", help="the channel that shows the nuclei, from 0")
    add("--page", type=int, metavar="N", help="the page of a stack, from 0")
    add("--pixel-size", type=float, metavar="UM", help="micrometres, in place of what the files tell")
    add(
        "--scale",
        type=scale,
        default="auto",
        metavar="F",
        help="magnify F times first (default: %(default)s)",
    )
    add("--augment", action="store_true", help="average over mirror images, four times the work")
    add("--overwrite", action="store_true", help="delete the results of earlier calls first")


def scale(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _segment(arguments: argparse.Namespace) -> int:
    from nuclei.workflows.segment import segment

    options = {key: value for key, value in vars(arguments).items() if key != "run"}
    report = segment(**options)
    earlier = f" ({len(report.earlier):,} more were complete before)" if report.earlier else ""
    print(f"{len(report.segmented):,} images{earlier}, {sum(report.segmented.values()):,} nuclei found.")
    print(f"Results are in {arguments.out}/.")
    if report.skipped:
        print(f"nuclei: {len(report.skipped)} images skipped: {', '.join(report.skipped)}", file=sys.stderr)
    return int(bool(report.skipped))


def _add_export(commands) -> None:
    export = commands.add_parser(
        "export",
        help="write a model for other programs",
        description="Write a model as ONNX or as a TensorFlow SavedModel: images of any size in, maps out.",
        epilog="example: nuclei export --format onnx --out nuclei.onnx",
    )
    export.set_defaults(run=_export)
    export.add_argument("--format", required=True, choices=("onnx", "savedmodel"))
    export.add_argument("--out", required=True, metavar="PATH", help="file (onnx) or folder (savedmodel)")
    export.add_argument(
        "--model", default=MODEL, metavar="FOLDER", help="trained model (default: %(default)s)"
    )


def _export(arguments: argparse.Namespace) -> None:
    from nuclei.common import quiet

    with quiet():
        from nuclei.workflows.export import export

    difference = export(arguments.model, arguments.out, arguments.format)
    print(
        f"{arguments.out}: its maps differ from Keras' by at most {difference:.1g} on an image of the sample."
    )


def _score(arguments: argparse.Namespace) -> None:
    from nuclei.workflows.score import score

    report = score(arguments.images, arguments.truth, arguments.model, arguments.out)
    print(_table(report))
    print(f"\nScores are in {arguments.out}/scores.json, label images in {arguments.out}/labels/.")


def _table(report: dict) -> str:
    """Write the scores of all images, and of each type where there are several."""
    whole = report["all"]
    ignored = f" ({len(report['ignored'])} more ignored)" if report["ignored"] else ""
    lines = [
        f"{whole['images']:,} images{ignored}, {whole['nuclei']:,} nuclei, "
        f"{whole['predicted_nuclei']:,} predicted",
        "",
        f"competition score  {whole['score']:.3f}  (95% interval {_interval(whole)})",
        "",
        f"{'':<18}{'IoU > 0.5':>12}{'IoU > 0.75':>12}",
        *(
            f"{label:<18}{whole[f'{key}_50']:>12.3f}{whole[f'{key}_75']:>12.3f}"
            for key, label in ROWS.items()
        ),
        "",
        f"{whole['merges']:,} merges, {whole['splits']:,} splits",
        f"pixel accuracy {whole['pixel_accuracy']:.4f}, Dice {whole['dice']:.4f}, IoU {whole['iou']:.4f}",
    ]
    if len(report["by_type"]) > 1:
        columns = ("images", "nuclei", "score", "95% interval", "AP50", "AP75", "accuracy")
        lines += ["", f"{'image type':<24}" + "{:>7}{:>8}{:>7}{:>16}{:>7}{:>7}{:>10}".format(*columns)]
        lines += [
            f"{kind:<24}{each['images']:>7,}{each['nuclei']:>8,}{each['score']:>7.3f}{_interval(each):>16}"
            f"{each['ap_50']:>7.3f}{each['ap_75']:>7.3f}{each['pixel_accuracy']:>10.4f}"
            for kind, each in report["by_type"].items()
        ]
    return "\n".join(lines)


def _interval(measures: dict) -> str:
    low, high = measures["interval"]
    return f"{low:.3f} to {high:.3f}"


def _print_warning(message, *_) -> None:
    from tqdm import tqdm

    tqdm.write(f"nuclei: warning: {_one_line(message)}", file=sys.stderr)  # not into a progress bar


def _one_line(message) -> str:
    return " ".join(str(message).split())
