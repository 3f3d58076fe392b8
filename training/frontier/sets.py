"""Where two stages pay, over all sets: ``python -m training.frontier.sets TABLE.csv FIGURE.png``.

TABLE has a row for each study, from its own tables: ``set``, ``headroom`` (points of Dice, dense
less half of its resolution), ``sparsity`` (percent of the tiles that hold foreground), ``lead``
(largest lead of two stages over single models of the same cost, in points), and its interval
``low`` and ``high``, which may be empty.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class SetRow:
    """A study's summary, in points of Dice and percent of tiles."""

    name: str
    headroom: float
    sparsity: float
    lead: float
    low: float | None
    high: float | None


def read_rows(path: Path) -> list[SetRow]:
    """Read the table."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            SetRow(
                row["set"],
                *(float(row[key]) for key in ("headroom", "sparsity", "lead")),
                *(float(row[key]) if row[key] else None for key in ("low", "high")),
            )
            for row in csv.DictReader(file)
        ]


def draw_sets(rows: Sequence[SetRow], path: Path) -> None:
    """Draw the lead against the headroom; colours tell sparsity, bars the intervals."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="#555555", linewidth=1)
    middle = np.mean([row.headroom for row in rows])
    for row in rows:
        right = row.headroom <= middle
        if row.low is not None and row.high is not None:
            place = [row.headroom] * 2
            axes.plot(place, [row.low, row.high], color="#888888", linewidth=1.5, zorder=1)
        axes.annotate(
            f"{row.name}, {row.sparsity:g} % of tiles",
            (row.headroom, row.lead),
            xytext=(7 if right else -7, 5),
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize=8,
        )
    points = axes.scatter(
        [row.headroom for row in rows],
        [row.lead for row in rows],
        c=[row.sparsity for row in rows],
        cmap="viridis_r",
        vmin=0,
        vmax=100,
        s=50,
        zorder=2,
        edgecolors="black",
    )
    figure.colorbar(points, label="tiles that hold foreground (%)")
    axes.set(
        xlabel="headroom: Dice of dense less half of its resolution (points)",
        ylabel="largest lead of two stages (points)",
        title="Two stages against single models of the same cost",
    )
    axes.margins(x=0.25, y=0.15)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the table and draw the figure."""
    parser = argparse.ArgumentParser(prog="python -m training.frontier.sets", description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("figure", type=Path)
    options = parser.parse_args(arguments)
    draw_sets(read_rows(options.table), options.figure)


if __name__ == "__main__":
    main()
