"""The figure over all sets shows each row of its table."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from training.frontier.sets import SetRow, main, read_rows

DOCS = Path(__file__).parents[2] / "docs"


def test_rows_may_lack_an_interval(tmp_path: Path) -> None:
    table = tmp_path / "sets.csv"
    table.write_text("set,headroom,sparsity,lead,low,high\nA,2.9,38,0.3,-0.6,1.1\nB,-1,87,0.2,,\n")
    first, second = read_rows(table)
    assert first == SetRow("A", 2.9, 38.0, 0.3, -0.6, 1.1)
    assert (second.low, second.high) == (None, None)


def test_the_table_of_the_docs_makes_a_figure(tmp_path: Path) -> None:
    rows = read_rows(DOCS / "frontier-sets.csv")
    assert {"BOWL", "GlaS", "Fungi"} <= {row.name for row in rows}
    for row in rows:
        assert 0 <= row.sparsity <= 100
        if row.low is not None and row.high is not None:
            assert row.low <= row.lead <= row.high
    figure = tmp_path / "sets.png"
    main([str(DOCS / "frontier-sets.csv"), str(figure)])
    with Image.open(figure) as image:
        assert image.size == pytest.approx((936, 546), abs=10)
