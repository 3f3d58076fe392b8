"""The study of the domain check judges each slide by what was fitted without it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.training.test_domain import planted

from training.domain_study import main

if TYPE_CHECKING:
    import pytest

NUCLEI = Path(__file__).parents[2] / "training" / "configs" / "nuclei3.toml"


def test_the_tables_say_what_was_planted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = planted(groups=12, noise_of=0.05)
    named = [replace(one, group=f"NuInsSeg: {one.group}") for one in images]
    other = [replace(one, source="other", group=f"other {one.group}") for one in images]
    far = [replace(one, source="far", features=one.features + 9) for one in images]
    parts = {"train": [*named, *other], "test": named[:24], "outside": far}
    (tmp_path / "kept").write_bytes(pickle.dumps(parts))
    words = [str(NUCLEI), "--data", str(tmp_path), "--keep", str(tmp_path / "kept")]
    assert main(words) == 0
    said = capsys.readouterr().out
    ranked = [line for line in said.splitlines() if line.startswith(("| set,", "| other,"))]
    assert len(ranked) == 4
    assert all(float(line.split("|")[3]) > 0.9 for line in ranked)
    assert "NuInsSeg, 14 slides" in said
    assert "| far | outside | 144 | 1.00 | 12 of 12 |" in said


def test_a_missing_configuration_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.toml"), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
