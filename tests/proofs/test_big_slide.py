"""A slide of 1.6 billion pixels passes through the command in less than 2 GiB."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_data.make_big_slide import write_big_slide

SHAPE = (40_000, 40_000)
TISSUE = 0.15
FRACTION = 0.02
LIMIT = 2 << 30


def peak_bytes(process: subprocess.Popen[str]) -> int:
    """Peak resident memory so far; 0 once the process has ended."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
def test_a_big_slide_needs_less_than_2_gib(tmp_path: Path) -> None:
    slide, out = tmp_path / "big.svs", tmp_path / "big.zarr"
    write_big_slide(slide, SHAPE, tissue=TISSUE)
    command = [sys.executable, "-m", "napari_twostage", "segment", str(slide), "--json"]
    command += ["--model", "nuclei", "--out", str(out), "--fraction", str(FRACTION), "--quiet"]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:  # its output is one line: it waits for no reader
            peak = max(peak, peak_bytes(process))
            time.sleep(0.05)
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert 0.2 * LIMIT < peak < LIMIT  # it was measured, and it is less
    assert summary["tiles"]["failed"] == 0
    assert summary["tiles"]["tissue"] > 10_000
    assert summary["fraction_refined"] == pytest.approx(FRACTION, abs=1e-4)
