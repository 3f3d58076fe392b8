"""The command line: ``napari-twostage VERB``.

Results on stdout, as lines or with ``--json`` as one JSON object; progress and errors on stderr.
Exit codes: 0 done; 1 something failed or is missing: tiles, slides, a part of a run, disk space,
memory, or the program itself; 2 bad input; 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from napari_twostage.cli.arguments import focal_plane, intensity, pixel_size, place, region
from napari_twostage.cli.console import write_result
from napari_twostage.cli.failures import FAILED, STOPPED, collected_messages, report
from napari_twostage.cli.interrupts import exit_if_interrupted, stopped_line
from napari_twostage.errors import StorageError
from napari_twostage.slides import formats
from napari_twostage.utils.timing import ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_twostage.cli.commands import VerbOutput


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    with collected_messages(debug=options.debug) as messages:
        try:
            summary, text, code = _verb_functions()[options.verb](options)
        except KeyboardInterrupt:
            exit_if_interrupted()
            sys.stderr.write(f"\n{stopped_line(given)}\n")
            return STOPPED
        except Exception as error:  # noqa: BLE001 - the last resort
            exit_if_interrupted()
            return report(error, given, messages, debug=options.debug)
    try:
        write_result(json.dumps(summary) + "\n" if options.json else "\n".join(text) + "\n")
    except StorageError as error:
        sys.stderr.write(f"napari-twostage: {error}\n")
        return FAILED
    return code


def _verb_functions() -> dict[str, Callable[[argparse.Namespace], VerbOutput]]:
    from napari_twostage.cli import advising, bench, commands, importing, training_verbs

    return {
        "demo": commands.demo,
        "info": commands.info,
        "segment": commands.segment,
        "refine": commands.refine,
        "export": commands.write,
        "batch": commands.batch,
        "view": commands.view,
        "models": commands.models,
        "advise": advising.advise_on,
        "bench": bench.bench,
        "import": importing.import_network,
        "train": training_verbs.train,
        "calibrate": training_verbs.calibrate,
        "convert": training_verbs.convert,
        "quantise": training_verbs.quantise,
        "precision": training_verbs.precision,
    }


class _Parser(argparse.ArgumentParser):
    """A parser that refuses a command line in one line; those of the verbs are of its kind."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the options are listed, and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help lists what there is\n")


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="napari-twostage",
        description="Segment whole slides: coarse everywhere, full resolution where it matters.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in (
        _add_demo,
        _add_info,
        _add_segment,
        _add_refine,
        _add_export,
        _add_batch,
        _add_view,
        _add_models,
        _add_advise,
        _add_bench,
        _add_import,
        _add_training,
    ):
        add(verbs)
    return parser


Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def _add_demo(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "demo", "segment the sample slide and draw an overview")
    verb.add_argument("--out", type=Path, help="folder for the result (default: demo)")
    _model_options(verb)
    _criteria(verb)
    _run_options(verb)


def _add_info(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "info", "describe a slide, a result, or (without PATH) this machine")
    verb.add_argument("path", type=place, nargs="?", help="slide or result: path or URL")
    verb.add_argument(
        "--check", action="store_true", help="verify a result: what is whole, damaged or lost"
    )
    verb.add_argument("--repair", action="store_true", help="and restore what can be")
    _slide_options(verb)


def _add_segment(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "segment", "segment a slide; again to go on after a stop")
    verb.add_argument("slide", type=place, help=f"path or URL: {formats.described()}")
    verb.add_argument("--out", type=place, required=True, help="result folder, *.zarr")
    _model_options(verb)
    _criteria(verb)
    _run_options(verb)
    _slide_options(verb)
    _region(verb, "segment only this part")
    _cluster_options(verb)


def _add_refine(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "refine", "refine more of a result")
    verb.add_argument("result", type=place)
    _moved_slide(verb)
    _device(verb)
    _criteria(verb)
    _region(verb, "only tiles that touch this part; alone: all of them")
    verb.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    _take_over(verb)
    _cluster_options(verb)


def _add_export(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "export", "write a result to files, by their endings")
    verb.add_argument("result", type=place)
    verb.add_argument(
        "targets",
        type=place,
        nargs="+",
        metavar="FILE",
        help="*.geojson[.gz], *.parquet, *.h5ad, *.ome.zarr, *.ome.tif, *areas.csv, *objects.csv, "
        "*density.tif, *density.png, *.png",
    )
    verb.add_argument(
        "--no-crop",
        dest="crop",
        action="store_false",
        help="GeoJSON from the slide's corner, where QuPath would crop to the scanned area",
    )
    verb.add_argument(
        "--measure",
        choices=("shape", "all"),
        help="of objects; shape reads no pixel of the slide (default: all)",
    )
    verb.add_argument(
        "--cell", type=float, metavar="UM", help="side of a density map's cells (default: 64)"
    )
    _moved_slide(verb)
    _least_area(verb)


def _add_batch(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "batch", "segment many slides with one model")
    verb.add_argument("slides", type=place, nargs="+", metavar="SLIDE")
    verb.add_argument("--out", type=place, required=True, help="folder for results and summary.csv")
    _model_options(verb)
    _criteria(verb)
    _run_options(verb)
    _slide_options(verb)
    _cluster_options(verb)


def _add_view(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "view", "open napari with the panel")
    verb.add_argument("paths", type=place, nargs="*", metavar="PATH", help="slides or results")


def _add_models(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "models", "list the bundled models, or show a model's card")
    verb.add_argument("model", nargs="?", help="name, folder or zip")


def _add_advise(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "advise", "say what full resolution would change, and what to run")
    verb.add_argument("slide", type=place, help=f"path or URL: {formats.described()}")
    verb.add_argument("--windows", type=int, help="places to look at (default 8)")
    verb.add_argument(
        "--tolerance",
        type=float,
        metavar="DICE",
        help="Dice that may be lost against refining every tile (default 0.005)",
    )
    _model_options(verb)
    _tissue_options(verb)
    _slide_options(verb)


def _add_bench(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "bench", "time two stages against every tile, on this machine")
    verb.add_argument("slide", type=place, nargs="?", help="default: the sample slide")
    verb.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each (default 5)")
    verb.add_argument("--fraction", type=float, default=0.1, help="tiles to refine (default 0.1)")
    _model_options(verb)


def _add_import(verbs: Verbs[argparse.ArgumentParser]) -> None:
    from napari_twostage.cli.importing import add_import_options

    add_import_options(_verb(verbs, "import", "make a model of a network that others trained"))


def _add_training(verbs: Verbs[argparse.ArgumentParser]) -> None:
    from napari_twostage.cli import training_verbs as training

    training.add_train_options(_verb(verbs, "train", "train a model; again to go on after a stop"))
    training.add_calibrate_options(
        _verb(verbs, "calibrate", "put the looks of its training images into a model's card")
    )
    training.add_convert_options(_verb(verbs, "convert", "let OpenVINO run a model without torch"))
    training.add_quantise_options(_verb(verbs, "quantise", "add 8-bit integers to a model"))
    training.add_precision_options(_verb(verbs, "precision", "compare devices and precisions"))


def _verb(
    verbs: Verbs[argparse.ArgumentParser], name: str, purpose: str
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=purpose, description=purpose)
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    verb.add_argument("--quiet", action="store_true", help="show no progress")
    verb.add_argument(
        "--debug", action="store_true", help="show tracebacks and messages of libraries"
    )
    return verb


def _model_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", default="nuclei", help="bundled name, folder or zip")
    _device(verb)


def _device(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--device", default="auto", help="auto, cpu (torch), openvino, cuda, mps (default: auto)"
    )
    verb.add_argument(
        "--precision",
        default="auto",
        help="auto (the fastest that costs next to no Dice), f32, or where the device has it bf16, "
        "fp16, int8 (default: auto)",
    )


def _criteria(verb: argparse.ArgumentParser) -> None:
    criteria = verb.add_mutually_exclusive_group()
    criteria.add_argument("--threshold", type=float, help="refine tiles that score above it")
    criteria.add_argument("--fraction", type=float, help="refine the top share of tiles, 0 to 1")
    criteria.add_argument("--budget", type=float, metavar="S", help="refine for about S seconds")


def _run_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--refine", choices=["selected", "none", "all"], default="selected")
    verb.add_argument("--uncertainty", choices=["tent", "entropy", "neg_plogp", "gain"])
    _tissue_options(verb)
    _least_area(verb)
    verb.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    _take_over(verb)


def _tissue_options(verb: argparse.ArgumentParser) -> None:
    tissue = verb.add_mutually_exclusive_group()
    tissue.add_argument(
        "--tissue",
        action="store_true",
        default=None,
        help="look for tissue in a dark field, too; dim cells may be lost",
    )
    tissue.add_argument(
        "--no-tissue",
        dest="tissue",
        action="store_false",
        default=None,
        help="segment glass as well",
    )


def _least_area(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--least-area",
        type=float,
        metavar="UM2",
        help="count and export only objects of this area in µm² (default: the model's; 0: all)",
    )


def _take_over(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--take-over",
        action="store_true",
        help="write a result that a process of another machine left locked and that is gone",
    )


def _cluster_options(verb: argparse.ArgumentParser) -> None:
    cluster = verb.add_mutually_exclusive_group()
    cluster.add_argument(
        "--scheduler", metavar="ADDRESS", help="compute on this dask cluster: tcp://host:8786"
    )
    cluster.add_argument(
        "--workers", type=int, metavar="N", help="compute in N processes of this machine"
    )


def _slide_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--mpp", type=pixel_size, help="µm per pixel: 0.5, or 0.5,0.25 for y,x")
    verb.add_argument("--scene", help="number or name of a scan in a file with several")
    verb.add_argument("--channel", help="number or name of a channel; rgb for three colour planes")
    verb.add_argument("--z", type=focal_plane, help="focal plane of a stack: a number, or max")
    verb.add_argument("--t", type=int, help="time point of a series")
    verb.add_argument(
        "--intensity",
        type=intensity,
        metavar="LOW,HIGH",
        help="pixel values shown as black and white, for more than 8 bits",
    )


def _moved_slide(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--slide", type=place, help="the slide, if it is neither beside the result nor where it was"
    )


def _region(verb: argparse.ArgumentParser, purpose: str) -> None:
    verb.add_argument(
        "--region",
        type=region,
        metavar="Y,X,H,W|FILE",
        help=f"{purpose}: a box in level-0 pixels, or a *.geojson file of annotations",
    )


if __name__ == "__main__":
    sys.exit(main())
