"""A table of text: as Markdown to read, as CSV to go on with."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = "–"
"""Stands where there is no figure: not printed, or not run."""


@dataclass
class Table:
    """Rows under a header, and what must be known to read them."""

    name: str
    """Of its files."""
    header: tuple[str, ...]
    caption: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, cells: Mapping[str, str]) -> None:
        """Append a row, given by column; what is left out has no figure.

        Raises
        ------
        ValueError
            If a cell is of no column.
        """
        if unknown := cells.keys() - set(self.header):
            raise ValueError(f"{self.name} has no columns {sorted(unknown)}")
        self.rows.append(tuple(cells.get(column, NOTHING) for column in self.header))

    def to_markdown(self) -> str:
        """The table with its caption below."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{text}\n\n{self.caption}\n"

    def write(self, folder: Path) -> None:
        """Write ``name.md`` and ``name.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(self.to_markdown())
        with (folder / f"{self.name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([self.header, *self.rows])


def read_paper(table: str) -> dict[str, Any]:
    """What the paper prints in a table: ``table1`` to ``table4``."""
    path = Path(__file__).parents[1] / "paper.toml"
    printed: dict[str, Any] = tomllib.loads(path.read_text())[table]
    return printed


def percent(share: float) -> str:
    """A share of 1 in %, to the digit that the paper prints."""
    return f"{100 * share:.1f}"
