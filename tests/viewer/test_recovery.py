"""Trouble in a real window: one line, a button that goes on, and nothing that is lost."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox
from tests.fakes import FakeModel
from tests.session.helpers import HeldModel
from tests.session.test_recovery import ELSEWHERE, spoil
from tests.viewer.conftest import Window, clipped

from napari_twostage.errors import TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.result.result import Result
from napari_twostage.session import EditState, tasks
from napari_twostage.viewer.drawn_levels import FINE_LEVEL
from napari_twostage.viewer.lazy_levels import label_levels
from napari_twostage.viewer.tolerant_reader import TolerantReader

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ("save_again", "resume", "repair", "take_over")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.result.writer_lock.PATIENCE_S", 0.05)


@pytest.fixture(autouse=True)
def _no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail if anything reaches napari's dialog of tracebacks."""
    raised: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append(error))
    yield
    assert not raised


def offered(window: Window) -> set[str]:
    """Buttons to go on that are visible."""
    return {name for name in WAYS if window.part(name).isVisibleTo(window.panel)}


def paint(window: Window) -> np.ndarray:
    """Paint on an edit, and press Commit."""
    window.press("edit_here")
    window.until(lambda: window.panel.session.edit_state is EditState.OPEN)
    layer = window.panel.layers.edit
    layer.data[10:30, 10:30] = 1 - layer.data[10:30, 10:30]
    labels = np.array(layer.data)
    window.press("commit_edit")
    return labels


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device", "undo/0.npz")


def shown(window: Window) -> np.ndarray:
    return np.asarray(window.panel.layers.labels.data[FINE_LEVEL][:])


def test_what_could_not_be_saved_stays_painted_and_is_saved_again(
    window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.run_coarse()
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "write_edit", refuse)
        labels = paint(window)
        window.until(lambda: window.part("status").kind == "error")
        window.settle()
    assert window.status == "undo/0.npz: the disk is full; free space and press Save again."
    assert offered(window) == {"save_again"}
    np.testing.assert_array_equal(window.panel.layers.edit.data, labels)
    window.panel.layers.edit.data[40:50, 40:50] = 1  # painted on meanwhile
    box = window.panel.session.editing.box
    labels = np.array(window.panel.layers.edit.data)
    window.press("save_again")
    window.until(lambda: window.panel.session.edit_state is EditState.NONE)
    window.settle()
    assert offered(window) == set()
    np.testing.assert_array_equal(window.panel.session.seg.read_labels(box), labels)


def test_a_full_disk_in_a_run_is_one_line_and_resume(
    window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.run_coarse()
    with monkeypatch.context() as patched:
        patched.setattr("napari_twostage.result.label_store.LabelStore.write_tile", refuse)
        window.press("refine_visible")
        window.until(lambda: window.part("status").kind == "error")
        window.settle()
    assert window.status.endswith("the disk is full; free space and press Continue.")
    assert "\n" not in window.status
    assert offered(window) == {"resume"}
    assert clipped(window.panel) == []
    window.press("resume")
    window.until(lambda: bool(window.panel.session.seg.refined.all()))
    window.settle()
    assert offered(window) == set()


def test_a_stopped_run_is_not_shown_as_finished(window) -> None:
    model = HeldModel()
    window.use(model)
    window.panel.session.set_options(tissue_only=False)
    window.run_coarse()
    model.hold("refine")
    window.press("refine_visible")
    model.wait_begun()
    model.step()
    window.until(lambda: bool(window.panel.session.seg.refined.any()))
    window.press("cancel")
    model.release()
    window.settle()
    window.until(lambda: window.panel.session.missing.startswith("stopped: "))
    window.settle()
    missing = window.panel.session.missing
    assert window.panel.refine_section.status == missing
    assert missing in window.panel.results_section._note.text()
    window.press("measure")
    window.until(lambda: window.panel.session.tally is not None)
    window.settle()
    assert window.panel.results_section._note.text() == f"Only of what is done ({missing})."
    assert offered(window) == {"resume"}
    window.press("resume")
    window.until(lambda: bool(window.panel.session.seg.refined.all()))
    window.settle()
    assert "stopped" not in window.panel.refine_section.status


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_a_result_of_another_machine_is_taken_over_after_a_question(
    window, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    window.run_coarse()
    session = window.panel.session
    (session.out / "lock.json").write_text(json.dumps(ELSEWHERE))
    window.press("refine_visible")
    window.until(lambda: window.part("status").kind == "error")
    window.settle()
    assert "napari, process 12 on microscope-3" in window.status
    assert offered(window) == {"resume", "take_over"}
    asked = []
    monkeypatch.setattr(
        QMessageBox,
        "question",
        lambda *words: asked.append(words) or getattr(QMessageBox.StandardButton, answer),
    )
    window.press("take_over")
    assert len(asked) == 1
    if answer == "No":
        assert (session.out / "lock.json").exists()
        assert offered(window) == {"resume", "take_over"}
        return
    window.press("resume")
    window.until(lambda: bool(session.seg.refined.all()))


@pytest.mark.parametrize("name", ["refined", "coarse/logits"])
def test_a_damaged_file_is_shown_around_and_repaired(window, name: str) -> None:
    window.run_coarse()
    if name == "refined":
        window.press("refine_visible")
        window.until(lambda: bool(window.panel.session.seg.refined.all()))
    window.settle()
    before = shown(window)
    out = window.panel.session.out
    spoil(out, name)
    window.panel.layers._label_blocks.changed(Box(0, 0, *before.shape))
    seen = shown(window)
    assert (seen == before).mean() > 0.6  # all but one shard
    window.until(lambda: "press Repair" in window.status)
    window.settle()
    assert offered(window) >= {"repair"}
    assert clipped(window.panel) == []
    window.press("repair")
    window.until(lambda: window.status.startswith("Repaired"))
    window.settle()
    assert offered(window) == {"resume"}
    window.press("resume")
    window.until(lambda: " s. " in window.status and not window.panel.session.busy)
    window.settle()
    np.testing.assert_array_equal(shown(window), before)
    assert window.panel.session.seg.check() == []


def test_a_folder_that_is_gone_leaves_the_panel_alive(window) -> None:
    window.run_coarse()
    session = window.panel.session
    away = session.out.with_name("away")
    shutil.move(session.out, away)
    window.panel.layers._label_blocks.changed(session.seg.grid.box)
    assert shown(window).shape == session.seg.grid.shape
    window.until(lambda: "bring it back and try again" in window.status)
    window.press("refine_visible")
    window.until(lambda: "bring it back and press Continue" in window.status)
    window.settle()
    shutil.move(away, session.out)
    wanted = session.seg.read_labels(session.seg.grid.box)
    assert wanted.any()
    window.until(lambda: bool((shown(window) == wanted).all()))
    window.until(lambda: not session.disk_failed)
    for level, plane in enumerate(window.panel.layers.labels.data[FINE_LEVEL:]):
        whole = session.seg.read_labels(Box(0, 0, *plane.shape), level)
        np.testing.assert_array_equal(np.asarray(plane[:]), whole)
    window.press("resume")
    window.until(lambda: bool(session.seg.refined.all()))


def test_an_error_while_drawing_is_told_once_and_the_panel_goes_on(
    window, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    window.run_coarse()
    told: list[str] = []
    session = window.panel.session
    session.events.noticed.connect(lambda notice: told.append(notice.text))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("odd")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(window.panel.results_section, "show_session", fail)
        patched.setattr(window.panel.layers, "redraw", fail)
        window.qtbot.wait(600)
        window.press("edit_here")
        window.until(lambda: session.edit_state is EditState.OPEN)
        window.until(lambda: window.enabled("commit_edit"))
    assert told.count("unexpected RuntimeError: odd; what was done so far is kept") <= 2
    assert any("odd" in line for line in told)
    caplog.clear()


def test_an_edit_shows_in_the_window_beside(window) -> None:
    from napari.components import ViewerModel

    from napari_twostage.session import Session
    from napari_twostage.viewer.layers import ResultLayers

    window.run_coarse()
    first = window.panel.session
    second = Session()
    second.set_slide(first.slide)
    second.set_model(FakeModel())
    second.wait(30)
    second.set_out(first.out)
    second.wait(30)
    viewer = ViewerModel()
    viewer.add_layer(type(window.panel.slide_layer)(np.zeros((150, 130, 3), np.uint8)))
    layers = ResultLayers(viewer, viewer.layers[0], second)
    before = np.asarray(layers.labels.data[FINE_LEVEL][:])
    paint(window)
    window.until(lambda: bool(first.seg.edit_boxes))

    def followed() -> bool:
        second.poll()
        return bool((np.asarray(layers.labels.data[FINE_LEVEL][:]) != before).any())

    window.until(followed)
    np.testing.assert_array_equal(
        np.asarray(layers.labels.data[FINE_LEVEL][:]), first.seg.read_labels(first.seg.grid.box)
    )
    layers.close()
    second.close()


@pytest.mark.parametrize("way", ["panel", "slide"])
def test_closing_with_an_edit_that_cannot_be_saved_raises_nothing_and_says_so(
    window, monkeypatch: pytest.MonkeyPatch, caplog, way: str
) -> None:
    window.run_coarse()
    tried: list[object] = []

    def fail(*values: object) -> None:
        tried.append(values)
        refuse()

    monkeypatch.setattr(tasks, "write_edit", fail)
    told: list[str] = []
    monkeypatch.setattr("napari_twostage.viewer.widget.show_error", told.append)
    paint(window)
    window.until(lambda: "save_again" in offered(window))
    window.settle()
    assert len(tried) == 1
    with caplog.at_level(logging.ERROR):
        if way == "panel":
            window.close_panel()
        else:
            window.viewer.layers.remove(window.panel.slide_layer)
            window.until(lambda: not window.panel._closing)
            told.append(window.status)
    assert len(tried) == 2  # once more, for it was to be kept
    assert told
    assert all("hat you painted last could not be saved" in line for line in told), told
    assert "could not be saved" in caplog.text
    caplog.clear()


def test_closing_saves_what_can_be_saved_by_then(window, monkeypatch: pytest.MonkeyPatch) -> None:
    window.run_coarse()
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "write_edit", refuse)
        labels = paint(window)
        window.until(lambda: "save_again" in offered(window))
        window.settle()
    box, out = window.panel.session.editing.box, window.panel.session.out
    window.close_panel()
    np.testing.assert_array_equal(Result.open(out).read_labels(box), labels)


def test_labels_that_the_reader_shows_are_blank_where_they_are_damaged(
    result,
) -> None:
    spoil(result.path, "refined")
    opened, warned = Result.open(result.path), []
    levels = label_levels(opened, warned.append)
    whole = np.asarray(levels[0][:])
    with pytest.raises(TwoStageError):
        opened.read_labels(opened.grid.box)
    assert whole.any()
    assert warned
    assert all("is damaged" in line for line in warned)


def test_a_tolerant_reader_does_not_ask_a_lost_disk_for_every_piece() -> None:
    asked: list[Box] = []
    told: list[Exception] = []

    def read(box: Box) -> np.ndarray:
        asked.append(box)
        raise OSError(5, "Input/output error")

    reader = TolerantReader(7, np.dtype(np.uint8), (), told.append)
    pixels, whole = reader.read(read, (4, 4), Box(0, 0, 16, 16))
    assert (pixels == 7).all()
    assert not whole
    assert len(asked) == len(told) == 1
