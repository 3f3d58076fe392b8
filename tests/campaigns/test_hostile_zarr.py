"""A small sample of the campaigns of zarr folders and of URLs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
import sys
from pathlib import Path
from tests.campaigns.hostile import run_ways

outcomes = list(run_ways([sys.argv[1]], int(sys.argv[2]), 7, Path(sys.argv[3])))
bad = [outcome for outcome in outcomes if not outcome.is_good]
print(*bad, len(outcomes), sep="\\n")
sys.exit(bool(bad))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forks")
@pytest.mark.parametrize(("way", "count"), [("zarr", 60), ("urls", 75)])
def test_a_sample_is_right_or_refused_in_one_line(way: str, count: int, tmp_path: Path) -> None:
    # in a process of its own: zarr's threads, which other tests started, would not be in a fork
    command = [sys.executable, "-c", SAMPLE, way, str(count), str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-1] == str(count)
