"""Tables that a spreadsheet opens: text never becomes a formula, numbers stay numbers."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from napari_twostage.io.csv_table import TableWriter


def written(*cells: object) -> list[str]:
    file = StringIO(newline="")
    TableWriter(file).row(cells)
    file.seek(0)
    (row,) = csv.reader(file)
    return row


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-1+cmd", "--1"]
)
def test_formulas_become_text(text: str) -> None:
    assert written(text) == [f"'{text}"]


@pytest.mark.parametrize("cell", [-3, -0.5, "-0.5", "+1e-3", "a=b", "nucleus", "", "a\nb", "3 -x"])
def test_numbers_and_other_text_stay_as_they_are(cell: object) -> None:
    assert written(cell) == [str(cell)]
