"""The paper's tables, ours beside the printed figures.

``python -m training.tables 1 --out DIR`` writes Markdown and CSV. Tables 3 and 4 read finished
runs and, with ``--train``, train missing ones. Measurements are cached beside the runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.models.backends.choice import pick_device
from napari_twostage.models.backends.torch_backend import tune_allocator
from training.tables.ablations import make_table4
from training.tables.architectures import make_table3
from training.tables.comparison import Comparison
from training.tables.data_sets import make_table2
from training.tables.inference import UPSAMPLING
from training.tables.operations import make_table1
from training.tables.runs import ARCHITECTURES, DataSetRuns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.training.evaluation.table import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """Make one table, write it, print it."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    tune_allocator()  # before the first large tensor
    try:
        tables = _make(options)
    except TwoStageError as error:
        parser.exit(2, f"{error}\n")
    for table in tables:
        table.write(options.out)
        sys.stdout.write(f"{table.to_markdown()}\n")


def _make(options: argparse.Namespace) -> list[Table]:
    if options.table == "1":
        return [make_table1()]
    if options.table == "2":
        data = [(name, layout, Path(folder)) for name, layout, folder in options.data]
        return [make_table2(data)]
    comparison = Comparison(
        data_sets=[
            DataSetRuns(
                name,
                options.config,
                Path(folder),
                Path(runs),
                (*options.set, f"data.layout={layout}", *changes),
            )
            for name, layout, folder, runs, *changes in options.data
        ],
        architectures=options.architectures,
        threshold=options.threshold,
        upsampling=options.upsampling,
        stray_padding=options.stray_padding,
        images=options.images,
        timing_images=options.timing_images,
        rounds=options.rounds,
        device=str(pick_device(options.device)),
        train=options.train,
        jobs=options.jobs,
    )
    return [make_table3(comparison)] if options.table == "3" else make_table4(comparison)


class _DataSet(argparse.Action):
    """Collect the words after --data: four of them, then any number of changes."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        words = [str(value) for value in values or ()]
        if len(words) < 4 or not all("=" in word for word in words[4:]):
            parser.error(
                f"{option_string} takes NAME LAYOUT FOLDER RUNS [KEY=VALUE ...], found {words}"
            )
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), words])


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.tables", description=__doc__)
    tables = parser.add_subparsers(dest="table", required=True)
    for name, title in (
        ("1", "parameters and operations"),
        ("2", "data sets"),
        ("3", "architectures by data sets"),
        ("4", "ablations"),
    ):
        table = tables.add_parser(name, help=title)
        table.add_argument("--out", type=Path, required=True, help="folder to write to")
        if name == "2":
            table.add_argument(
                "--data", nargs=3, action="append", default=[], metavar=("NAME", "LAYOUT", "FOLDER")
            )
        if name in ("3", "4"):
            _add_comparison(table, list(ARCHITECTURES) if name == "3" else ["deeplabv3"])
    return parser


def _add_comparison(table: argparse.ArgumentParser, architectures: list[str]) -> None:
    table.add_argument("config", type=Path, help="the proposal's configuration")
    table.add_argument(
        "--data",
        nargs="+",
        action=_DataSet,
        required=True,
        metavar=("NAME LAYOUT FOLDER RUNS", "KEY=VALUE"),
        help="a data set as the paper calls it, its folder, that of its runs, and changes of the "
        "configuration for it; repeat for more",
    )
    table.add_argument("--train", action="store_true", help="train what is missing")
    table.add_argument(
        "--jobs", type=int, default=1, help="runs of an architecture to train side by side"
    )
    table.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of the configuration's value, of all runs: data.limit=96",
    )
    table.add_argument(
        "--architectures", nargs="+", choices=list(ARCHITECTURES), default=architectures
    )
    table.add_argument("--threshold", type=float, default=0.25)
    table.add_argument("--upsampling", choices=UPSAMPLING, default="nearest")
    table.add_argument("--stray-padding", action="store_true", help="pool scores off by one pixel")
    table.add_argument("--images", type=int, default=0, help="test images; 0 for all")
    table.add_argument("--timing-images", type=int, default=4)
    table.add_argument("--rounds", type=int, default=3, help="of timing")
    table.add_argument(
        "--device", default="auto", help="to train and measure Dice; seconds are the CPU's"
    )


if __name__ == "__main__":
    main()
