"""The command line: reads the words, calls the library, prints what came out."""

import argparse
import os
import sys
import warnings

# Only light modules are imported here: --help should not wait for TensorFlow.

MODEL = "saved_model/baseline"

ROWS = {
    "ap": "AP",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "panoptic_quality": "panoptic quality",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, 2 after bad usage or input, 130 after Ctrl-C."""
    # read when TensorFlow is imported; at 2 it would still call a missing GPU an error
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            arguments.run(arguments)
    except KeyboardInterrupt:
        print("nuclei: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"nuclei: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    """Bad usage is told as any other error is."""

    def error(self, message):
        raise ValueError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nuclei", description="Find cell nuclei in microscope images.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
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
        help="solution CSV, folder or zip with <id>/masks/*.png (may be IMAGES), or folder of label images "
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
    return parser


def _score(arguments: argparse.Namespace) -> None:
    from nuclei.scoring import score

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
    print(f"nuclei: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(message) -> str:
    return " ".join(str(message).split())
