"""A few rounds of the campaign of long sessions, and its judgement."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.campaigns.long_session import Sample, growth_of, judged, play_session

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 6


@pytest.mark.skipif(sys.platform == "win32", reason="the campaigns are not for Windows")
def test_rounds_of_refining_and_painting_leave_no_files_and_handles(tmp_path: Path) -> None:
    file = tmp_path / "samples.json"
    play_session(ROUNDS, 1, file)
    samples = [Sample(**sample) for sample in json.loads(file.read_text())]
    assert len(samples) == ROUNDS
    verdicts = {outcome.name: outcome for outcome in judged("session", samples)}
    for thing in ("handles", "threads", "disk"):  # memory settles later
        assert verdicts[f"session/{thing}"].is_good, verdicts[f"session/{thing}"].message
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kept",
        "passing.geojson",
        "samples.json",
    ]


def series(values: np.ndarray) -> list[Sample]:
    return [Sample(int(value), 9, 6, 1000, 1) for value in values]


def test_a_leak_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(400e6, 2e6, 200)
    leak = noise + np.arange(200) * 0.2e6
    assert [outcome.is_good for outcome in judged("quiet", series(noise))] == [True] * 4
    assert [outcome.is_good for outcome in judged("leak", series(leak))] == [False] + [True] * 3


def test_growth_at_first_does_not_count() -> None:
    warming = np.minimum(np.arange(90) * 10.0, 200)
    growth, noise = growth_of(warming)
    assert abs(growth) < 1e-6
    assert noise < 1e-6
