"""In the window: labels before and after refinement, undo by keys, and paint that is not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QMessageBox
from tests.fakes import FakeModel, noise

import napari_twostage as ts
from napari_twostage.viewer.colormaps import Ink
from napari_twostage.viewer.compared_blocks import ComparedBlocks, inked
from napari_twostage.viewer.label_blocks import LabelBlocks
from napari_twostage.viewer.panel import unsaved_paint

if TYPE_CHECKING:
    from tests.viewer.conftest import Window

CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def refined(window: Window) -> Window:
    """The window with a result, all tiles of which are refined."""
    window.run_coarse()
    window.part("threshold").setValue(0.0)
    window.press("refine_uncertain")
    window.until(lambda: bool(window.panel.session.seg.refined.any()))
    window.settle()
    return window


def canvas(window: Window):
    return window.viewer.window._qt_viewer.canvas.native


def key(window: Window, *args: object) -> None:
    window.qtbot.keyClick(canvas(window), *args)
    window.settle()


def open_edit(window: Window):
    """Open an edit and paint in it; returns its layer."""
    window.press("edit_here")
    window.until(lambda: window.panel.layers.edit is not None)
    edit = window.panel.layers.edit
    edit.data_setitem((np.arange(4), np.arange(4)), 1 - edit.data[np.arange(4), np.arange(4)])
    return edit


def labels(window: Window) -> np.ndarray:
    seg = window.panel.session.seg
    return seg.read_labels(seg.grid.box)


# -- comparing ------------------------------------------------------------------------------------


def test_labels_before_refinement_and_changed_pixels_are_read_in_a_thread(tmp_path, qtbot) -> None:
    slide = ts.open_slide(noise(150, 130), mpp=(0.5, 0.5))
    seg = ts.segment(slide, FakeModel(), tmp_path / "out", refine="none", tissue=False)
    coarse = [
        seg.read_labels(ts.Box(0, 0, *shape), at) for at, shape in enumerate(seg.level_shapes)
    ]
    seg.refine(seg.plan(fraction=1.0))
    blocks = ComparedBlocks(seg, LabelBlocks(seg))
    seen = [np.array(level) for level in blocks.before]  # the labels now, until they are read
    assert (seen[0] == seg.read_labels(seg.grid.box)).all()
    qtbot.waitUntil(lambda: blocks.take() and len(blocks._blocks) == len(coarse) - 1)
    for level, before in zip(blocks.before, coarse, strict=True):
        np.testing.assert_array_equal(np.array(level), before)
    drawn = np.array(blocks.changed[-len(coarse)])
    np.testing.assert_array_equal(drawn == Ink.CHANGED, coarse[0] != seen[0])
    seg.undoing.undo_refinement()
    blocks.outdate(seg.grid.box)
    np.array(blocks.changed[-len(coarse)])
    qtbot.waitUntil(lambda: blocks.take() and not np.array(blocks.changed[-len(coarse)]).any())
    blocks.close()


def test_changed_pixels_have_a_rim() -> None:
    changed = np.zeros((5, 5), bool)
    changed[2, 2] = True
    assert inked(changed)[2].tolist() == [0, Ink.CHANGED_RIM, Ink.CHANGED, Ink.CHANGED_RIM, 0]


def test_a_held_key_shows_the_labels_before_refinement(window) -> None:
    refined(window)
    layers, comparison = window.panel.layers, window.panel.layers.comparison

    def hold(*args) -> None:
        window.qtbot.keyPress(canvas(window), *args)
        assert not layers.labels.visible
        assert [layer.visible for layer in comparison.layers] == [True]
        assert window.viewer.canvas.overlays.text.visible
        window.qtbot.keyRelease(canvas(window), Qt.Key.Key_C)
        assert layers.labels.visible
        assert not any(layer.visible for layer in comparison.layers)
        assert not window.viewer.canvas.overlays.text.visible

    active = window.viewer.layers.selection
    active.active = window.panel.slide_layer
    hold(Qt.Key.Key_C)
    active.active = layers.labels
    hold(Qt.Key.Key_C)
    active.active = layers.uncertainty
    hold(Qt.Key.Key_C)
    # a channel keeps napari's own C; the other key is ours there, too
    grey = window.viewer.add_image(np.arange(100.0).reshape(10, 10), contrast_limits=(3, 4))
    active.active = grey
    key(window, Qt.Key.Key_C)
    assert grey.contrast_limits == [0, 99]
    assert layers.labels.visible
    hold(Qt.Key.Key_C, SHIFT)


def test_the_panel_compares_marks_and_counts(window) -> None:
    window.run_coarse()
    for name in ("compare", "changed_pixels", "undo_refinement", "redo_refinement"):
        assert not window.enabled(name)
    refined(window)
    window.press("changed_pixels")
    window.until(lambda: window.panel.session.changes is not None)
    window.settle()
    said = window.part("changes").text()
    assert said == window.panel.session.changes.describe()
    assert said.startswith(f"{int(window.panel.session.seg.refined.sum())} tiles: ")
    comparison = window.panel.layers.comparison
    assert comparison.shows_changed
    window.press("compare")
    assert window.part("compare").isChecked()
    window.press("compare")
    assert not comparison.shows_before
    after = labels(window)
    window.press("undo_refinement")
    window.settle()
    assert (labels(window) != after).any()
    assert window.status.startswith("Refinement of")
    assert window.part("changes").isHidden()
    window.press("redo_refinement")
    window.settle()
    np.testing.assert_array_equal(labels(window), after)


# -- undo by keys ---------------------------------------------------------------------------------


def test_ctrl_z_undoes_strokes_while_an_edit_is_open_and_our_changes_else(window) -> None:
    refined(window)
    after = labels(window)
    edit = open_edit(window)
    painted = np.array(edit.data)
    active = window.viewer.layers.selection
    for layer in (edit, window.panel.slide_layer):
        active.active = layer
        key(window, Qt.Key.Key_Z, CTRL)
        assert (np.asarray(edit.data) != painted).any()
        key(window, Qt.Key.Key_Z, CTRL | SHIFT)
        np.testing.assert_array_equal(edit.data, painted)
    assert window.panel.session.seg.refined.any()
    window.press("commit_edit")
    window.until(lambda: len(window.panel.session.seg.edit_boxes) == 1)
    window.settle()
    edited = labels(window)

    active.active = window.panel.layers.labels
    key(window, Qt.Key.Key_Z, CTRL)
    assert window.status.startswith("The last edit was taken back.")
    np.testing.assert_array_equal(labels(window), after)
    active.active = window.panel.slide_layer
    key(window, Qt.Key.Key_Z, CTRL)
    assert window.status.startswith("Refinement of")
    assert not window.panel.session.seg.refined.any()
    key(window, Qt.Key.Key_Z, CTRL)
    assert window.status.startswith("Nothing to undo.")
    for _ in range(2):
        key(window, Qt.Key.Key_Z, CTRL | SHIFT)
    np.testing.assert_array_equal(labels(window), edited)


def test_labels_of_the_user_keep_their_own_undo(window) -> None:
    refined(window)
    own = window.viewer.add_labels(np.zeros((20, 20), np.uint8))
    own.paint((5, 5), 1)
    window.viewer.layers.selection.active = own
    key(window, Qt.Key.Key_Z, CTRL)
    assert not own.data.any()
    assert window.panel.session.seg.refined.any()


def test_the_panel_redoes_an_edit(window) -> None:
    window.run_coarse()
    open_edit(window)
    window.press("commit_edit")
    window.until(lambda: len(window.panel.session.seg.edit_boxes) == 1)
    window.settle()
    edited = labels(window)
    assert not window.enabled("redo_edit")
    window.press("undo_edit")
    window.settle()
    assert (labels(window) != edited).any()
    window.press("redo_edit")
    window.settle()
    np.testing.assert_array_equal(labels(window), edited)


# -- paint is not lost ----------------------------------------------------------------------------


def test_an_edit_whose_layer_is_removed_is_discarded_and_can_be_had_back(window) -> None:
    window.run_coarse()
    before = labels(window)
    edit = open_edit(window)
    assert edit.bounding_box.visible
    painted = np.array(edit.data)
    window.viewer.layers.remove(edit)
    window.panel._actions._host.do(window.panel._actions.commit_edit)  # before the panel knows
    assert "No edit is open" in window.status
    window.until(lambda: window.panel.session.editing is None)
    window.until(lambda: not window.enabled("commit_edit"))
    np.testing.assert_array_equal(labels(window), before)
    window.press("bring_back")
    window.until(lambda: window.panel.layers.edit is not None)
    assert window.panel.layers.edit in window.viewer.layers
    np.testing.assert_array_equal(window.panel.layers.edit.data, painted)
    window.press("commit_edit")
    window.until(lambda: len(window.panel.session.seg.edit_boxes) == 1)
    window.settle()
    assert (labels(window) != before).sum() == 4


def test_closing_the_panel_saves_what_was_painted(window, monkeypatch) -> None:
    window.run_coarse()
    said: list[str] = []
    monkeypatch.setattr("napari_twostage.viewer.widget.show_info", said.append)
    seg, before = window.panel.session.seg, labels(window)
    open_edit(window)
    window.close_panel()
    assert (
        ts.Segmentation.open(seg.path, slide=seg.slide).read_labels(seg.grid.box) != before
    ).sum() == 4
    assert len(said) == 1
    assert "kept as an edit" in said[0]


@pytest.mark.parametrize("answer", ["Save", "Discard", "Cancel"])
def test_closing_the_window_asks_about_what_was_painted(window, monkeypatch, answer) -> None:
    window.run_coarse()
    asked: list[str] = []

    def question(_parent, _title, text, *_) -> object:
        asked.append(text)
        return getattr(QMessageBox.StandardButton, answer)

    monkeypatch.setattr(QMessageBox, "question", question)
    monkeypatch.setattr(
        unsaved_paint.UnsavedPaint, "_can_ask", True
    )  # as in a window that is shown
    main, session, before = window.viewer.window._qt_window, window.panel.session, labels(window)

    def close() -> bool:
        """Close the window, up to napari's own part of it; whether it may go on."""
        return not window.panel._unsaved.eventFilter(main, QCloseEvent())

    assert close()
    assert not asked
    open_edit(window)
    if answer == "Cancel":
        assert not main.close()  # napari's own part is not reached
        assert session.editing is not None
        window.press("discard_edit")
    else:
        assert close()
        assert session.editing is None
    assert len(asked) == 1
    assert "not saved" in asked[0]
    assert (labels(window) != before).sum() == (4 if answer == "Save" else 0)
