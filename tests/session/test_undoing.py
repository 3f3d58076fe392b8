"""Refinement and edits are undone and made again, also after the result was opened anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import noise_slide
from tests.session.helpers import (
    PATIENCE_S,
    HeldModel,
    coarse_session,
    open_session,
    poll_until,
    whole_labels,
)

import napari_twostage as ts
from napari_twostage.errors import SelectionError
from napari_twostage.method.tiling import TileState
from napari_twostage.result.undoing import Change

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.session import Session

PLACE = ts.Box(0, 0, 9, 9)


def refine(session: Session, n_tiles: int) -> None:
    session.refine_next(n_tiles)
    session.wait(PATIENCE_S)


def paint(session: Session) -> None:
    """Turn every label of a place, as an edit."""
    session.edit(PLACE)
    session.wait(PATIENCE_S)
    session.commit_edit(1 - session.editing.labels)
    session.wait(PATIENCE_S)


def undo(session: Session) -> str:
    session.history.undo()
    session.wait(PATIENCE_S)
    return session.notice.text


def redo(session: Session) -> str:
    session.history.redo()
    session.wait(PATIENCE_S)
    return session.notice.text


def seen(out: Path) -> np.ndarray:
    """Labels as somebody else reads them."""
    return whole_labels(ts.Segmentation.open(out, slide=noise_slide()))


def test_refinement_is_undone_run_by_run_and_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    session = coarse_session(out)
    coarse = whole_labels(session.seg)
    refine(session, 3)
    first = whole_labels(session.seg)
    refine(session, 2)
    second = whole_labels(session.seg)
    assert (coarse != first).any()
    assert (first != second).any()

    assert undo(session).startswith("refinement of 2 tiles undone")
    np.testing.assert_array_equal(seen(out), first)
    assert int(session.reported.tiles.sum()) == 3
    again = open_session(out)  # the rest is undone in another window
    assert undo(again).startswith("refinement of 3 tiles undone")
    np.testing.assert_array_equal(seen(out), coarse)
    assert not (again.seg.states == TileState.REFINED).any()
    assert undo(again) == "nothing to undo"
    assert redo(again) == "refinement of 3 tiles is back"
    np.testing.assert_array_equal(seen(out), first)
    assert not again.seg.check()


def test_the_way_is_edits_and_refinement_in_the_order_they_were_made(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    coarse = whole_labels(session.seg)
    paint(session)
    refine(session, 30)
    both = whole_labels(session.seg)
    assert session.history.next_undo is Change.REFINEMENT
    undo(session)
    painted = whole_labels(session.seg)
    np.testing.assert_array_equal(painted[9:], coarse[9:])
    np.testing.assert_array_equal(painted[PLACE.slices], 1 - coarse[PLACE.slices])
    assert undo(session) == "the last edit was taken back"
    np.testing.assert_array_equal(whole_labels(session.seg), coarse)
    assert redo(session) == "the edit is back"
    redo(session)
    np.testing.assert_array_equal(whole_labels(session.seg), both)
    np.testing.assert_array_equal(seen(session.seg.path), both)


def test_a_new_change_ends_what_can_be_made_again(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    paint(session)
    refine(session, 1)
    undo(session)
    paint(session)
    assert session.history.next_redo() is None
    before = whole_labels(session.seg)
    assert redo(session) == "nothing to redo"
    np.testing.assert_array_equal(whole_labels(session.seg), before)
    undo(session)
    assert session.history.next_redo() is Change.EDIT


def test_an_undone_run_is_neither_resumed_nor_in_the_script(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    refine(session, 3)
    assert "n_tiles=3" in session.as_python()
    undo(session)
    assert "n_tiles" not in session.as_python()
    assert not session.missing
    assert not session.ways
    again = open_session(tmp_path / "out")
    assert not again.missing
    redo(session)
    assert "n_tiles=3" in session.as_python()


def test_another_window_sees_that_refinement_was_undone(tmp_path: Path) -> None:
    one = coarse_session(tmp_path / "out")
    coarse = whole_labels(one.seg)
    refine(one, 4)
    two = open_session(tmp_path / "out")
    undo(one)
    poll_until(two, lambda: not two.reported.tiles.any())
    np.testing.assert_array_equal(whole_labels(two.seg), coarse)


def test_nothing_is_undone_below_a_run(tmp_path: Path) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", model=model)
    refine(session, 2)
    model.hold("refine")
    session.refine_next(2)
    model.wait_begun()
    assert not session.history.can_undo_refinement
    with pytest.raises(SelectionError, match="a run is under way"):
        session.history.undo_refinement()
    model.release()
    session.wait(PATIENCE_S)
    assert undo(session).startswith("refinement of 2 tiles")


def test_undo_pressed_twice_at_once_undoes_two_changes(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    coarse = whole_labels(session.seg)
    refine(session, 2)
    paint(session)
    both = whole_labels(session.seg)
    session.history.undo()
    undo(session)
    np.testing.assert_array_equal(whole_labels(session.seg), coarse)
    session.history.redo()
    redo(session)
    np.testing.assert_array_equal(whole_labels(session.seg), both)


def test_discarded_paint_is_brought_back(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    session.edit(PLACE)
    session.wait(PATIENCE_S)
    before = session.editing.labels
    painted = before.copy()
    painted[2:5, 3] = 1 - painted[2:5, 3]
    session.discard_edit(painted)
    assert session.editing is None
    undo(session)  # nearer than any edit that was committed
    np.testing.assert_array_equal(session.editing.painted, painted)
    np.testing.assert_array_equal(session.editing.labels, before)
    session.discard_edit(before)
    assert undo(session) == "nothing to undo"
    assert session.editing is None


def test_what_was_done_after_paint_was_discarded_is_undone_first(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    session.edit(PLACE)
    session.wait(PATIENCE_S)
    session.discard_edit(1 - session.editing.labels)
    refine(session, 1)
    assert undo(session).startswith("refinement of 1 tile undone")
    session.history.bring_back_paint()
    session.wait(PATIENCE_S)
    assert session.editing is not None


def test_what_refinement_changed_is_counted_until_labels_change(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    coarse = whole_labels(session.seg)
    refine(session, 4)
    session.compare()
    session.wait(PATIENCE_S)
    assert session.changes.tiles == 4
    assert session.changes.changed == (whole_labels(session.seg) != coarse).sum() > 0
    undo(session)
    assert session.changes is None
