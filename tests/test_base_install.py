"""The base install runs the main job: without torch, rasterio and scikit-image."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("torch", "torchvision", "threadpoolctl", "rasterio", "skimage", "PIL.Image")
"""Modules that the base install does without, or need not import for this."""

BLOCK = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))"
"""Makes importing them fail, as if they were not installed."""

WHOLE_RUN = """
import sys
from pathlib import Path

import napari_twostage as ts
from napari_twostage.samples import sample_slide

folder = Path(sys.argv[1])
with ts.open_slide(sample_slide()) as whole:
    pixels = whole.read(ts.Box.at(1300, 700, 512, 640))
slide = ts.open_slide(pixels, mpp=0.5)
model = ts.load_model("nuclei", device=sys.argv[2])
seg = ts.segment(slide, model, folder / "out.twostage.zarr", tissue=False, fraction=0.5)
for name in ("labels.geojson", "objects.csv", "areas.csv"):
    ts.export(seg, folder / name)
print(model.compute.backend, seg.read_labels(seg.grid.box).any())
"""

WITHOUT_NETWORKS = """
import sys

import napari_twostage as ts

ts.load_model(sys.argv[1], device=sys.argv[2])
"""


def run(program: str, *arguments: object, light: bool) -> subprocess.CompletedProcess[str]:
    program = f"{BLOCK}\n{program}" if light else program
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_whole_run_needs_none_of_them_and_gives_the_same_files(tmp_path: Path) -> None:
    folders = {"light": tmp_path / "light", "full": tmp_path / "full"}
    for name, folder in folders.items():
        folder.mkdir()
        # without a GPU auto takes OpenVINO in either case
        device = "auto" if name == "light" else "openvino"
        done = run(WHOLE_RUN, folder, device, light=name == "light")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-2:] == ["openvino", "True"]
    for file in ("labels.geojson", "objects.csv", "areas.csv"):
        light, full = ((folder / file).read_bytes() for folder in folders.values())
        assert len(light) > 100 or file == "areas.csv"
        assert light == full


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_what_torch_is_needed_for_is_said_in_one_line(device: str, tmp_path: Path) -> None:
    from napari_twostage.models.bundle import OPTIONAL, read_bundle

    read_bundle("nuclei").save(tmp_path / "mine")
    for name in OPTIONAL.values():
        (tmp_path / "mine" / name).unlink()
    done = run(WITHOUT_NETWORKS, tmp_path / "mine", device, light=True)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("napari_twostage.errors.ModelError: ")
    assert "needs torch, which is not installed; pip install 'napari-twostage[torch]'" in last
