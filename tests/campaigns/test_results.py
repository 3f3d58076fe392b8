"""Small samples of the campaigns of torn files and of two writers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forks")
@pytest.mark.parametrize(("name", "count"), [("torn_files", 28), ("two_writers", 14)])
def test_a_sample_is_right_or_refused_in_one_line(name: str, count: int, tmp_path: Path) -> None:
    # in a process of its own: threads that other tests started would not be in a fork
    words = [name, "--count", str(count), "--seed", "5", "--keep", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| all | {count} |" in done.stdout
