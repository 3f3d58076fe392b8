"""Facts about this system are found without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from napari_twostage.method.tiling import TileState
from napari_twostage.models.backends.choice import thread_count
from napari_twostage.utils.system import describe_machine, may_have_gpu

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT = """
import sys
import numpy as np
import napari_twostage as ts
model = ts.load_model("nuclei", device="openvino")
pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
slide = ts.open_slide(pixels, mpp=(0.5, 0.5))
seg = ts.segment(slide, model, sys.argv[1], tissue=False, refine="all")
print(model.threads, seg.states.max(), *{"torch", "torchvision", "triton"} & set(sys.modules))
"""


def run(program: str, *arguments: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_run_on_openvino_does_not_import_torch(tmp_path: Path) -> None:
    threads, state, *imported = run(SEGMENT, str(tmp_path / "a.zarr"))
    assert int(threads) >= 1
    assert int(state) == TileState.REFINED
    assert imported == []


THREADS = "from napari_twostage.models.backends.choice import thread_count as count; print(count())"


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("5,2", 5)])
def test_threads_are_as_many_as_the_environment_says(variable: str, threads: int) -> None:
    assert run(THREADS, OMP_NUM_THREADS=variable) == [str(threads)]


@pytest.mark.parametrize("variable", ["", "0", "all"])
def test_else_they_are_the_cores_that_are_ours(variable: str) -> None:
    bound = f"import os; os.sched_setaffinity(0, {{0}}); {THREADS}"
    (everywhere,), (here,) = (run(each, OMP_NUM_THREADS=variable) for each in (THREADS, bound))
    assert int(here) == 1 <= int(everywhere) <= len(os.sched_getaffinity(0))


def test_where_torch_is_loaded_they_are_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert thread_count() == before + 1
    finally:
        torch.set_num_threads(before)


def test_no_gpu_that_torch_finds_is_overlooked() -> None:
    assert may_have_gpu() or not (torch.cuda.is_available() or torch.backends.mps.is_available())


def test_the_machine_is_described() -> None:
    described = describe_machine(thread_count())
    assert described["torch"] == torch.__version__.partition("+")[0]
    assert "processors" in described["processor"]
