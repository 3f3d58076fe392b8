"""Text tables, written as Markdown and as CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_twostage.io.csv_table import TableWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOTHING = "–"
"""Placeholder of a cell without a value: not printed, or not run."""


@dataclass
class Table:
    """Rows under a header, with a caption."""

    name: str
    """Stem of its files."""
    header: tuple[str, ...]
    caption: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, cells: Mapping[str, str]) -> None:
        """Append a row, given by column; missing cells get the placeholder.

        Raises
        ------
        ValueError
            If a cell belongs to no column.
        """
        if unknown := cells.keys() - set(self.header):
            raise ValueError(f"{self.name} has no columns {sorted(unknown)}")
        self.rows.append(tuple(cells.get(column, NOTHING) for column in self.header))

    def to_markdown(self) -> str:
        """Markdown of the table, with its caption below."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{text}\n\n{self.caption}\n"

    def write(self, folder: Path) -> None:
        """Write ``name.md`` and ``name.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(self.to_markdown(), encoding="utf-8")
        with (folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = TableWriter(file)
            for row in (self.header, *self.rows):
                table.row(row)


def percent(share: float) -> str:
    """A share of 1 in percent, with one decimal."""
    return f"{100 * share:.1f}"
