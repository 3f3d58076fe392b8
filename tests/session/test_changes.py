"""Another slide, model or folder in the middle of a run: the old one is over, and left whole."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from psygnal import EmitLoopError
from tests.fakes import FakeModel, make_card, noise_slide
from tests.session.helpers import (
    PATIENCE_S,
    HeldModel,
    Recorder,
    coarse_session,
    open_session,
    poll_until,
    whole_labels,
)

import napari_twostage as ts
from napari_twostage.session import RunState
from napari_twostage.session.result_paths import find_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_twostage.session import Session

WHOLE = ts.Box(0, 0, 70, 90)
OTHER = make_card(name="other", coarse_window_px=20)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder for results of arrays."""
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home")
    return tmp_path / "home" / "napari-twostage"


def other_slide(session: Session, _tmp_path: Path) -> None:
    session.set_slide(noise_slide(50, 60, seed=3))


def other_model(session: Session, _tmp_path: Path) -> None:
    session.set_model(FakeModel(OTHER))


def other_folder(session: Session, tmp_path: Path) -> None:
    session.set_out(tmp_path / "elsewhere")


@pytest.mark.parametrize("stage", ["coarse", "refine"])
@pytest.mark.parametrize("change", [other_slide, other_model, other_folder])
def test_a_run_that_is_left_stays_whole_and_its_events_are_dropped(
    tmp_path: Path, home: Path, stage: str, change: Callable[[Session, Path], None]
) -> None:
    first = HeldModel()
    session = open_session(tmp_path / "out", model=first)
    if stage == "refine":
        session.run_coarse()
        session.wait(PATIENCE_S)
    first.hold()
    (session.run_coarse if stage == "coarse" else lambda: session.refine_region(WHOLE))()
    first.wait_begun()
    for _ in range(3):  # events of these wait when the change comes
        first.step()
        first.wait_begun()

    change(session, tmp_path)
    assert session.state is RunState.IDLE
    assert session.seg is None
    assert session.progress is None
    recorder = Recorder(session)
    session.set_options(tissue_only=False)
    session.run_coarse()
    first.release()
    session.wait(PATIENCE_S)
    session.refine_region(WHOLE)
    session.wait(PATIENCE_S)

    slide, card = session.slide, session.card
    new = ts.segment(slide, FakeModel(card), tmp_path / "new", tissue=False, refine="all")
    np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(new))
    assert session.seg.path != tmp_path / "out"
    assert (change is other_folder) != home.exists()
    cores = [step.core for steps in recorder.all("windows_done") for step in steps]
    tiles = [tile for s in recorder.all("chips_done") for step in s for tile in step.chip.tiles]
    assert sorted(cores) == sorted(session.seg.windows_done)
    assert sorted(tiles) == sorted(map(tuple, np.argwhere(session.seg.refined).tolist()))
    assert not recorder.errors
    assert not [line for line in recorder.lines if "cancelled" in line]
    session.close()

    old = ts.Segmentation.open(tmp_path / "out", slide=noise_slide(), model=FakeModel())
    assert len(old.windows_done) >= 1
    assert not old.refined.all()
    old.refine(old.plan(fraction=1.0)) if stage == "refine" else ts.segment(
        noise_slide(), FakeModel(), old.path, tissue=False, refine="all"
    )
    plain = ts.segment(noise_slide(), FakeModel(), tmp_path / "p", tissue=False, refine="all")
    np.testing.assert_array_equal(whole_labels(ts.Segmentation.open(old.path)), whole_labels(plain))


def test_a_listener_may_change_the_slide(tmp_path: Path, home: Path) -> None:
    session = open_session(tmp_path / "out")
    recorder = Recorder(session)
    changed: list[int] = []

    def change(_: object) -> None:
        if not changed:
            changed.append(len(recorder.received))
            session.set_slide(noise_slide(50, 60, seed=3))

    session.events.windows_done.connect(change)
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert changed
    assert not session.coarse_done
    assert session.seg is None
    assert home == session.out.parent
    late = {name for name, _ in recorder.received[changed[0] :]}
    assert not late & {"windows_done", "chips_done", "tissue_found"}


def test_a_listener_that_fails_does_not_make_a_run_last_for_ever(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out")

    def fail(_: object) -> None:
        raise ValueError("a listener's own mistake")

    session.events.windows_done.connect(fail)
    session.run_coarse()
    with pytest.raises(EmitLoopError, match="own mistake"):
        session.wait(PATIENCE_S)
    session.events.windows_done.disconnect(fail)
    session.wait(PATIENCE_S)
    assert session.coarse_done
    assert session.state is RunState.IDLE


def test_an_open_edit_ends_with_its_slide(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    session.edit(ts.Box(0, 0, 9, 9))
    session.wait(PATIENCE_S)
    recorder = Recorder(session)
    session.set_slide(None)
    assert session.editing is None
    assert [name for name, _ in recorder.received].count("edit_ended") == 1
    session.set_slide(noise_slide())
    session.set_out(tmp_path / "out")
    session.wait(PATIENCE_S).edit(ts.Box(0, 0, 9, 9))
    session.set_out(tmp_path / "out")  # while its labels are on their way
    session.wait(PATIENCE_S)
    assert session.editing is None
    session.edit(ts.Box(0, 0, 9, 9))
    session.wait(PATIENCE_S)
    assert session.editing is not None


def test_two_sessions_at_once_stay_apart(tmp_path: Path) -> None:
    slides = [noise_slide(seed=1), noise_slide(80, 60, seed=2)]
    sessions = [open_session(tmp_path / f"out{n}", slide) for n, slide in enumerate(slides)]
    recorders = [Recorder(session) for session in sessions]
    for session in sessions:
        session.run_coarse()
    while any(session.busy for session in sessions):
        for session in sessions:
            session.poll()
    for session in sessions:
        session.refine_region(ts.Box(0, 0, 90, 90))
    for n, (session, slide, recorder) in enumerate(zip(sessions, slides, recorders, strict=True)):
        session.wait(PATIENCE_S)
        plain = ts.segment(slide, FakeModel(), tmp_path / f"p{n}", tissue=False, refine="all")
        np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(plain))
        tiles = [tile for s in recorder.all("chips_done") for step in s for tile in step.chip.tiles]
        assert len(tiles) == len(set(tiles)) == plain.states.size


def test_a_run_that_begins_at_once_does_not_open_a_result_twice(home: Path) -> None:
    session = ts.Session()
    recorder = Recorder(session)
    session.set_slide(noise_slide())
    session.set_model(FakeModel())
    session.set_options(tissue_only=False)
    session.run_coarse()  # while the session still looks for earlier results
    session.wait(PATIENCE_S)
    assert session.seg.path.parent == home
    assert session.coarse_done
    seg, count = session.seg, len(recorder.all("result_changed"))
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.seg is seg
    assert len(recorder.all("result_changed")) == count


def test_a_run_begins_when_earlier_results_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(tmp_path / "out")
    go, looked, asked = threading.Event(), [], threading.Semaphore(0)

    def slow(*args: Any) -> Any:
        looked.append(threading.current_thread().name)
        asked.release()
        assert go.wait(PATIENCE_S)
        return find_result(*args)

    monkeypatch.setattr("napari_twostage.session.tasks.find_result", slow)
    session.set_out(tmp_path / "out")
    assert asked.acquire(timeout=PATIENCE_S)
    session.run_coarse()
    assert not asked.acquire(timeout=0.2)
    go.set()
    session.wait(PATIENCE_S)
    assert looked == ["look for results", "coarse"]
    assert session.coarse_done


def test_other_options_begin_a_result_beside_the_first(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out.twostage.zarr")
    first = session.seg
    session.edit(ts.Box(0, 0, 9, 9))
    session.wait(PATIENCE_S)
    session.set_options(tissue_only=False, uncertainty="entropy")
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.seg is not first
    assert session.editing is None
    assert session.seg.path.name == "out-2.twostage.zarr"
    assert session.seg.record.parameters.uncertainty == "entropy"
    assert first.path.exists()
    session.set_options(tissue_only=False)
    session.set_out(first.path)
    session.wait(PATIENCE_S)
    assert session.seg.path == first.path


def test_a_result_is_opened_with_its_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seg = ts.segment(noise_slide(), FakeModel(), tmp_path / "out", tissue=False, refine="none")
    monkeypatch.setattr(
        "napari_twostage.session.session.read_bundle", lambda _source: FakeModel().bundle
    )
    session = ts.Session()
    session.set_slide(noise_slide())
    session.set_model(FakeModel(OTHER))
    session.open_result(seg.path)
    session.wait(PATIENCE_S)
    assert session.card == seg.card
    assert session.seg.path == seg.path
    assert session.coarse_done
    assert session.forecast.n_tiles == seg.plan(threshold=session.threshold).n_tiles


def test_jobs_of_an_earlier_slide_are_done_before_a_new_one_is_begun(
    tmp_path: Path, home: Path
) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", model=model)
    model.hold("refine")
    session.refine_region(WHOLE)
    model.wait_begun()
    session.set_slide(noise_slide(50, 60, seed=3))
    session.poll()
    assert session.out is None  # not even looked for yet
    model.release()
    poll_until(session, lambda: not session.busy)
    assert session.out.parent == home
