"""Carrying a run out: what is handed on when, and what is done meanwhile."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from tests.fakes import FakeModel, noise_slide

from napari_twostage import segment
from napari_twostage.engine import runner
from napari_twostage.engine.api import prepare
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.write_queue import WriteQueue
from napari_twostage.method.steps import CoarseWindowDone
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import pytest

    from napari_twostage.method.steps import Step


def test_a_step_is_handed_on_without_waiting_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_s = runner.PATIENCE_S / 4
    monkeypatch.setattr(WriteQueue, "_write_all", lambda *_: time.sleep(pause_s))
    seg = prepare(noise_slide(), FakeModel(), tmp_path / "out.zarr", RunOptions(tissue=False))
    asked = []

    def steps() -> Generator[Step, None, None]:
        for number in range(3):
            asked.append(number)
            time.sleep(2 * runner.SILENCE_S)  # a slow model
            yield CoarseWindowDone(seg.coarse_grid.box, np.zeros((1, 1, 1), np.float16), {})

    with pool(1, "write") as writer, closing(runner._persist(seg, steps(), writer)) as handed_on:
        for number, _ in enumerate(handed_on):
            assert asked == list(range(number + 1))


class Warmed(FakeModel):
    """Remembers that it was warmed up, and cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[str] = []

    def warm_up(self, stage: str) -> None:
        self.stages.append(stage)
        raise MemoryError(stage)


def test_the_model_warms_up_while_tissue_is_looked_for_and_only_then(tmp_path: Path) -> None:
    model = Warmed()
    seg = segment(noise_slide(), model, tmp_path / "out.zarr", refine="none")
    assert seg.coarse_complete  # an error of warming up is none of the run
    assert model.stages == ["coarse"]
    segment(noise_slide(), model, tmp_path / "out.zarr", refine="all")
    assert model.stages == ["coarse"]
