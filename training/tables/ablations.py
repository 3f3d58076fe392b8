"""Table 4: ablations of the proposal, on DeepLabV3."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.training.evaluation.table import NOTHING, Table, percent
from training.tables.comparison import THRESHOLDS
from training.tables.printed import read_printed
from training.tables.runs import DataSetRuns, Run, RunError
from training.tables.scores import name_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.tables.comparison import Comparison
    from training.tables.scores import Score

PARTS = {
    "tiles": ("tiles4", "proposal", "tiles64", "tiles256"),
    "sampling": ("random", "proposal", "highest"),
    "threshold": ("proposal",) * len(THRESHOLDS),
    "features": ("no_transfer", "no_context", "proposal"),
}
"""The variant of each of the paper's columns."""

CAPTIONS = {
    "tiles": "Tiles per image; the paper prints 256 as 128.",
    "sampling": "How the tiles that stage 2 is trained on are drawn.",
    "threshold": "Tiles above it are refined; all of them at 0.",
    "features": "Stage 2 not started from stage 1; stage 2 without stage 1's features; with both.",
}


class Cell(NamedTuple):
    """Source of one cell: a run at a threshold."""

    run: Run | None
    """None if it is not finished."""
    threshold: float


def make_table4(comparison: Comparison) -> list[Table]:
    """Read or measure all finished runs: one table per ablation.

    Raises
    ------
    RunError
        If a configuration is not the one that ablations start from.
    """
    architecture, *others = comparison.architectures
    if others:
        raise RunError(
            f"table 4 is of one architecture, found {len(others) + 1}; add --architectures NAME"
        )
    for data_set in comparison.data_sets:
        _check(data_set, architecture)
    return [_make_part(comparison, architecture, part) for part in PARTS]


def _check(data_set: DataSetRuns, architecture: str) -> None:
    config = data_set.find(architecture, "proposal").config
    network = config.network
    found = (network.ratio, config.tiles.selection, network.transfer, network.context)
    if found != (4, "weighted", True, True):
        raise RunError(
            f"{data_set.config}: ablations start from ratio 4, selection weighted, transfer and "
            f"context on; found {found}"
        )


def _make_part(comparison: Comparison, architecture: str, part: str) -> Table:
    paper = read_printed("table4")[part]
    thresholds = THRESHOLDS if part == "threshold" else (comparison.threshold,) * len(PARTS[part])
    found: dict[str, list[Cell]] = {}
    for data_set in comparison.data_sets:
        runs = comparison.gather(data_set, architecture, dict.fromkeys(PARTS[part]))
        found[data_set.name] = [
            Cell(runs.get(variant), threshold)
            for variant, threshold in zip(PARTS[part], thresholds, strict=True)
        ]
    finished = [cell.run for cells in found.values() for cell in cells if cell.run is not None]
    caption = f"{CAPTIONS[part]} {comparison.describe(finished)}"
    columns = paper["columns"]
    table = Table(f"table4_{part}", ("data set", "figure", *columns), caption)
    for name, cells in found.items():
        scores = [
            None if run is None else comparison.measure(run)[name_threshold(threshold)]
            for run, threshold in cells
        ]
        figures: dict[str, list[str]] = {
            "Dice (%)": _format(scores, lambda score: percent(float(np.mean(score.dice)))),
            "Dice (%), paper": [f"{value:.1f}" for value in paper.get(name, [])],
            "tiles refined (%)": _format(scores, lambda score: percent(score.refined)),
            "MACs / baseline": _format(scores, lambda score: f"{score.cost:.3f}"),
        }
        for figure, row in figures.items():
            if row:
                table.add(
                    {"data set": name, "figure": figure, **dict(zip(columns, row, strict=True))}
                )
    return table


def _format(scores: Sequence[Score | None], figure: Callable[[Score], str]) -> list[str]:
    return [NOTHING if score is None else figure(score) for score in scores]
