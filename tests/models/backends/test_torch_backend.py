"""torch where memory is short."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.models.random_model import random_bundle

from napari_twostage.errors import ModelError
from napari_twostage.models.backends import torch_backend
from napari_twostage.models.model import Model

if TYPE_CHECKING:
    import torch

    from napari_twostage.models.card import Stage

SIDE = 64


def limit_memory(model: Model, windows: int) -> None:
    """Let a call of the network fail as torch's does where it sees more than so many windows."""
    refine = model._backend._module.refine_maps

    def limited(images: torch.Tensor, halo: int) -> torch.Tensor:
        if len(images) > windows:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"
            )
        return refine(images, halo)

    model._backend._module.refine_maps = limited


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(torch_backend, "BATCH_PX", 8 * SIDE**2)
    return Model(random_bundle(), "cpu")


def windows(count: int) -> list[np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3))
    return list(pixels.astype(np.uint8))


def test_out_of_memory_the_batch_is_halved_and_the_run_goes_on(model: Model) -> None:
    expected = model.refine(windows(5))
    limit_memory(model, 2)
    found = model.refine(windows(5))
    assert np.abs(found - expected).max() < 1e-4
    assert model.refine_batch == 2 * model.threads
    assert model.notices == [
        "out of memory: refine in batches of 4 in place of 8",
        "out of memory: refine in batches of 2 in place of 4",
    ]


def test_two_calls_that_find_the_same_batch_too_large_halve_it_once(model: Model) -> None:
    backend = model._backend
    assert backend.batch("refine", SIDE) == 8 * backend.threads
    expected = backend.run("refine", np.stack(windows(5)))
    limit_memory(model, 4)
    both_know, each = Barrier(2), backend._each

    def slowly(stage: Stage, side_px: int) -> int:
        size = each(stage, side_px)
        if size == 8:
            both_know.wait(60)
        return size

    backend._each = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(backend.run, "refine", np.stack(windows(5))) for _ in range(2)]
        found = [call.result() for call in calls]
    assert np.abs(found - expected).max() < 1e-4
    assert model.notices == ["out of memory: refine in batches of 4 in place of 8"]


def test_no_memory_for_one_window_is_said_in_one_line(model: Model) -> None:
    limit_memory(model, 0)
    with pytest.raises(ModelError, match="too little memory for one window of 64 pixels"):
        model.refine(windows(1))


def test_other_errors_are_not_taken_for_a_lack_of_memory(model: Model) -> None:
    with pytest.raises(RuntimeError, match="size"):
        model.refine([np.zeros((33, 33, 3), np.uint8)])
