"""The command line: parses the arguments, calls the library, prints the outcome."""

import argparse
import io
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from nuclei import __version__
from nuclei.common import DEFAULT_MODEL, counted, quiet, some

PROGRAM = "nuclei"

OPTIONS = "truth out model save channel page pixel_size scale augment overwrite format workers dask".split()
"""The parameters of the library that are options here; its messages have their names in backquotes."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, 1 where images were skipped, 2 after bad usage or input, 130 after Ctrl-C.

    A standard stream that is closed, or whose reader is gone, changes nothing: results are files.
    """
    _open_standard_streams()
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # broken files are reported as other errors are
    with redirect_stdout(_Forgiving(sys.stdout)), redirect_stderr(_Forgiving(sys.stderr)):
        try:
            parsed, unknown = _parser().parse_known_args(argv)  # parse_args would name no command
            parameters = vars(parsed)
            run, command = parameters.pop("run"), parameters.pop("command")
            if unknown:
                raise ValueError(f"unrecognized arguments: {' '.join(unknown)}; see {command} --help")
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning  # type: ignore[assignment]
                return run(parameters) or 0
        except KeyboardInterrupt:
            code, problem = 130, "interrupted"
        except MemoryError:
            code, problem = 2, "error: not enough memory"
        except (OSError, ValueError, ModuleNotFoundError) as error:
            code, problem = 2, f"error: {_for_command_line(error)}"
        except Exception as error:
            traceback.print_exc()
            code, problem = 2, f"error in the program ({type(error).__name__}), see above"
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return code


class _Forgiving:
    """A stream whose reader may go away: from then on, what is written to it is dropped."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())  # or Python fails when it flushes it at exit
        return len(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


class _Parser(argparse.ArgumentParser):
    """Reports bad usage as any other error."""

    def error(self, message):
        raise ValueError(f"{message}; see {self.prog} --help")


def _expecting(expected: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return `convert` with an error that says what is `expected`, instead of naming a type of Python."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}, expected {expected}") from None

    return converted


WHOLE_NUMBER, NUMBER = _expecting("a whole number", int), _expecting("a number", float)
SCALE = _expecting("a number or auto", lambda text: text if text == "auto" else float(text))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Find cell nuclei in microscope images.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(run=lambda _: parser.print_help(), command=parser.prog)
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_segment(commands)
    _add_score(commands)
    _add_export(commands)
    return parser


def _add_command(commands, run: Callable, about: str, **options) -> Callable:
    """Add a command with the options that all have, and return what adds an argument to it."""
    command = commands.add_parser(
        run.__name__.removeprefix("_"),
        help=about[0].lower() + about[1:].partition(".")[0],
        description=about,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=20, width=90),
        **options,
    )
    command.set_defaults(run=run, command=command.prog)
    add = command.add_argument
    add("--model", default=DEFAULT_MODEL, metavar="FOLDER", help="trained model (default: %(default)s)")
    if run is not _export:
        add("--channel", type=WHOLE_NUMBER, metavar="N", help="the channel that shows the nuclei, from 0")
        add("--page", type=WHOLE_NUMBER, metavar="N", help="the page of a stack, from 0")
    return add


def _add_segment(commands) -> None:
    from nuclei.output.formats import DEFAULT, FORMATS

    add = _add_command(
        commands,
        _segment,
        "Find the nuclei in images and write them to files. The same command resumes a run.",
        usage="nuclei segment IMAGES... --out DIR [options]",
        epilog="FORMATS, separated by commas, or all:\n"
        + "\n".join(f"  {name:<14}{each.about}" for name, each in FORMATS.items())
        + "\n\nexamples:\n"
        "  nuclei segment data/sample --out runs/sample --save all\n"
        "  nuclei segment 'plates/*/*.tif' --out runs/plates --channel 0 --pixel-size 0.325\n"
        "  nuclei segment tissue.png --out runs/tissue --scale 2 --save labels,geojson",
    )
    add("images", nargs="+", metavar="IMAGES", help="image files, folders, patterns or addresses")
    add("--out", required=True, metavar="DIR", help="folder for the results")
    add("--save", default=",".join(DEFAULT), metavar="FORMATS", help="see below (default: %(default)s)")
    add("--pixel-size", type=NUMBER, metavar="UM", help="micrometres, in place of the file's own value")
    about = "rescale images by F; 2 enlarges; auto: by the size of nuclei (default: %(default)s)"
    add("--scale", type=SCALE, default="auto", metavar="F", help=about)
    add("--augment", action="store_true", help="average over mirrored images: four times the work")
    add("--overwrite", action="store_true", help="delete earlier results first, also corrected ones")
    add("--workers", type=WHOLE_NUMBER, metavar="N", help="processes that work at the same time")
    add("--dask", metavar="ADDRESS", help="address of a Dask scheduler, see docs/cluster.md")


def _add_score(commands) -> None:
    add = _add_command(
        commands,
        _score,
        "Score a model on images with labelled nuclei.",
        epilog="examples:\n"
        "  nuclei score data/sample --truth data/sample --out runs/score\n"
        "  nuclei score stage1_test --truth stage1_solution.csv --out runs/stage1\n"
        "  nuclei score photos --truth label_images --model runs/mine/model --out runs/mine",
    )
    add("images", metavar="IMAGES", help="folder of images, or folder or zip with <id>/images/<id>.png")
    about = "IMAGES again, if labels lie beside them; Kaggle's solution CSV; or label images of equal names"
    add("--truth", required=True, metavar="FOLDER_OR_CSV", help=about)
    add("--out", required=True, metavar="DIR", help="folder for scores.json and labels/<id>.tif")
    add("--audit", action="store_true", help="list where the truth is probably wrong, in audit.csv")


def _add_export(commands) -> None:
    add = _add_command(
        commands,
        _export,
        "Write a model for other programs. ONNX or SavedModel: images in, probability maps out.",
        epilog="example: nuclei export --format onnx --out nuclei.onnx",
    )
    add("--format", required=True, choices=("onnx", "savedmodel"))
    add("--out", required=True, metavar="PATH", help="file (onnx) or folder (savedmodel)")


def _segment(parameters: dict) -> int:
    from nuclei.output.formats import chosen_formats
    from nuclei.workflows.segment import segment

    report = segment(**parameters)
    earlier = f" ({len(report.earlier):,} more complete before)" if report.earlier else ""
    found = counted(sum(report.segmented.values()), "nucleus")
    print(f"{counted(len(report.segmented), 'image')}{earlier}, {found} found.")
    if report.segmented or report.earlier:
        print(f"Results are in {parameters['out']}/.")
    tables = "measurements" in chosen_formats(parameters["save"])
    if tables and report.others:
        others = f"{counted(len(report.others), 'image')} of earlier runs ({some(report.others)})"
        print(f"The tables also hold {others}.")
    if report.warned:
        images = counted(len(report.segmented) + len(report.earlier), "image")
        hint = "see the column warning in summary.csv" if tables else "check by eye"
        which = f"{len(report.warned):,} of {images} ({some(report.warned)})"
        print(f"{PROGRAM}: nuclei to be checked in {which}: {hint}", file=sys.stderr)
    if report.skipped:
        names = ", ".join(report.skipped)
        print(f"{PROGRAM}: {counted(len(report.skipped), 'image')} skipped: {names}", file=sys.stderr)
    return int(bool(report.skipped))


def _export(parameters: dict) -> None:
    with quiet():
        from nuclei.workflows.export import export

    difference = export(**parameters)
    print(f"{parameters['out']}: its maps differ from Keras' by at most {difference:.1g} on a test image.")


def _score(parameters: dict) -> None:
    from nuclei.output.tables import read_rows
    from nuclei.workflows.score import score

    report = score(**parameters)
    print(_table(report))
    out = parameters["out"]
    print(f"\nScores are in {out}/scores.json, label images in {out}/labels/.")
    if parameters["audit"] and any(read_rows(Path(out).expanduser() / "audit.csv")):
        print(f"Labels that are probably wrong are listed in {out}/audit.csv.")


def _table(report: dict) -> str:
    """Write the scores of all images, and of each type where there are several."""
    import pandas as pd

    whole, types = report["all"], report["by_type"]
    ignored = f" ({len(report['ignored'])} more ignored)" if report["ignored"] else ""
    names = ["AP", "F1", "precision", "recall", "panoptic quality"]
    keys = [name.lower().replace(" ", "_") for name in names]
    scores = {f"IoU > 0.{level:g}": [whole[f"{key}_{level}"] for key in keys] for level in (50, 75)}
    lines = [
        f"{counted(whole['images'], 'image')}{ignored}, {counted(whole['nuclei'], 'nucleus')}, "
        f"{whole['predicted_nuclei']:,} predicted",
        f"competition score  {whole['score']:.3f}  (95% interval {_interval(whole)})",
        pd.DataFrame(scores, names).to_string(float_format="%.3f"),
        f"{counted(whole['merges'], 'merge')}, {counted(whole['splits'], 'split')}\n"
        f"pixel accuracy {whole['pixel_accuracy']:.4f}, Dice {whole['dice']:.4f}, IoU {whole['iou']:.4f}",
    ]
    if len(types) > 1:
        columns = ["images", "nuclei", "score", "95% interval", "ap_50", "ap_75", "pixel_accuracy"]
        rows = [each | {"95% interval": _interval(each)} for each in types.values()]
        lines.append(pd.DataFrame(rows, list(types))[columns].to_string(float_format="%.3f"))
    return "\n\n".join(lines)


def _interval(measures: dict) -> str:
    low, high = measures["interval"]
    return f"{low:.3f} to {high:.3f}"


def _open_standard_streams() -> None:
    """Let closed standard streams go nowhere; a file opened later would otherwise get their numbers.

    Characters that a stream cannot show become escapes.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # its number is the lowest that is free, which `open` takes
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else it is a notebook's or a test's
            stream.reconfigure(errors="backslashreplace")


def _print_warning(message, *_) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):  # not into a progress bar
        print(f"{PROGRAM}: warning: {_for_command_line(message)}", file=sys.stderr)


def _for_command_line(message) -> str:
    """Put a message on one line, and call parameters what the command line calls them."""
    line = re.sub(r"\s*\n\s*", " ", str(message).strip()).replace("`images`", "IMAGES")
    option = rf"`({'|'.join(OPTIONS)})`"
    return re.sub(option, lambda match: "--" + match[1].replace("_", "-"), line)
