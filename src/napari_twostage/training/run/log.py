"""Log of a run: loss and validation Dice per step, as a table and as a figure."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from napari_twostage.io.files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("stage", "step", "loss", "validation_dice", "seconds")


@dataclass(frozen=True)
class RunLog:
    """``log.csv`` and ``log.png`` in a run's folder."""

    folder: Path

    @property
    def path(self) -> Path:
        """Path of ``log.csv``."""
        return self.folder / "log.csv"

    def read(self) -> list[dict[str, str]]:
        """Rows logged so far."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def rewind(self, stage: str, step: int) -> None:
        """Drop a stage's rows after a step: a resumed run takes those steps again."""
        rows = [row for row in self.read() if row["stage"] != stage or int(row["step"]) <= step]
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        replace_file(partial, self.path)

    def add(self, stage: str, step: int, loss: float, dice: float | None, seconds: float) -> None:
        """Append a row; `dice` is None if it was not measured."""
        measured = "" if dice is None else f"{dice:.4f}"
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([stage, step, f"{loss:.4f}", measured, f"{seconds:.1f}"])

    def plot(self) -> None:
        """Draw loss and validation Dice of each stage over its steps."""
        rows = self.read()
        columns = [name for name in ("loss", "validation_dice") if any(row[name] for row in rows)]
        figure = Figure(figsize=(4.5 * max(1, len(columns)), 3.5), layout="constrained")
        panels = figure.subplots(1, max(1, len(columns)), squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=False):
            for stage in dict.fromkeys(row["stage"] for row in rows):
                known = [row for row in rows if row["stage"] == stage and row[column]]
                steps = [int(row["step"]) for row in known]
                values = [float(row[column]) for row in known]
                axes.plot(steps, values, marker="." if len(known) < 50 else "", label=stage)
            axes.set(xlabel="step", ylabel=column.replace("_", " ").replace("dice", "Dice"))
            axes.grid(alpha=0.3)
            axes.legend()
        figure.savefig(self.folder / "log.png", dpi=120)
