"""Runs under Slide, the foot's one message, and several slides in a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget
from tests.fakes import FakeModel, noise
from tests.session.helpers import HeldModel

from napari_twostage.viewer.menu_commands import PANEL
from napari_twostage.viewer.offer import WAIT_MS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.viewer.conftest import Window


def set_measure(window: Window, name: str) -> None:
    window.panel.coarse_section._measure.value = name
    window.settle()


def shown_runs(window: Window) -> list[str]:
    runs = window.part("runs")
    return [runs.item(row).text() for row in range(runs.count())]


def test_an_option_says_that_it_starts_a_new_run_and_setting_it_back_opens_the_old_one(
    window,
) -> None:
    window.run_coarse()
    first = window.panel.session.seg.path
    assert window.part("new_run").isHidden()
    set_measure(window, "entropy")
    assert not window.part("new_run").isHidden()
    assert window.panel.session.seg.path == first
    window.run_coarse()
    second = window.panel.session.seg.path
    assert second != first
    window.until(lambda: len(shown_runs(window)) == 2)
    assert window.part("new_run").isHidden()
    set_measure(window, "tent")
    assert window.panel.session.seg.path == first
    runs = window.part("runs")
    assert runs.currentRow() == 1  # the newest is above
    assert "by entropy" in runs.item(0).text()
    runs.itemClicked.emit(runs.item(0))
    window.settle()
    assert window.panel.session.seg.path == second


def test_a_slide_comes_back_with_its_run_threshold_view_and_sections(
    open_window, write_pyramid, make_napari_viewer
) -> None:
    path = write_pyramid(noise(150, 130), levels=1)
    window = open_window()
    window.viewer.open(str(path), plugin="napari-twostage")
    window.use(FakeModel())
    window.run_coarse()
    window.panel.session.threshold = 0.21
    window.panel.accordion.show_only([window.panel.correct_section])
    window.viewer.scene.camera.zoom = 9.0
    zoomed = window.viewer.scene.camera.zoom
    window.settle()
    window.close_panel()

    again = open_window(make_napari_viewer(strict_qt=True))
    again.viewer.open(str(path), plugin="napari-twostage")
    again.use(FakeModel())
    again.until(lambda: again.panel.session.seg is not None)
    again.settle()
    assert again.panel.session.threshold == 0.21
    assert [one.title for one in again.panel.accordion.open_sections] == ["Correct"]
    assert again.viewer.scene.camera.zoom == pytest.approx(zoomed, rel=0.05)


def test_the_foot_says_the_state_and_the_next_step(window) -> None:
    model = HeldModel()
    window.use(model)
    assert window.status == "Press Quick pass to segment the whole slide."
    model.hold()
    window.press("run_coarse")
    model.step()
    window.press("pause")
    window.until(lambda: window.status.startswith("Paused"))
    window.press("pause")
    model.release()
    window.until(lambda: window.panel.session.coarse_done)
    window.settle()
    assert window.status.startswith("Quick pass done in ")
    assert window.status.endswith("refine, or look at them one by one.")
    window.viewer.scene.camera.center = (0, 1e6, 1e6)
    window.press("refine_visible")
    window.until(lambda: window.part("status").kind == "error")
    window.press("draw_region")  # what failed before is no longer said
    assert window.part("status").kind == "next"


def test_the_panel_follows_the_selected_slide_its_name_and_the_runs_of_others(window) -> None:
    first = window.panel.slide_layer
    model = HeldModel()
    window.use(model)
    model.hold()
    window.press("run_coarse")
    model.step()
    window.until(lambda: window.panel.layers.labels is not None)
    labels = window.panel.layers.labels
    second = window.viewer.add_image(
        noise(70, 90), name="other", scale=(0.5, 0.5), units=("um", "um")
    )
    window.until(lambda: window.panel.slide_layer is second)
    window.until(lambda: "slide: quick pass" in window.part("other_runs").text())
    window.viewer.layers.selection.active = labels
    window.until(lambda: window.panel.slide_layer is first)
    assert window.part("slide_layer").currentText() == "slide"
    first.name = "biopsy 7"
    assert window.part("slide_layer").currentText() == "biopsy 7"
    assert labels.name == "biopsy 7 labels"
    model.release()
    window.settle()
    assert window.part("other_runs").isHidden()


def test_slides_of_two_files_lie_apart(open_window, write_pyramid) -> None:
    window = open_window()
    paths: list[Path] = [
        write_pyramid(noise(60, 80, seed=seed), levels=1, name=f"{seed}.tif") for seed in (1, 2)
    ]
    for path in paths:
        window.viewer.open(str(path), plugin="napari-twostage")
    first, second = window.viewer.layers[:2]
    assert second.extent.world[0, -1] > first.extent.world[1, -1]
    assert window.panel.session.slide.path == paths[1]
    low, high = second.extent.world[:, -1]
    assert low < window.viewer.scene.camera.center[-1] < high


def test_an_empty_panel_opens_the_sample_and_recent_slides(
    open_window, write_pyramid, make_napari_viewer
) -> None:
    path = write_pyramid(noise(60, 80), levels=1)
    window = open_window()
    assert window.panel.findChild(QWidget, "recent_slide") is None
    window.part("open_sample").click()
    assert window.part("start_page").isHidden()
    assert window.panel.slide_layer.name == "CMU-1-Small-Region"
    window.viewer.open(str(path), plugin="napari-twostage")
    window.use(FakeModel())
    window.run_coarse()
    window.close_panel()

    again = open_window(make_napari_viewer(strict_qt=True))
    assert not again.part("start_page").isHidden()
    assert again.part("recent_slide").text() == path.name
    again.part("recent_slide").click()
    assert again.panel.session.slide.path == path


@pytest.mark.usefixtures("plugin")
def test_the_panel_is_offered_where_a_slide_is_opened_without_it(
    make_napari_viewer, write_pyramid, qtbot
) -> None:
    viewer = make_napari_viewer(strict_qt=True)
    offers: list[Notification] = []
    notification_manager.notification_ready.connect(offers.append)
    viewer.open(str(write_pyramid(noise(60, 80), levels=1)), plugin="napari-twostage")
    qtbot.waitUntil(lambda: bool(offers))
    (offer,) = offers
    ((text, press),) = offer.actions
    assert text == "Open the panel"
    press(None)
    assert any(PANEL in name for name in viewer.window.dock_widgets)
    viewer.open(str(write_pyramid(noise(60, 80), levels=1, name="b.tif")), plugin="napari-twostage")
    qtbot.wait(3 * WAIT_MS)
    notification_manager.notification_ready.disconnect(offers.append)
    assert len(offers) == 1


def test_one_step_is_open_at_a_time_and_the_next_one_opens_by_itself(window) -> None:
    def opened() -> list[str]:
        return [section.title for section in window.panel.accordion.open_sections]

    assert opened() == ["Quick pass"]
    window.run_coarse()
    assert opened() == ["Uncertainty", "Refine"]
    window.panel.results_section._header.click()
    assert opened() == ["Results"]
    QTest.mouseClick(
        window.panel.display_section._header,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.ShiftModifier,
    )
    assert opened() == ["Results", "View"]
    window.use(FakeModel())  # opens the same result again
    window.settle()
    assert opened() == ["Results", "View"]
