"""Ways to go on after trouble: resume, save again, repair, take over; and other windows' work."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
from napari_twostage.errors import LockedError, SelectionError, TwoStageError
from napari_twostage.measure.completeness import Completeness
from napari_twostage.method.selection import NOTHING, Selection
from napari_twostage.result.result import Result
from napari_twostage.session import EditState, RunState, WayOn, following, tasks
from napari_twostage.session.advice import describe_missing
from napari_twostage.session.stopped_run import StoppedRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_twostage.session import Session

WHOLE = ts.Box(0, 0, 70, 90)
PLACE = ts.Box(0, 0, 20, 20)
ELSEWHERE = {
    "host": "microscope-3",
    "process": 12,
    "process_started": 1.0,
    "program": "napari",
    "since": "2026-11-29T14:00:00+00:00",
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither wait long for a lock, nor look seldom for what others wrote."""
    monkeypatch.setattr("napari_twostage.result.writer_lock.PATIENCE_S", 0.05)
    monkeypatch.setattr(following, "FOLLOW_S", 0.0)


def settle(session: Session) -> str:
    """Wait for the end of all jobs, failed or not; return the line in the window."""
    try:
        session.wait(PATIENCE_S)
    except TwoStageError:
        session.wait(PATIENCE_S)
    return session.notice.text


def paint(session: Session, value: int = 1, place: ts.Box = PLACE) -> np.ndarray:
    """Open an edit and commit it with all pixels but one of another class; return the labels."""
    session.edit(place)
    session.wait(PATIENCE_S)
    labels = np.full_like(session.editing.labels, value)
    labels[0, 0] = 1 - session.editing.labels[0, 0]
    session.commit_edit(labels)
    return labels


@contextmanager
def written_by_another(session: Session) -> Iterator[None]:
    """Hold the lock as another window of this process would."""
    with Result.open(session.out)._files.lock.hold():
        yield


def has_begun(seg: ts.Segmentation, stage: str) -> bool:
    return bool(seg.windows_done) if stage == "coarse" else bool(seg.refined.any())


# -- runs ------------------------------------------------------------------------------------------


def test_a_result_that_another_window_writes_is_shown_and_goes_on_later(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    with written_by_another(session):
        session.refine_region(WHOLE)
        line = settle(session)
        assert line.startswith("out is being written by another window of this program since 20")
        assert line.endswith("; wait until it is done and press Continue")
        assert session.ways == [WayOn.RESUME]
        assert session.missing == "being written elsewhere"
        other = open_session(session.out)
        assert "it is shown, and can be changed once that is done" in other.notice.text
        assert other.seg is not None
        assert other.coarse_done
        assert WayOn.RESUME not in other.ways
        np.testing.assert_array_equal(whole_labels(other.seg), whole_labels(session.seg))
    poll_until(other, lambda: other.missing == "")  # the lock was let go of
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.all()
    assert (session.ways, session.missing) == ([], "")


def test_a_lock_of_another_machine_is_taken_over_by_a_button(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    (session.out / "lock.json").write_text(json.dumps(ELSEWHERE))
    session.refine_next(2)
    line = settle(session)
    assert "napari, process 12 on microscope-3 since 2026-11-29" in line
    assert line.endswith("; if that no longer runs, press Take over")
    assert session.ways == [WayOn.RESUME, WayOn.TAKE_OVER]
    session.take_over()
    assert session.ways == [WayOn.RESUME]
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.sum() == 2


def test_a_lock_of_this_machine_is_not_taken_over(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    with written_by_another(session), pytest.raises(LockedError):
        session.take_over()


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_a_stopped_run_is_shown_as_stopped_and_resumed_in_the_next_window(
    tmp_path: Path, stage: str
) -> None:
    model = HeldModel()
    session = (open_session if stage == "coarse" else coarse_session)(tmp_path / "out", None, model)
    model.hold(stage)
    if stage == "coarse":
        session.run_coarse()
    else:
        session.refine_region(WHOLE)
    model.wait_begun()
    model.step()
    poll_until(session, lambda: session.seg is not None and has_begun(session.seg, stage))
    session.cancel()
    model.release()
    session.wait(PATIENCE_S)
    assert session.ways == [WayOn.RESUME]
    assert session.missing.startswith("stopped: ")
    assert session.missing.endswith("windows" if stage == "coarse" else "30 tiles")
    session.close()

    again = open_session(tmp_path / "out", None, model)
    assert again.missing.startswith("stopped: ")
    assert again.missing in again.notice.text
    assert again.notice.kind == "warning"
    assert again.ways == [WayOn.RESUME]
    again.resume()
    again.wait(PATIENCE_S)
    assert again.coarse_done
    assert bool(again.seg.refined.all()) == (stage == "refine")
    assert (again.ways, again.missing) == ([], "")


def test_a_run_of_both_stages_is_resumed_through_both(tmp_path: Path) -> None:
    steps = ts.iter_segment(
        noise_slide(), FakeModel(), tmp_path / "out", tissue=False, refine="all"
    )
    for step in steps:
        if type(step).__name__ == "CoarsePassStarted":
            break
    steps.close()
    session = open_session(tmp_path / "out")
    assert session.ways == [WayOn.RESUME]
    assert not session.coarse_done
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.all()


def test_a_number_of_tiles_is_gone_on_with_not_begun_again(tmp_path: Path) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", None, model)
    session.refine_next(3)
    session.wait(PATIENCE_S)
    model.hold("refine")
    session.refine_next(10)
    model.wait_begun()
    model.step()
    poll_until(session, lambda: session.seg.refined.sum() > 3)
    session.cancel()
    model.release()
    session.wait(PATIENCE_S)
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.sum() == 13


def test_an_export_and_measurements_of_a_stopped_run_say_so(tmp_path: Path) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", None, model)
    model.hold("refine")
    session.refine_region(WHOLE)
    model.wait_begun()
    session.cancel()
    model.release()
    session.wait(PATIENCE_S)
    session.export(tmp_path / "a.geojson")
    session.wait(PATIENCE_S)
    assert session.notice.kind == "warning"
    assert f"it is not all of the slide ({session.missing})" in session.notice.text
    session.resume()
    session.wait(PATIENCE_S)
    session.export(tmp_path / "b.geojson")
    session.wait(PATIENCE_S)
    assert session.notice.kind == "info"


def test_a_folder_that_goes_away_in_a_run_is_gone_on_with_when_it_is_back(tmp_path: Path) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", None, model)
    model.hold("refine")
    session.refine_region(WHOLE)
    model.wait_begun()
    model.step()
    poll_until(session, lambda: session.seg.refined.sum() > 0)
    shutil.move(session.out, tmp_path / "away")
    model.release()
    line = settle(session)
    assert "no such file, folder or drive, or no longer; bring it back and press Continue" in line
    assert session.seg is not None
    assert not session.out.exists()  # a drive that is mounted there again must find nothing
    assert session.ways == [WayOn.RESUME]
    assert session.missing
    shutil.move(tmp_path / "away", session.out)
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.all()
    np.testing.assert_array_equal(ts.Segmentation.open(session.out).refined, session.seg.refined)


def test_a_result_that_was_removed_is_begun_anew_by_coarse(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    shutil.rmtree(session.out)
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.coarse_done
    assert session.seg.coarse_complete
    assert session.out.exists()


def test_too_little_memory_is_told_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = coarse_session(tmp_path / "out")

    def refuse(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(FakeModel, "refine", refuse)
        session.refine_region(WHOLE)
        line = settle(session)
    assert line == "there is too little free memory; close other programs and press Continue"
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.all()


# -- edits ---------------------------------------------------------------------------------------


def test_an_edit_that_cannot_be_written_stays_and_nothing_may_throw_it_away(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    with written_by_another(session):
        labels = paint(session)
        assert settle(session).endswith("; wait until it is done and press Save again")
        assert session.edit_state is EditState.OPEN
        assert session.ways == [WayOn.SAVE]
        for leave in (
            lambda: session.set_out(tmp_path / "other"),
            lambda: session.set_model(FakeModel()),
            lambda: session.set_slide(noise_slide(seed=3)),
        ):
            with pytest.raises(SelectionError, match="could not be saved yet"):
                leave()
        assert session.edit_state is EditState.OPEN
    session.commit_edit(labels)
    session.wait(PATIENCE_S)
    assert session.ways == []
    np.testing.assert_array_equal(session.seg.read_labels(PLACE), labels)


def test_a_discarded_edit_is_no_longer_held_back(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    with written_by_another(session):
        paint(session)
        settle(session)
    session.discard_edit()
    assert session.ways == []
    session.set_out(tmp_path / "other")
    session.wait(PATIENCE_S)


def test_closing_while_an_edit_cannot_be_written_raises_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device", "undo/0.npz")

    monkeypatch.setattr(tasks, "write_edit", refuse)
    paint(session)
    with caplog.at_level(logging.ERROR):
        session.close()
    line = "what you painted last could not be saved: undo/0.npz: the disk is full"
    assert recorder.errors[-1].startswith(line)
    assert [record.getMessage() for record in caplog.records] == recorder.errors[-1:]


def test_edits_of_two_windows_are_seen_in_both_and_undone_where_they_were_made(
    tmp_path: Path,
) -> None:
    one = coarse_session(tmp_path / "out")
    two = open_session(tmp_path / "out")
    recorder = Recorder(two)
    first = paint(one)
    one.wait(PATIENCE_S)
    poll_until(two, lambda: bool(recorder.all("labels_edited")))
    assert recorder.all("labels_edited") == [PLACE]
    np.testing.assert_array_equal(two.seg.read_labels(PLACE), first)

    two.undo_edit()
    assert "made in another window; undo them there" in settle(two)
    place = ts.Box(40, 40, 60, 60)
    second = paint(two, 0, place)
    two.wait(PATIENCE_S)
    one.undo_edit()
    one.wait(PATIENCE_S)
    assert one.seg.edit_boxes == two.seg.edit_boxes or settle(two) is not None
    np.testing.assert_array_equal(one.seg.read_labels(place), second)
    assert len(one.seg.edit_boxes) == 1
    poll_until(two, lambda: PLACE in recorder.all("labels_edited")[1:])
    assert not two.busy or settle(two) is not None
    assert len(two.seg.edit_boxes) == 1


def test_an_edit_stays_open_while_another_window_edits(tmp_path: Path) -> None:
    one, two = coarse_session(tmp_path / "out"), open_session(tmp_path / "out")
    two.edit(PLACE)
    two.wait(PATIENCE_S)
    recorder = Recorder(two)
    paint(one, place=ts.Box(40, 40, 60, 60))
    one.wait(PATIENCE_S)
    poll_until(two, lambda: bool(recorder.all("labels_edited")))
    assert two.edit_state is EditState.OPEN


def test_the_run_of_another_process_is_followed(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)
    other = ts.Segmentation.open(session.out, slide=noise_slide(), model=FakeModel())
    other.refine(other.plan(n_tiles=4))
    poll_until(session, lambda: bool(recorder.all("chips_done")))
    poll_until(session, lambda: not session.busy)
    assert sum(len(step.chip.tiles) for steps in recorder.all("chips_done") for step in steps) == 4
    np.testing.assert_array_equal(session.seg.refined, other.refined)


# -- damage --------------------------------------------------------------------------------------


def spoil(folder: Path, name: str) -> None:
    """Replace the end of one file of a result."""
    file = next(file for file in sorted((folder / name).rglob("c/**/*")) if file.is_file())
    content = bytearray(file.read_bytes())
    content[-20:] = bytes(20)
    file.write_bytes(content)


def refined_session(out: Path, model: FakeModel | None = None) -> Session:
    session = coarse_session(out, None, model)
    session.refine_region(WHOLE)
    return session.wait(PATIENCE_S)


@pytest.mark.parametrize("name", ["refined", "coarse/logits"])
def test_a_damaged_file_is_told_once_repaired_and_computed_again(tmp_path: Path, name: str) -> None:
    session = refined_session(tmp_path / "out")
    before = whole_labels(session.seg)
    session.close()
    spoil(tmp_path / "out", name)
    session = open_session(tmp_path / "out")
    recorder = Recorder(session)
    for _ in range(3):
        try:
            session.seg.read_logits(session.seg.coarse_grid.box)
            whole_labels(session.seg)
        except TwoStageError as error:
            session.report(error)
    (line,) = recorder.errors
    assert line.startswith(f"out/{name}/c/")
    assert line.endswith("press Repair to restore it or compute it again")
    assert session.ways == [WayOn.REPAIR]
    session.repair()
    session.wait(PATIENCE_S)
    assert session.notice.text.startswith("repaired: ")
    assert session.notice.text.endswith("to compute again; press Continue")
    assert session.ways == [WayOn.RESUME]
    assert session.missing
    assert recorder.all("labels_edited") == [session.seg.grid.box]
    session.resume()
    session.wait(PATIENCE_S)
    assert session.seg.refined.all()
    assert (session.ways, session.missing) == ([], "")
    np.testing.assert_array_equal(whole_labels(session.seg), before)
    assert session.seg.check() == []


def test_files_that_were_removed_from_an_open_result_are_made_again(tmp_path: Path) -> None:
    session = refined_session(tmp_path / "out")
    before = whole_labels(session.seg)
    shutil.rmtree(tmp_path / "out" / "refined" / "c")
    session.repair()
    assert settle(session) == "repaired: 30 parts to compute again; press Continue"
    session.resume()
    session.wait(PATIENCE_S)
    np.testing.assert_array_equal(whole_labels(session.seg), before)
    assert session.seg.check() == []


def test_a_result_that_cannot_be_opened_is_repaired_and_opened(tmp_path: Path) -> None:
    session = refined_session(tmp_path / "out")
    session.close()
    (tmp_path / "out" / "record.json").write_bytes(bytes(200))
    session = ts.Session()
    session.set_slide(noise_slide())
    session.set_model(FakeModel())
    session.wait(PATIENCE_S)
    session.set_out(tmp_path / "out")
    assert settle(session).startswith("out/record.json is damaged")
    assert session.seg is None
    assert session.ways == [WayOn.REPAIR]
    session.repair()
    session.wait(PATIENCE_S)
    assert session.seg is not None
    assert session.seg.refined.all()


def test_a_damaged_record_beside_the_slide_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    session = ts.Session()
    session.set_slide(noise_slide())
    session.set_model(FakeModel())
    session.wait(PATIENCE_S)
    session.set_options(tissue_only=False)
    session.run_coarse()
    session.wait(PATIENCE_S)
    out = session.out
    session.close()
    (out / "record.json").write_bytes(b"{}")
    again = ts.Session()
    again.set_slide(noise_slide())
    again.set_model(FakeModel())
    assert "record.json is damaged" in settle(again)
    again.repair()
    again.wait(PATIENCE_S)
    assert again.seg.path == out
    assert [path.name for path in out.parent.iterdir() if path.name.endswith(".zarr")] == [out.name]


def test_a_sound_result_is_found_sound(tmp_path: Path) -> None:
    session = refined_session(tmp_path / "out")
    session.repair()
    session.wait(PATIENCE_S)
    assert session.notice.text == "all parts were checked: nothing is damaged"
    assert session.seg.refined.all()


def test_nothing_is_repaired_without_a_result_or_during_a_run(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="no result to repair"):
        ts.Session().repair()
    model = HeldModel()
    session = open_session(tmp_path / "out", None, model)
    model.hold()
    session.run_coarse()
    with pytest.raises(SelectionError, match="something runs"):
        session.repair()
    model.release()
    session.wait(PATIENCE_S)
    session.resume()  # nothing was stopped
    assert session.state is RunState.IDLE


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tissue_known": False}, "stopped: no tissue found yet"),
        ({"coarse_complete": False}, "stopped: 41 of 120 windows"),
        ({"tiles_left": 28}, "stopped: 12 of 40 tiles"),
        ({"tiles_left": None}, "stopped before its end"),
        ({"run_finished": True, "tiles_failed": 1}, "1 tile failed"),
        ({"run_finished": True}, ""),
    ],
)
def test_what_is_missing_is_said_in_a_few_words(values: dict[str, Any], words: str) -> None:
    base: dict[str, Any] = {
        "tissue_known": True,
        "windows_done": 41,
        "windows_needed": 120,
        "coarse_complete": True,
        "run_finished": False,
        "tiles_selected": 40,
        "tiles_left": 0,
        "tiles_failed": 0,
    }
    assert describe_missing(Completeness(**{**base, **values})) == words


@pytest.mark.parametrize(
    "selection",
    [
        NOTHING,
        Selection(n_tiles=3),
        Selection(threshold=0.2, region=ts.Box(1, 2, 3, 4)),
        Selection(
            region=(((0.0, 0.0), (5.5, 0.0), (5.0, 5.0)), ((1.0, 1.0), (2.0, 1.0), (2.0, 2)))
        ),
    ],
)
def test_a_selection_comes_back_from_the_record(selection: Selection) -> None:
    assert Selection.from_dict(json.loads(json.dumps(selection.as_dict()))) == selection


def test_lost_tiles_are_selected_and_no_others(tmp_path: Path) -> None:
    seg = coarse_session(tmp_path / "out").seg
    wanted = [[0, 0], [2, 3], [4, 5]]
    plan = seg.select(StoppedRun.of_tiles(seg, wanted).wanted)
    assert sorted(map(list, plan.tiles)) == wanted
