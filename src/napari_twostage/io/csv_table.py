"""CSV tables whose cells no spreadsheet runs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Characters that make a spreadsheet take a cell for a formula, or look behind them for one."""


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


class TableWriter:
    """Writer of rows in CSV, with an apostrophe before text that a spreadsheet would run.

    Parameters
    ----------
    file : text file
        Opened with ``newline=""``.
    """

    def __init__(self, file: _Writable) -> None:
        self._writer = csv.writer(file)

    def row(self, cells: Iterable[object]) -> None:
        """Write one row; numbers, also in text, stay numbers."""
        self._writer.writerow([defused(cell) for cell in cells])


def defused(cell: object) -> object:
    """Put an apostrophe before text that a spreadsheet would take for a formula.

    Examples
    --------
    >>> [defused(cell) for cell in ("=1+1", "-0.5", "+x", "a.svs", -3)]
    ["'=1+1", '-0.5', "'+x", 'a.svs', -3]
    """
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
