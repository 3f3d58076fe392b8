"""Pause, resume, cancel, close: nothing computed too much, nothing lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide
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
from napari_twostage.session import RunState, Session
from napari_twostage.session.progress_meter import Stopwatch

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = ts.Box(0, 0, 70, 90)
QUIET_S = 0.2
"""Seconds in which nothing may happen; if it did, it would happen at once."""


def undisturbed(folder: Path, **options: str) -> ts.Segmentation:
    return ts.segment(noise_slide(), FakeModel(), folder / "plain", tissue=False, **options)


def held(tmp_path: Path, stage: str) -> tuple[Session, HeldModel, Recorder]:
    """A session whose first window of a stage is at work."""
    model = HeldModel()
    if stage == "coarse":
        session = open_session(tmp_path / "out", model=model)
        recorder = Recorder(session)
        model.hold()
        session.run_coarse()
    else:
        session = coarse_session(tmp_path / "out", model=model)
        recorder = Recorder(session)
        model.hold()
        session.refine_region(WHOLE)
    model.wait_begun()
    return session, model, recorder


def n_done(session: Session, stage: str) -> int:
    if session.seg is None:
        return 0
    seg = session.seg
    return len(seg.windows_done) if stage == "coarse" else int(seg.refined.sum())


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_after_a_pause_nothing_is_computed_but_what_is_at_work(tmp_path: Path, stage: str) -> None:
    session, model, _ = held(tmp_path, stage)
    model.step()
    model.wait_begun()  # the second is at work
    session.pause()
    assert session.state is RunState.PAUSED
    model.release()
    poll_until(session, lambda: n_done(session, stage) == 2)
    assert not model.begun.acquire(timeout=QUIET_S)
    assert session.running
    session.resume()
    session.wait(PATIENCE_S)
    seg = undisturbed(tmp_path, refine="none" if stage == "coarse" else "all")
    np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(seg))


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_a_pause_stops_before_the_next_batch(tmp_path: Path, stage: str) -> None:
    model = HeldModel()
    model.coarse_batch = model.refine_batch = 3
    session = open_session(tmp_path / "out", model=model)
    if stage == "refine":
        session.run_coarse()
        session.wait(PATIENCE_S)
    model.hold()
    (session.run_coarse if stage == "coarse" else lambda: session.refine_region(WHOLE))()
    model.wait_begun()
    session.pause()
    model.release()
    poll_until(session, lambda: n_done(session, stage) > 0)
    assert not model.begun.acquire(timeout=QUIET_S)
    assert session.state is RunState.PAUSED
    assert n_done(session, stage) <= 3  # the batch that was at work
    session.resume()
    model.wait_begun()
    session.wait(PATIENCE_S)
    assert n_done(session, stage) > 3


def let_pass(session: Session, model: HeldModel, stage: str, pieces: int) -> None:
    """Let so many pieces be computed; return when the job waits for the next one."""
    for _ in range(pieces):
        model.step()
        model.wait_begun()
    poll_until(session, lambda: n_done(session, stage) == pieces)
    assert not model.begun.acquire(timeout=QUIET_S)


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_after_cancel_nothing_is_computed_and_what_is_done_is_kept_and_told(
    tmp_path: Path, stage: str
) -> None:
    session, model, recorder = held(tmp_path, stage)
    let_pass(session, model, stage, 2)
    session.cancel()
    assert session.state is RunState.CANCELLING
    model.release()
    session.wait(PATIENCE_S)
    assert session.state is RunState.IDLE
    assert not model.begun.acquire(timeout=QUIET_S)
    assert n_done(session, stage) == 3
    signal = "windows_done" if stage == "coarse" else "chips_done"
    assert len([step for steps in recorder.all(signal) for step in steps]) == 3
    assert "cancelled; what was done is kept" in recorder.lines
    assert not recorder.errors
    if stage == "refine":
        plan = session.seg.plan(threshold=session.threshold)
        assert session.forecast.n_tiles == plan.n_tiles
        assert session.forecast.expected_dice_before == pytest.approx(plan.expected_dice_before)
        session.refine_region(WHOLE)
    else:
        assert not session.coarse_done
        session.run_coarse()
    session.wait(PATIENCE_S)
    seg = undisturbed(tmp_path, refine="none" if stage == "coarse" else "all")
    np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(seg))


def test_what_is_told_after_cancel_are_the_labels_on_disk(tmp_path: Path) -> None:
    session, model, recorder = held(tmp_path, "refine")
    let_pass(session, model, "refine", 4)
    session.cancel()
    model.release()
    session.wait(PATIENCE_S)
    steps = [step for steps in recorder.all("chips_done") for step in steps]
    assert len(steps) == 5
    for step in steps:
        inside = step.chip.core.clip(session.seg.grid.shape)
        np.testing.assert_array_equal(
            step.labels[: inside.height, : inside.width], session.seg.read_labels(inside)
        )
        assert step.labels.shape == step.chip.core.shape


def test_a_paused_run_can_be_cancelled(tmp_path: Path) -> None:
    session, model, recorder = held(tmp_path, "refine")
    session.pause()
    model.release()
    poll_until(session, lambda: n_done(session, "refine") == 1)
    session.cancel()
    session.wait(PATIENCE_S)
    assert n_done(session, "refine") == 1
    assert recorder.all("state_changed")[-3:] == [
        RunState.PAUSED, RunState.CANCELLING, RunState.IDLE,
    ]  # fmt: skip


def test_states_follow_what_runs(tmp_path: Path) -> None:
    model = HeldModel()
    session = open_session(tmp_path / "out", model=model)
    recorder = Recorder(session)
    model.hold()
    for run in (session.run_coarse, session.refine_next, session.run_coarse):
        run()
        session.pause()
        session.resume()
        model.release()
        session.wait(PATIENCE_S)
    coarse, refining = (
        [state, RunState.PAUSED, state, RunState.IDLE]
        for state in (RunState.COARSE, RunState.REFINING)
    )
    assert recorder.all("state_changed") == [*coarse, *refining, *coarse]


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_progress_counts_up_to_all_and_is_gone_in_the_end(tmp_path: Path, stage: str) -> None:
    session, model, recorder = held(tmp_path, stage)
    model.release()
    session.wait(PATIENCE_S)
    shown = [p for p in recorder.all("progress_changed") if p is not None and p.stage == stage]
    assert shown[0].done == 0
    assert shown[-1].done == shown[-1].total == n_done(session, stage)
    assert [p.done for p in shown] == sorted(p.done for p in shown)
    assert shown[-1].seconds_left == 0
    assert session.progress is None


def test_measuring_beside_a_run_leaves_its_progress_alone(tmp_path: Path) -> None:
    session, model, recorder = held(tmp_path, "refine")
    model.step()
    model.wait_begun()
    session.measure()
    poll_until(session, lambda: bool(recorder.all("measured")))
    assert session.progress.stage == "refine"
    assert session.progress.total == session.seg.states.size
    model.release()
    session.wait(PATIENCE_S)
    counted = [p.done for p in recorder.all("progress_changed") if p and p.stage == "refine"]
    assert counted == sorted(counted)
    assert counted[-1] == session.seg.states.size


def test_time_spent_in_a_pause_is_not_counted() -> None:
    watch = Stopwatch(started=100.0, paused_at=107.0)
    assert watch.seconds() == 7
    watch.pause()
    assert watch.seconds() == 7
    watch.resume()
    assert 7 <= watch.seconds() < 8


# -- what is looked at comes first -------------------------------------------------------------


def test_what_is_in_view_is_refined_first(tmp_path: Path) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", model=model)
    recorder = Recorder(session)
    view = ts.Box(40, 50, 60, 90)
    session.look_at(view)
    session.refine_region(WHOLE)
    session.wait(PATIENCE_S)
    order = [tile for s in recorder.all("chips_done") for step in s for tile in step.chip.tiles]
    inside = {tuple(t) for t in np.argwhere(session.seg.tiles_touching(view)).tolist()}
    assert set(order[: len(inside)]) == inside
    for part in (order[: len(inside)], order[len(inside) :]):
        scores = [session.seg.scores[tile] for tile in part]
        assert scores == sorted(scores, reverse=True)


def test_a_view_that_moves_is_followed(tmp_path: Path) -> None:
    session, model, recorder = held(tmp_path, "refine")
    left = session.seg.tiles_touching(ts.Box(64, 80, 70, 90))
    assert left.sum() == 1
    session.look_at(ts.Box(64, 80, 70, 90))
    model.release()
    session.wait(PATIENCE_S)
    order = [tile for s in recorder.all("chips_done") for step in s for tile in step.chip.tiles]
    ((row, column),) = np.argwhere(left).tolist()
    scores = sorted(session.seg.scores.ravel(), reverse=True)
    assert scores.index(session.seg.scores[row, column]) > 8  # its turn would come late
    assert order.index((row, column)) < 5


# -- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_a_new_session_goes_on_where_one_was_closed(tmp_path: Path, stage: str) -> None:
    session, model, _ = held(tmp_path, stage)
    model.step()
    model.wait_begun()
    threading.Timer(0.05, model.release).start()
    session.close()
    assert not session.busy
    again = open_session(tmp_path / "out", model=model)
    assert n_done(again, stage) == 2
    if stage == "coarse":
        again.run_coarse()
        again.wait(PATIENCE_S)
    again.refine_region(WHOLE)
    again.wait(PATIENCE_S)
    np.testing.assert_array_equal(
        whole_labels(again.seg), whole_labels(undisturbed(tmp_path, refine="all"))
    )


def test_an_edit_is_written_even_if_all_is_left_at_once(tmp_path: Path) -> None:
    session, model, _ = held(tmp_path, "refine")
    session.edit(ts.Box(0, 0, 9, 9))
    poll_until(session, lambda: session.editing is not None)
    session.export(tmp_path / "first.png")  # the edit waits for it
    painted = 1 - session.editing.labels
    session.commit_edit(painted)
    session.cancel()
    model.release()
    session.close()
    seg = ts.Segmentation.open(tmp_path / "out")
    np.testing.assert_array_equal(seg.read_labels(ts.Box(0, 0, 9, 9)), painted)


def test_closing_ends_all_threads_and_can_be_repeated(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    session, model, _ = held(tmp_path, "refine")
    session.measure()
    threading.Timer(0.05, model.release).start()
    session.close()
    session.close()
    ours = (
        "coarse",
        "refine",
        "measure",
        "catch up",
        "look for results",
        "write",
        "read-ahead",
        "compute",
    )
    started = [thread.name for thread in set(threading.enumerate()) - before]
    assert not [name for name in started if name.startswith(ours)]


def test_wait_says_when_it_takes_too_long_and_can_be_repeated(tmp_path: Path) -> None:
    session, model, _ = held(tmp_path, "refine")
    with pytest.raises(TimeoutError, match="wait again"):
        session.wait(0.05)
    model.release()
    session.wait(PATIENCE_S)
    assert n_done(session, "refine") == session.seg.states.size


def test_getting_ready_loads_the_model_that_then_runs(tmp_path: Path) -> None:
    session = Session()
    session.get_ready()  # nothing to load yet
    session.close()
    session = open_session(tmp_path / "out", model="nuclei")
    assert session.compute is None
    session.get_ready()
    loaded = session.wait(PATIENCE_S).compute
    session.run_coarse()
    assert session.wait(PATIENCE_S).compute is loaded is not None
    assert session.coarse_done
    session.close()
