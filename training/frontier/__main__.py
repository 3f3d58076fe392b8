"""Dice against cost on a data set: ``python -m training.frontier STUDY --data D --runs R --out O``.

STUDY is a TOML file that lists single models and two-stage models. O receives tables as Markdown
and CSV, and the figure. Measurements are cached beside the runs.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.models.backends.torch_backend import tune_allocator
from training.frontier.report import (
    draw,
    make_headline,
    make_set_table,
    make_table,
    measure_seconds,
)
from training.frontier.study import load_study
from training.frontier.study_results import collect
from training.model_options import add_study_options
from training.parallel_training import train_all

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Train missing runs if asked to, measure, write; returns 2 for errors the user can correct."""
    parser = argparse.ArgumentParser(prog="python -m training.frontier", description=__doc__)
    add_study_options(parser)
    parser.add_argument("--rounds", type=int, default=5, help="of timing; 0 for none")
    parser.add_argument("--timing-images", type=int, default=12)
    options = parser.parse_args(arguments)
    tune_allocator()
    try:
        study = load_study(options.study)
        if options.train:
            train_all(study.all_trials(options.data, options.runs), options.device, options.jobs)
        results = collect(study, options.data, options.runs)
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if study.dense in results.missing:
        sys.stderr.write(
            f"expected finished runs of '{study.dense}' in {options.runs}, found none or not all; "
            "add --train\n"
        )
        return 2
    seconds = (
        measure_seconds(results, options.timing_images, options.rounds) if options.rounds else {}
    )
    for table in (make_set_table(results), make_table(results, seconds), make_headline(results)):
        table.write(options.out)
        sys.stdout.write(f"{table.to_markdown()}\n")
    draw(results, options.out / f"frontier_{study.name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
