"""Runs of a slide: which there are, going back to one, and how each was last looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tifffile
from tests.fakes import MPP, FakeModel, noise
from tests.session.helpers import PATIENCE_S

import napari_twostage as ts
from napari_twostage.geometry import Box
from napari_twostage.session import RunMemory, Session
from napari_twostage.session.memory import Remembered

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, noise(150, 130), photometric="rgb")
    return ts.open_slide(path, mpp=MPP)


def begin(slide: Slide, memory: RunMemory | None = None) -> Session:
    session = Session(memory=memory)
    session.set_slide(slide)
    session.set_model(FakeModel())
    return session.wait(PATIENCE_S)


def run_coarse(session: Session, **options: object) -> Path:
    session.set_options(**options)
    session.wait(PATIENCE_S)
    session.run_coarse()
    return session.wait(PATIENCE_S).seg.path


def test_runs_are_listed_with_what_they_were_made_with_and_how_far_they_came(slide) -> None:
    session = begin(slide)
    assert session.runs == ()
    run_coarse(session, tissue_only=False)
    run_coarse(session, tissue_only=False, uncertainty="entropy")
    session.refine_region(Box(0, 0, 20, 20))
    session.wait(PATIENCE_S).edit(Box(64, 64, 70, 70))
    labels = session.wait(PATIENCE_S).editing.labels
    session.commit_edit(1 - labels)
    session.wait(PATIENCE_S)
    assert {run.describe() for run in session.runs} == {
        "fake 1 · whole slide",
        "fake 1 · whole slide · by entropy",
    }
    latest = next(run for run in session.runs if run.path == session.seg.path)
    assert latest.refined == session.seg.refined.sum() > 0
    assert latest.edited == 1
    assert not latest.missing
    assert latest.describe_progress().startswith(f"{latest.refined / latest.tiles:.0%} refined · ")
    assert "1 tile edited" in latest.describe_progress()


def test_an_option_that_is_set_back_opens_the_run_that_was_made_with_it(slide) -> None:
    session = begin(slide)
    first = run_coarse(session, tissue_only=False)
    session.set_options(tissue_only=False, uncertainty="entropy")
    assert not session.run_book.fits
    assert session.seg.path == first  # it stays until another one is begun
    second = run_coarse(session, tissue_only=False, uncertainty="entropy")
    session.set_options(tissue_only=False)
    assert session.wait(PATIENCE_S).seg.path == first
    assert session.run_book.fits
    assert session.coarse_done
    session.set_options(tissue_only=False, uncertainty="entropy")
    assert session.wait(PATIENCE_S).seg.path == second
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert {run.path for run in session.runs} == {first, second}  # no third


def test_without_a_list_a_coarse_pass_goes_on_with_the_run_of_its_options(slide) -> None:
    session = begin(slide)
    first = run_coarse(session, tissue_only=False)
    run_coarse(session, tissue_only=False, uncertainty="entropy")
    session.runs = ()
    assert run_coarse(session, tissue_only=False) == first


def test_runs_in_other_folders_are_listed_once_they_were_opened(slide, tmp_path: Path) -> None:
    memory = RunMemory(tmp_path / "runs.json")
    session = begin(slide, memory)
    session.set_out(tmp_path / "elsewhere" / "mine.twostage.zarr")
    path = run_coarse(session.wait(PATIENCE_S), tissue_only=False)
    session.close()
    assert [run.path for run in begin(slide, memory).runs] == [path]
    assert begin(slide).runs == ()


def test_the_run_that_was_opened_last_comes_back_as_it_was_looked_at(slide, tmp_path) -> None:
    memory = RunMemory(tmp_path / "runs.json")
    session = begin(slide, memory)
    first = run_coarse(session, tissue_only=False)
    run_coarse(session, tissue_only=False, uncertainty="entropy")
    session.open_result(first)
    session.wait(PATIENCE_S).threshold = 0.21
    session.look_at(Box(10, 20, 30, 40))
    session.run_book.sections = ["Refine"]
    session.close()

    again = begin(slide, RunMemory(tmp_path / "runs.json"))
    assert again.seg.path == first  # not the newest
    assert again.threshold == 0.21
    how = again.run_book.recall()
    assert how.view == Box(10, 20, 30, 40)
    assert how.sections == ["Refine"]


def test_runs_at_another_pixel_size_are_others(slide, tmp_path: Path) -> None:
    memory = RunMemory(tmp_path / "runs.json")
    session = begin(slide, memory)
    path = run_coarse(session, tissue_only=False)
    session.close()
    twice = begin(ts.open_slide(slide.path, mpp=1.2 * MPP), memory)
    assert twice.seg is None
    assert twice.runs == ()
    assert twice.out != path
    assert begin(slide, memory).seg.path == path


def test_a_damaged_memory_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "runs.json"
    file.write_text('{"a": 3}')
    memory = RunMemory(file)
    assert memory.recall(tmp_path) is None
    memory.keep(tmp_path / "run", Remembered("slide.tif", "abc", threshold=0.5))
    assert RunMemory(file).recall(tmp_path / "run").threshold == 0.5
