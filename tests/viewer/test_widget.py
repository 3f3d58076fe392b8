"""The panel in a real window: enabled buttons, messages, shutdown."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QPlainTextEdit,
    QScrollBar,
    QWidget,
)
from tests.fakes import FakeModel, damage, make_card, noise
from tests.method.domains import make_domain
from tests.session.helpers import HeldModel
from tests.viewer.conftest import PATIENCE_MS, Window, clipped

from napari_twostage.geometry import Box
from napari_twostage.method.selection import Selection
from napari_twostage.session import RunState, Session
from napari_twostage.viewer import TwoStageWidget
from napari_twostage.viewer.colormaps import FILLED
from napari_twostage.viewer.drawn_levels import FINER
from napari_twostage.viewer.label_style import CLOSE_UP
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = (
    "slide_layer", "model", "mpp", "run_coarse", "threshold", "plan_summary", "refine_uncertain",
    "refine_visible", "refine_region", "refine_next", "pause", "cancel", "edit_here",
    "commit_edit", "discard_edit", "export", "status",
)  # fmt: skip
UM = {"scale": (0.5, 0.5), "units": ("um", "um")}
BUTTONS = (
    "run_coarse", "refine_uncertain", "refine_visible", "refine_region", "refine_next",
    "next_place", "pause", "cancel", "edit_here", "commit_edit", "discard_edit", "undo_edit",
    "measure", "density", "export", "copy_python", "show_record", "advise", "previous_place",
    "accept_place", "undo_accept", "edit_place", "refine_place", "retry_failed",
)  # fmt: skip
PLACES = {"next_place", "previous_place"}
REFINE = {"refine_uncertain", "refine_visible", "refine_next"}
RESULT = {"measure", "density", "export", "copy_python", "show_record"}


def can(window: Window) -> set[str]:
    return {name for name in BUTTONS if window.enabled(name)}


def workers() -> list[str]:
    """Names of our threads that are alive."""
    ours = ("coarse", "refine", "look for results", "catch up", "edit", "commit", "undo", "measure",
            "density", "export", "advise", "redo", "compare")  # fmt: skip
    return [thread.name for thread in threading.enumerate() if thread.name in ours]


def test_all_parts_have_their_names(window) -> None:
    for name in NAMES:
        assert window.part(name).objectName() == name
    assert isinstance(window.panel, TwoStageWidget)
    assert isinstance(window.panel, QWidget)
    assert window.panel.session.slide is not None


def test_it_says_whether_the_slide_is_like_the_training_images(window) -> None:
    assert window.part("domain").isHidden()
    window.use(FakeModel(make_card(domain=make_domain())))
    window.run_coarse()
    said = window.part("domain").text()
    assert said.startswith("Unlike the training images: ")
    assert said == window.panel.session.domain
    assert not window.part("domain").isHidden()
    assert said[1:] in window.part("plan_summary").text()


def test_it_says_whether_full_resolution_is_worth_it(window) -> None:
    assert window.part("advice").isHidden()
    window.use(FakeModel())
    window.panel.session.set_options(tissue_only=False)
    window.press("advise")
    window.settle()
    advice = window.panel.session.advice
    assert window.part("advice").text() == advice.describe()
    assert window.status.startswith(advice.describe())
    assert window.part("advice").toolTip() == advice.describe_changes()
    assert not window.part("advice").isHidden()
    window.use(FakeModel())
    window.settle()
    assert window.part("advice").isHidden()


def test_what_can_be_pressed_in_every_state(window) -> None:
    model = HeldModel()
    window.use(model)
    window.panel.session.set_options(tissue_only=False)
    assert can(window) == {"run_coarse", "advise"}
    model.hold()
    window.press("run_coarse")
    model.step()
    window.until(lambda: can(window) >= RESULT)
    assert window.panel.session.state is RunState.COARSE
    assert can(window) == {"pause", "cancel"} | RESULT
    window.press("pause")
    window.until(lambda: window.part("pause").text() == "Continue")
    assert can(window) == {"pause", "cancel"} | RESULT
    window.press("pause")
    model.release()
    window.settle()
    window.part("threshold").setValue(0.0)
    window.settle()
    done = {"run_coarse", "advise", "edit_here"} | PLACES | REFINE | RESULT
    assert can(window) == done
    model.hold()
    window.press("refine_uncertain")
    model.step()
    window.until(lambda: window.panel.session.progress is not None)
    window.until(lambda: not window.panel._dirty)
    assert can(window) == {"pause", "cancel", "edit_here"} | PLACES | RESULT
    window.press("cancel")
    assert window.panel.session.state is RunState.CANCELLING
    assert "pause" not in can(window)
    model.release()
    window.settle()
    assert can(window) == done
    assert window.status.startswith("Cancelled; what was done is kept. Stopped: ")
    window.press("edit_here")
    window.until(lambda: window.enabled("commit_edit"))
    assert can(window) == (done - {"edit_here"}) | {"commit_edit", "discard_edit"}
    window.press("discard_edit")
    assert can(window) == done


def test_without_a_slide_nothing_can_be_pressed(open_window) -> None:
    window = open_window()
    assert can(window) == set()
    assert not window.enabled("slide_layer")
    window.viewer.add_image(noise(70, 90), **UM)
    assert window.enabled("run_coarse")
    window.viewer.layers.clear()
    assert can(window) == set()


def test_a_model_with_a_gain_output_states_the_threshold_in_corrected_pixels(window) -> None:
    boxes = window.panel.findChildren(QComboBox)
    measures = next(box for box in boxes if box.accessibleName() == "Uncertainty measure")
    offered = {measures.itemText(place) for place in range(measures.count())}
    assert offered == {"tent", "entropy", "neg_plogp"}
    window.use(FakeModel(make_card(gain_output=True, uncertainty="gain")))
    offered = {measures.itemText(place) for place in range(measures.count())}
    assert offered == {"tent", "entropy", "neg_plogp", "gain"}
    assert measures.currentText() == "gain"
    window.run_coarse()
    session = window.panel.session
    assert session.seg.record.parameters.uncertainty == "gain"
    window.part("threshold").setValue(0.15)
    pixels = f"{session.threshold * session.card.tile_px**2:,.0f}"
    assert f"stands for {pixels} corrected pixels in a tile" in window.part("threshold").toolTip()


def test_the_threshold_is_in_the_units_of_scores_and_answers_at_once(window) -> None:
    window.run_coarse()
    slider, summary = window.part("threshold"), window.part("plan_summary")
    session = window.panel.session
    texts = set()
    for threshold in (0.05, 0.2, 0.35, 0.4):
        slider.setValue(threshold)
        wanted = session.seg.plan(threshold=session.threshold)
        assert session.threshold == pytest.approx(threshold, abs=1e-3)
        price = session.price(Selection(threshold=session.threshold))
        assert summary.text() == price.describe_selection()
        side = session.card.tile_px
        pixels = f"{session.threshold / 2 * side**2:,.0f}"
        assert f"stands for {pixels} wrong pixels in a tile" in slider.toolTip()
        assert f"{wanted.n_tiles:,} doubtful tile" in summary.text()
        layers = window.panel.layers
        assert layers.tile_overlay.selected.sum() == wanted.n_tiles
        texts.add(summary.text())
    assert len(texts) == 4
    for words in ("doubtful tiles selected (", "of tissue)", "agreement (Dice)", "→"):
        assert words in summary.text()


# -- layers that others opened -----------------------------------------------------------------


def levels(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels, np.ascontiguousarray(pixels[::2, ::2]), np.ascontiguousarray(pixels[::4, ::4])]


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda: noise(70, 90), {}),
        (lambda: noise(70, 90)[..., 0], {}),
        (lambda: noise(70, 90)[..., 0].astype(np.uint16) * 9, {}),
        (lambda: levels(noise(140, 180)), {"multiscale": True}),
        (lambda: da.from_array(noise(70, 90), chunks=(32, 32, 3)), {"rgb": True}),
        (lambda: [da.from_array(p) for p in levels(noise(140, 180))], {"multiscale": True}),
    ],
    ids=["rgb", "grey", "uint16", "multiscale", "dask", "dask levels"],
)
def test_images_that_others_opened_are_slides(open_window, make, options) -> None:
    window = open_window()
    window.viewer.add_image(make(), name="foreign", **UM, **options)
    assert window.part("slide_layer").currentText() == "foreign"
    window.use(FakeModel())
    window.run_coarse()
    window.press("refine_next")
    window.until(lambda: bool(window.panel.session.seg.refined.any()))
    window.settle()
    assert window.part("status").kind == "info"


def test_floating_point_pixels_are_a_slide(open_window) -> None:
    window = open_window()
    window.viewer.add_image(np.zeros((50, 60), np.float32), name="odd", **UM)
    window.use(FakeModel())
    window.until(lambda: window.enabled("run_coarse"))


def test_images_that_are_no_slide_are_refused_in_one_line(open_window) -> None:
    window = open_window()
    window.viewer.add_image(np.zeros((2, 5, 50, 60), np.uint8), name="odd")
    assert window.part("status").kind == "error"
    assert "odd" in window.status or "float" in window.status
    assert "\n" not in window.status
    assert can(window) == set()
    window.viewer.add_image(noise(70, 90), name="good", **UM)
    window.part("slide_layer").setCurrentText("good")
    window.until(lambda: window.enabled("run_coarse"))


def test_a_missing_pixel_size_is_asked_for_and_never_guessed(open_window) -> None:
    window = open_window()
    window.viewer.add_image(noise(70, 90), name="bare")
    mpp = window.part("mpp")
    assert window.panel.session.slide is None
    assert can(window) == set()
    assert mpp.isEnabled()
    assert mpp.value() == 0
    assert "pixel size" in window.status
    mpp.setValue(0.5)
    assert window.panel.session.slide.mpp == (0.5, 0.5)
    assert "given" in window.panel.session.slide.mpp_source
    window.use(FakeModel())
    window.run_coarse()
    assert window.panel.session.seg.record.slide.mpp_source.startswith("given")
    assert mpp.isEnabled()  # may be corrected


def test_a_known_pixel_size_is_not_asked_for(window) -> None:
    assert window.part("mpp").value() == pytest.approx(0.5)
    assert not window.part("file_mpp").isVisible()


def test_a_stated_pixel_size_can_be_corrected_and_taken_back(window) -> None:
    before = window.panel.session.slide
    window.part("mpp").setValue(0.25)
    assert window.panel.session.slide.mpp == (0.25, 0.25)
    shown = [label.text() for label in window.panel.slide_section.findChildren(QLabel)]
    assert any("given by the user; the file states 0.5" in text for text in shown)
    window.part("file_mpp").click()
    now = window.panel.session.slide
    assert (now.mpp, now.mpp_source) == (before.mpp, before.mpp_source)
    assert window.part("mpp").value() == pytest.approx(0.5)
    assert not window.part("file_mpp").isVisible()


def test_a_scale_that_the_user_gave_the_layer_counts(open_window, write_pyramid) -> None:
    window = open_window()
    path = write_pyramid(noise(90, 90))
    (layer,) = window.viewer.open(path, plugin="napari-twostage")
    window.viewer.layers.remove(layer)
    layer.scale = (0.25, 0.25)
    window.viewer.add_layer(layer)
    assert window.panel.session.slide.mpp == pytest.approx((0.25, 0.25))
    assert window.panel.session.slide.mpp_source == "the layer's scale"


def test_a_wrong_pixel_size_can_be_corrected(open_window) -> None:
    window = open_window()
    window.viewer.add_image(noise(70, 90), name="bare")
    for mpp in (0.5, 0.25):
        window.part("mpp").setValue(mpp)
        assert window.panel.session.slide.mpp == (mpp, mpp)
    assert window.panel.session.card is not None


# -- results that are there ----------------------------------------------------------------------


def test_a_result_folder_that_is_dropped_is_gone_on_with(
    open_window, result, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = FakeModel().bundle
    monkeypatch.setattr("napari_twostage.session.session.read_bundle", lambda _source: bundle)
    window = open_window()
    window.viewer.open(str(result.path), plugin="napari-twostage")
    window.settle()
    session = window.panel.session
    assert session.seg is not None
    assert session.seg.path == result.path
    assert session.coarse_done
    assert session.seg.refined.all()
    window.settle()
    assert not can(window) & REFINE
    assert "Every tile is refined" in window.part("refine_next").toolTip()
    names = [layer.name for layer in window.viewer.layers]
    assert sum("labels" in name for name in names) == 1


def test_the_run_record_is_shown_as_json(window, monkeypatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        QDialog, "exec", lambda self: shown.append(self.findChild(QPlainTextEdit).toPlainText())
    )
    window.run_coarse()
    window.press("show_record")
    (text,) = shown
    saved = (window.panel.session.seg.path / "record.json").read_text(encoding="utf-8")
    on_disk = json.loads(saved)
    del on_disk["checksum"]  # of the file, not of the record
    assert json.loads(text) == on_disk


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.fixture
def tracebacks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Errors that napari would show as a traceback."""
    shown: list[object] = []
    monkeypatch.setattr(
        "napari.utils.notifications.notification_manager.receive_error",
        lambda *error: shown.append(error),
    )
    monkeypatch.setattr(sys, "excepthook", lambda *error: shown.append(error))
    return shown


class BrokenModel(FakeModel):
    def refine(self, windows: list[np.ndarray]) -> np.ndarray:
        raise RuntimeError(f"out of memory\nfor {len(windows)}\nwindows")


def test_what_breaks_is_told_in_one_line(window, tracebacks, caplog) -> None:
    window.use(BrokenModel())
    window.run_coarse()
    window.press("refine_next")
    window.until(lambda: window.part("status").kind == "error")
    assert "out of memory" in window.status
    assert "\n" not in window.status
    assert "Traceback" not in window.status
    window.settle()
    assert can(window) >= REFINE
    assert not tracebacks
    caplog.clear()


def test_a_result_that_is_done_is_shown_however_slow_painting_was(window, monkeypatch) -> None:
    monkeypatch.setattr("napari_twostage.viewer.widget.REDRAW_S", 3600.0)
    window.run_coarse()
    window.until(lambda: window.panel.layers.tissue is not None)
    assert window.part("refine_uncertain").isEnabled()


def test_tiles_that_cannot_be_read_are_told_and_shown(window) -> None:
    slide = window.panel.session.slide
    slide.fingerprint()
    damage(slide, Box(100, 100, 104, 104))
    window.run_coarse()
    assert "damaged" in window.status
    assert window.part("status").kind == "error"
    unseen = len(window.panel.session.seg.failures)
    damage(slide, Box(10, 10, 14, 14))
    window.press("refine_visible")
    window.until(lambda: "Box(top=10" in window.status)
    window.settle()
    assert window.part("status").kind == "error"
    assert len(window.panel.session.seg.failures) > unseen > 0
    assert f"failed {len(window.panel.session.seg.failures)}" in (
        window.part("tile_states").accessibleName()
    )


def test_a_place_that_is_too_large_to_edit_says_so(window, monkeypatch) -> None:
    monkeypatch.setattr("napari_twostage.session.editing.EDIT_PX", 20)
    window.run_coarse()
    window.press("edit_here")
    assert window.part("status").kind == "error"
    assert "zoom in" in window.status
    assert window.enabled("edit_here")


def test_refining_what_is_out_of_view_says_so(window) -> None:
    window.run_coarse()
    window.viewer.scene.camera.center = (0, 1e6, 1e6)
    window.until(lambda: not window.enabled("refine_visible"))
    assert "out of view" in window.part("refine_visible").toolTip()
    window.press("edit_here")
    assert window.part("status").kind == "error"
    assert "view" in window.status


# -- keys -----------------------------------------------------------------------------------------


def test_shortcuts_press_the_buttons(open_window) -> None:
    window = open_window(show=True)
    window.viewer.add_image(noise(150, 130), **UM)
    window.use(FakeModel())
    main = window.viewer.window._qt_window
    main.activateWindow()
    window.until(main.isActiveWindow)

    def key(key: Qt.Key) -> None:
        window.qtbot.keyClick(main, key, Qt.KeyboardModifier.AltModifier)

    key(Qt.Key.Key_1)
    window.until(lambda: window.panel.session.coarse_done)
    window.settle()
    before = window.viewer.scene.camera.center
    key(Qt.Key.Key_N)
    window.until(lambda: window.viewer.scene.camera.center != before)
    window.until(lambda: window.panel._actions._flight._animation.state().name == "Stopped")
    place = window.panel.session.seg.tiles.box(
        np.unravel_index(
            np.nanargmax(window.panel.session.seg.scores), window.panel.session.seg.tiles.shape
        )
    )
    assert window.panel._actions.visible_area().contains(place)
    key(Qt.Key.Key_R)
    window.until(lambda: bool(window.panel.session.seg.refined.any()))
    window.settle()
    window.part("threshold").setValue(0.0)
    key(Qt.Key.Key_U)
    window.until(lambda: bool(window.panel.session.seg.refined.all()))
    window.settle()
    key(Qt.Key.Key_E)
    window.until(lambda: window.enabled("commit_edit"))
    edit = window.panel.layers.edit
    edit.data[:4, :4] = 1 - edit.data[:4, :4]
    key(Qt.Key.Key_Return)
    window.until(lambda: len(window.panel.session.seg.edit_boxes) == 1)
    window.settle()


# -- how it looks ---------------------------------------------------------------------------------


def walk(window: Window, look: Callable[[str], None]) -> None:
    """Go through all states of the panel; call `look` in each."""
    model = HeldModel(make_card(description="a long description of what was trained on what " * 4))
    window.use(model)
    look("ready")
    model.hold("coarse")
    window.press("run_coarse")
    model.step()
    window.until(lambda: window.panel.session.progress is not None)
    window.until(lambda: not window.panel._dirty)
    look("coarse pass")
    model.release()
    window.settle()
    look("coarse result")
    model.hold("refine")
    window.part("threshold").setValue(0.0)
    window.press("refine_uncertain")
    model.step()
    window.until(lambda: window.panel.session.progress is not None)
    window.press("pause")
    look("paused")
    window.press("pause")
    model.release()
    window.settle()
    window.press("measure")
    window.until(lambda: window.panel.session.tally is not None)
    window.settle()
    window.press("edit_here")
    window.until(lambda: window.enabled("commit_edit"))
    look("editing")
    window.press("discard_edit")
    window.panel.session.say("an error " + "/a_very_long/path_without_spaces" * 9, "error")
    window.panel.show_session()
    look("error")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_off_in_a_dock_of_320_pixels(open_window, theme, qtbot) -> None:
    window = open_window(show=True)
    window.viewer.theme = theme
    window.viewer.add_image(noise(150, 130), name="a slide of a very long name " * 5, **UM)
    main = window.viewer.window._qt_window
    dock = next(d for d in main.findChildren(QWidget) if d is window.panel.parent())
    seen = []

    def look(state: str) -> None:
        main.resizeDocks([dock], [320], Qt.Orientation.Horizontal)
        QApplication.processEvents()
        qtbot.waitUntil(lambda: window.panel.width() <= 330, timeout=5000)
        window.panel.accordion.show_only(window.panel.findChildren(Section))
        assert all(section.is_open for section in window.panel.findChildren(Section))
        QApplication.processEvents()
        assert not clipped(window.panel), state
        seen.append(state)

    walk(window, look)
    assert len(seen) == 6
    get_settings().appearance.theme = "dark"


def test_everything_says_what_it_does(open_window) -> None:
    window = open_window()
    window.viewer.add_image(noise(150, 130), **UM)

    def check(state: str) -> None:
        for child in window.panel.findChildren(QWidget):
            kinds = (QAbstractButton, QComboBox, QAbstractSlider, QAbstractSpinBox)
            if not isinstance(child, kinds) or isinstance(child, QScrollBar):
                continue
            parents = []
            parent = child.parentWidget()
            while parent is not window.panel and parent is not None:
                parents.append(parent)
                parent = parent.parentWidget()
            tips = [one.toolTip() for one in (child, *parents) if one.toolTip()]
            is_header = isinstance(child, QAbstractButton) and isinstance(child.parent(), Section)
            assert tips or is_header, f"{state}: {child} {child.objectName()} has no tooltip"
            named = child.accessibleName() or (
                child.text() if isinstance(child, QAbstractButton) else ""
            )
            part_of_another = isinstance(
                child.parentWidget(), QComboBox | QAbstractSpinBox | QAbstractSlider
            ) or any(one.objectName() == "threshold" for one in parents)
            assert named or part_of_another, f"{state}: {child} {child.objectName()} has no name"

    walk(window, check)


def test_text_is_readable_and_no_markup_shows(window) -> None:
    window.run_coarse()
    for label in window.panel.findChildren(QLabel):
        if label.textFormat() == Qt.TextFormat.PlainText:
            assert "<" not in label.text() or ">" not in label.text()


# -- the end --------------------------------------------------------------------------------------


def begin_to_refine(window: Window) -> HeldModel:
    """Start a refinement and hold it at its first chip."""
    model = HeldModel()
    window.use(model)
    window.run_coarse()
    model.hold("refine")
    window.part("threshold").setValue(0.0)
    window.press("refine_uncertain")
    model.step()
    window.until(lambda: model.begun.acquire(blocking=False))
    return model


def release_once_stopped(model: HeldModel, session: Session) -> None:
    """Release the held chip as soon as the session stops, while the window waits for it."""

    def release() -> None:
        end = time.monotonic() + PATIENCE_MS / 1000
        while session.state is RunState.REFINING and time.monotonic() < end:
            time.sleep(0.01)
        model.release()

    threading.Thread(target=release).start()


def test_closing_the_dock_stops_the_work_and_leaves_nothing(window) -> None:
    widgets = set(QApplication.topLevelWidgets()) - {window.panel}
    model = begin_to_refine(window)
    session, panel, slide = window.panel.session, window.panel, window.viewer.layers["slide"]
    timers = panel.findChildren(QTimer)
    release_once_stopped(model, window.panel.session)
    window.close_panel()
    assert not workers()
    assert not any(timer.isActive() for timer in timers)
    assert not session.busy
    assert list(window.viewer.layers) == [slide]
    window.until(lambda: set(QApplication.topLevelWidgets()) <= widgets)
    assert not [one for one in QApplication.allWidgets() if isinstance(one, TwoStageWidget)]
    window.viewer.scene.camera.zoom = 3  # nothing is connected any more
    window.viewer.add_image(noise(70, 90), **UM)


def test_the_panel_that_is_opened_again_goes_on(window, open_window) -> None:
    model = begin_to_refine(window)
    path = window.panel.session.seg.path
    release_once_stopped(model, window.panel.session)
    window.close_panel()
    again = open_window(window.viewer)
    assert again.panel is not window.panel
    again.use(FakeModel())
    assert again.panel.session.seg.path == path
    assert again.panel.session.coarse_done
    assert again.panel.session.seg.refined.any()
    again.part("threshold").setValue(0.0)
    again.press("refine_uncertain")
    again.settle()
    seg = again.panel.session.seg
    assert seg.refined[seg.scores > 0].all()
    again.close_panel()
    again.until(lambda: not any(isinstance(w, TwoStageWidget) for w in QApplication.allWidgets()))


def test_closing_napari_in_the_middle_of_a_run_loses_nothing(window, home: Path) -> None:
    model = begin_to_refine(window)
    seg = window.panel.session.seg
    release_once_stopped(model, window.panel.session)
    window.viewer.close()
    window.until(lambda: not workers())
    assert seg.path.is_relative_to(home)
    assert 0 < seg.refined.sum() < seg.refined.size


def test_a_panel_that_goes_untold_with_its_window_stops_its_work(window) -> None:
    model = begin_to_refine(window)
    seg, gone = window.panel.session.seg, []
    window.panel.destroyed.connect(lambda: gone.append(1))
    # what is left of a window that the user closes; to close it here would hinder the fixture
    window.panel.parent().deleteLater()
    window.until(lambda: bool(gone))
    model.release()
    window.until(lambda: not workers())
    assert 0 < seg.refined.sum() < seg.refined.size


def test_removing_the_slide_while_it_runs_stops_its_work(window) -> None:
    model = begin_to_refine(window)
    session = window.panel.session
    window.viewer.layers.remove("slide")
    assert window.panel.session is not session
    assert list(window.viewer.layers) == []
    assert can(window) == set()
    model.release()
    window.until(lambda: not workers())
    window.until(lambda: not session.busy)
    assert not window.panel._closing


def test_the_search_for_tissue_is_a_choice_and_follows_the_session(window) -> None:
    session, search = window.panel.session, window.panel.coarse_section.search
    window.use(FakeModel())
    for words, tissue in (("automatic", None), ("always", True), ("never", False)):
        session.set_options(tissue_only=tissue)
        window.panel.coarse_section.show_session(session)
        assert search.value == words
    search.value = "automatic"
    assert session.options.tissue is None
    search.value = "always"
    assert session.options.tissue is True
    search.value = "never"
    assert session.options.tissue is False


def test_what_is_expected_of_a_slide_without_objects_is_not_shown(open_window) -> None:
    window = open_window()
    window.viewer.add_image(np.zeros((90, 90, 3), np.uint8), rgb=True, name="black", **UM)
    window.use(FakeModel())
    window.press("run_coarse")
    window.settle()
    text = window.part("plan_summary").text()
    assert "found no objects" in text
    assert "Dice" not in text


def test_a_held_key_shows_the_slide_alone(window) -> None:
    window.run_coarse()
    viewer, layers = window.viewer, window.panel.layers
    canvas = viewer.window._qt_viewer.canvas.native
    shown = [layer for layer in viewer.layers if layer.visible]
    assert layers.labels in shown
    window.qtbot.keyPress(canvas, Qt.Key.Key_H)
    assert [layer for layer in viewer.layers if layer.visible] == [window.panel.slide_layer]
    window.qtbot.keyRelease(canvas, Qt.Key.Key_H)
    assert [layer for layer in viewer.layers if layer.visible] == shown


def test_zooming_in_outlines_labels_and_shows_the_stain(window) -> None:
    window.run_coarse()
    layers, camera = window.panel.layers, window.viewer.scene.camera
    fine_um = float(layers.labels.scale[0]) * FINER
    camera.zoom = 2 * CLOSE_UP / fine_um
    assert layers.labels.contour > 0
    assert layers.labels.colormap.map(np.array([1], np.uint8))[0][3] == 1
    assert not layers.uncertainty.visible
    camera.zoom = 0.5 * CLOSE_UP / fine_um
    assert layers.labels.contour == 0
    assert layers.labels.colormap.map(np.array([1], np.uint8))[0][3] == pytest.approx(FILLED, 0.02)
    assert layers.uncertainty.visible
    camera.zoom = 2 * CLOSE_UP / fine_um
    window.part("label_outline").setChecked(False)
    assert layers.labels.contour == 0
