"""Carrying a run out: what is handed on when, and what is done meanwhile."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from tests.fakes import FakeModel, noise_slide

from napari_twostage import iter_segment, segment
from napari_twostage.engine import artefact_search, runner
from napari_twostage.engine.api import prepare
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.write_queue import WriteQueue
from napari_twostage.errors import SlideError
from napari_twostage.method.artefacts import Artefact
from napari_twostage.method.steps import CoarseWindowDone, TilesSelected
from napari_twostage.result.record import read_record
from napari_twostage.result.result import Result
from napari_twostage.slides import open_slide
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    import pytest

    from napari_twostage.geometry import Grid
    from napari_twostage.method.steps import Step
    from napari_twostage.slides.base import Slide


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


def stained_slide() -> Slide:
    """A slide of stained squares on bright glass, large enough for several coarse windows."""
    pixels = np.full((128, 160, 3), 240, np.uint8)
    pixels[16:112, 16:144] = np.random.default_rng(0).integers(
        (120, 60, 110), (190, 130, 180), (96, 128, 3)
    )
    return open_slide(pixels, mpp=0.5)


KINDS = {"pen", "edge", "out of focus"}


def looked_for(path: Path) -> set[str]:
    """Artefacts of which the record of a result states the area."""
    known = read_record(path).tissue
    assert known is not None
    assert known.artefacts_mm2 is not None
    return set(known.artefacts_mm2)


class Searches:
    """Counts searches for artefacts in tissue, and holds them back; marks all tissue."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.go_on = threading.Event()
        monkeypatch.setattr(artefact_search, "find_in_tissue", self)

    def __call__(
        self, _slide: Slide, tissue: np.ndarray, _grid: Grid, is_wanted: Callable[[], bool]
    ) -> np.ndarray:
        self.count += 1
        while not self.go_on.wait(0.01) and is_wanted():
            pass
        return np.where(tissue, np.uint8(Artefact.OUT_OF_FOCUS), np.uint8(0))


def test_no_step_waits_for_artefacts_and_the_result_has_them_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches, path = Searches(monkeypatch), tmp_path / "out.zarr"
    done = 0
    for step in iter_segment(stained_slide(), FakeModel(), path, refine="none"):
        done += isinstance(step, CoarseWindowDone)
        if isinstance(step, TilesSelected):  # all windows came while the search was held back
            assert done > 1
            assert looked_for(path) == {"pen", "edge"}
            searches.go_on.set()
    assert looked_for(path) == KINDS
    opened = Result.open(path, slide=stained_slide())
    assert opened.artefacts is not None
    assert (opened.artefacts[0] == Artefact.OUT_OF_FOCUS).sum() == opened.tissue_mask[0].sum()
    assert any("out of focus" in notice for notice in opened.record.runs[-1].notices)
    segment(stained_slide(), FakeModel(), path, refine="all")
    assert searches.count == 1


def test_a_run_that_is_stopped_lacks_artefacts_and_the_next_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches, path = Searches(monkeypatch), tmp_path / "out.zarr"
    with closing(iter_segment(stained_slide(), FakeModel(), path, refine="none")) as steps:
        next(step for step in steps if isinstance(step, CoarseWindowDone))
    assert searches.count == 1
    assert looked_for(path) == {"pen", "edge"}
    searches.go_on.set()
    segment(stained_slide(), FakeModel(), path, refine="none")
    assert searches.count == 2
    assert looked_for(path) == KINDS


def test_a_search_that_fails_is_no_failure_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SlideError("no pixel can be read")

    monkeypatch.setattr(artefact_search, "find_in_tissue", fail)
    seg = segment(stained_slide(), FakeModel(), tmp_path / "out.zarr", refine="none")
    assert seg.coarse_complete
    assert looked_for(seg.path) == {"pen", "edge"}
