"""The benchmarks run in their own processes and write their tables and figures."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_data.make_big_slide import write_big_slide
from tests.benchmarks import common
from tests.benchmarks.two_stages import NetworkCosts

from napari_twostage.errors import ModelError

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a benchmark as its docstring says."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_slider_leaves_a_table_and_a_figure(tmp_path: Path) -> None:
    done = run("slider", "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"slider.md", "slider.csv", "slider.png"}
    text = (tmp_path / "slider.md").read_text()
    assert text in done.stdout
    assert "python -m tests.benchmarks.slider --quick" in text
    assert "A quick run" in text
    assert len(rows_of(tmp_path / "slider.csv")) == 6


def test_all_readers_read_the_same_tiles(tmp_path: Path) -> None:
    slide = tmp_path / "a.svs"
    write_big_slide(slide, (1100, 1700), tissue=0.5)
    done = run("reading", slide, "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "reading.csv")
    assert [row["reader"] for row in rows[:4]] == [
        "pread + libjpeg-turbo",
        "napari-twostage",
        "tifffile + zarr",
        "dask",
    ]
    assert all(float(row["CPU ms"]) > 0 for row in rows)


def test_measuring_says_of_each_goal_whether_it_was_met(tmp_path: Path) -> None:
    done = run("measuring", "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    tasks = {row["task"]: row for row in rows_of(tmp_path / "measuring.csv")}
    assert len(tasks) == 8
    assert float(tasks["objects.geojson"]["file, MB"]) > 0
    assert (tmp_path / "measuring.md").read_text().count("Goal: ") == 4


def test_a_slide_without_jpeg_tiles_is_refused_in_a_line(tmp_path: Path) -> None:
    done = run("reading", ROOT / "sample_data" / "img2d.tif", "--quick", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("expected a TIFF of JPEG tiles, found")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("peer", ["monai=/no/such/python", f"other={sys.executable}"])
def test_a_peer_that_is_not_there_is_refused(peer: str) -> None:
    done = run("dense", "--quick", "--peer-python", peer)
    assert done.returncode == 2
    assert f"expected monai or tiatoolbox=PYTHON, found {peer}" in done.stderr


def test_a_child_measures_its_own_peak_and_not_its_parents() -> None:
    held = bytearray(os.urandom(1) * (400 << 20))
    assert common.peak_bytes() > len(held)
    assert common.in_child(common.peak_bytes) < len(held)


def test_a_slide_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    first = common.big_slide(tmp_path, 900, 700, tissue=0.5)
    made = first.stat().st_mtime_ns
    assert common.big_slide(tmp_path, 900, 700, tissue=0.5).stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == ["900x700-tissue0.5.svs"]


def test_another_ratio_changes_nothing_else() -> None:
    model, plain = common.load("nuclei", "cpu", ratio=4), common.load("nuclei", "cpu")
    assert (model.card.ratio, plain.card.ratio) == (4, 2)
    assert model.bundle.weights == plain.bundle.weights


def test_a_device_may_carry_a_precision() -> None:
    assert common.load("nuclei", "cpu").compute.precision == "f32"
    assert common.load("nuclei", "openvino:f32").compute.backend == "openvino"
    with pytest.raises(ModelError, match="'fp16' is not offered on cpu"):
        common.load("nuclei", "cpu:fp16")


def test_costs_are_relative_to_a_dense_run() -> None:
    costs = NetworkCosts(window=0.0, tile=1.0, windows=5, tiles=10)
    assert costs.ratio(1.0) == 1
    assert costs.ratio(0.1) == pytest.approx(10)
