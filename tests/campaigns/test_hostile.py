"""A sample of the hostile campaign: every input is used rightly or refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_PER_WAY = 12
_WAYS = ("tiff", "tiff_crafted", "images", "places")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forks")
@pytest.mark.parametrize("way", _WAYS)
def test_sample(way: str, tmp_path: Path) -> None:
    # a process of its own: forks of one with threads may wait for locks that those hold
    words = [f"hostile.{way}", "--count", str(_PER_WAY), "--seed", "7", "--keep", str(tmp_path)]
    command = [sys.executable, "-m", "tests.campaigns", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {way} | {_PER_WAY} |" in done.stdout
