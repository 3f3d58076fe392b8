"""The edit from reading to writing, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.session.helpers import PATIENCE_S, Recorder, coarse_session

import napari_twostage as ts
from napari_twostage.errors import SelectionError, TwoStageError
from napari_twostage.session import EditState, Session, tasks

if TYPE_CHECKING:
    from pathlib import Path

PLACE = ts.Box(0, 0, 9, 9)


def editing(out: Path) -> Session:
    session = coarse_session(out)
    session.edit(PLACE)
    return session


def fail(*_: object) -> Any:
    raise OSError(28, "No space left on device")


def test_only_an_open_edit_is_committed_or_discarded(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)
    labels = np.ones((9, 9), np.uint8)

    def refused(reason: str) -> None:
        state = session.edit_state
        for act in (lambda: session.commit_edit(labels), session.discard_edit):
            with pytest.raises(SelectionError, match=reason):
                act()
        assert session.edit_state is state

    refused("no edit is open")
    session.edit(PLACE)
    assert session.edit_state is EditState.READING
    refused("no edit is open")
    session.wait(PATIENCE_S)
    assert session.edit_state is EditState.OPEN
    session.commit_edit(1 - session.editing.labels)
    assert session.edit_state is EditState.WRITING
    refused("is being written already")
    with pytest.raises(SelectionError, match="another edit"):
        session.edit(PLACE)
    session.wait(PATIENCE_S)
    assert session.edit_state is EditState.NONE
    assert [len(recorder.all(name)) for name in ("edit_started", "edit_ended")] == [1, 1]


def test_an_edit_that_cannot_be_read_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "read_patch", fail)
        session.edit(PLACE)
        with pytest.raises(TwoStageError, match="disk is full"):
            session.wait(PATIENCE_S)
    assert session.edit_state is EditState.NONE
    session.edit(PLACE)
    session.wait(PATIENCE_S)
    assert session.edit_state is EditState.OPEN
    assert not recorder.all("edit_ended")


def test_an_edit_that_cannot_be_written_stays_open_and_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = editing(tmp_path / "out")
    session.wait(PATIENCE_S)
    painted = 1 - session.editing.labels
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "write_edit", fail)
        session.commit_edit(painted)
        with pytest.raises(TwoStageError, match="disk is full"):
            session.wait(PATIENCE_S)
    assert session.edit_state is EditState.OPEN
    assert session.editing is not None
    session.commit_edit(painted)
    session.wait(PATIENCE_S)
    assert session.edit_state is EditState.NONE
    np.testing.assert_array_equal(session.seg.read_labels(PLACE), painted)


def test_a_cancelled_edit_is_closed(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    session.measure()
    session.edit(PLACE)  # waits for the measurement
    session.cancel()
    session.wait(PATIENCE_S)
    assert session.edit_state in (EditState.NONE, EditState.OPEN)  # it may just have been read
    if session.edit_state is EditState.OPEN:
        session.discard_edit()
    assert session.editing is None
