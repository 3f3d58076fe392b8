"""Regions in the window: drawn, segmented there, refined there, measured, and found again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox
from tests.fakes import FakeModel, noise
from tests.viewer.conftest import Window, clipped

from napari_twostage.geometry import Box
from napari_twostage.viewer.drawn_regions import NAME
from napari_twostage.viewer.panel import view_actions

if TYPE_CHECKING:
    from pathlib import Path

CORNERS = np.array([(70.0, 70.0), (70.0, 120.0), (120.0, 120.0)])
BUTTONS = ("coarse_region", "refine_region", "measure_regions", "export_regions", "delete_regions")


def draw(window: Window, corners: np.ndarray = CORNERS) -> None:
    """Draw a polygon on the slide's level 0."""
    count = len(window.panel.session.regions.all)
    window.press("draw_region")
    layer, slide = window.viewer.layers[NAME], window.panel.slide_layer
    world = np.array([slide.data_to_world(corner - 0.5) for corner in corners])
    layer.add_polygons(np.array([layer.world_to_data(place) for place in world]))
    window.until(lambda: len(window.panel.session.regions.all) == count + 1)
    window.settle()


def lines(window: Window) -> list[str]:
    """Texts of the list, with those of classes indented."""
    tree, found = window.part("region_list"), []
    for row in range(tree.topLevelItemCount()):
        item = tree.topLevelItem(row)
        found.append(f"{item.text(0)}: {item.text(1)}")
        found += [
            f"  {item.child(i).text(0)}: {item.child(i).text(1)}" for i in range(item.childCount())
        ]
    return found


def can(window: Window) -> set[str]:
    return {name for name in BUTTONS if window.enabled(name)}


def test_draw_quick_pass_refine_measure_and_find_it_after_reopening(window, open_window) -> None:
    session = window.panel.session
    assert can(window) == set()
    assert not window.part("region_list").isVisible()
    assert window.part("region_hint").text().startswith("Draw a region, or import")
    window.press("draw_region")
    assert "double-click closes the polygon" in window.part("region_hint").text()
    draw(window)
    assert can(window) == {"coarse_region", "export_regions", "delete_regions"}
    assert lines(window) == ["Region 1: 0.000313 mm²"]

    item = window.part("region_list").topLevelItem(0)
    item.setText(0, "Tumour bed")
    assert session.regions.all[0].name == "Tumour bed"
    window.press("coarse_region")
    window.until(lambda: session.coarse_done)
    window.settle()
    seg, rings = session.seg, session.regions.all[0].rings
    assert len(seg.windows_done) == seg.layout.windows_touching(rings).sum() < 20
    assert window.panel.coarse_section.status == "done in regions"
    window.press("refine_region")
    window.until(lambda: seg.refined.sum() > 0)
    window.settle()
    np.testing.assert_array_equal(seg.refined, seg.tiles_touching(seg.to_fine(rings)))
    window.press("measure_regions")
    window.settle()
    shown = lines(window)
    assert shown[0] == "Tumour bed: 0.000313 mm²"
    assert shown[1].startswith("  nucleus: ")
    assert shown[1].endswith(" %")
    assert not clipped(window.panel)

    window.close_panel()
    again = open_window(window.viewer)
    again.use(FakeModel())
    again.until(lambda: lines(again) == shown)
    assert again.panel.session.seg.path == seg.path
    again.close_panel()


def test_the_list_and_the_canvas_select_alike(window) -> None:
    draw(window)
    draw(window, CORNERS - 60)
    first, second = window.panel.session.regions.all
    tree, camera = window.part("region_list"), window.viewer.scene.camera
    assert [tree.topLevelItem(row).isSelected() for row in (0, 1)] == [False, True]
    window.viewer.reset_view()
    tree.clearSelection()
    tree.topLevelItem(0).setSelected(True)
    assert window.panel.session.regions.selected == {first.id}
    middle = window.panel.slide_layer.data_to_world((94.5, 94.5))
    window.until(lambda: np.allclose(camera.center[-2:], middle, atol=0.5))
    layer = window.viewer.layers[NAME]
    layer.mode = "select"
    layer.selected_data = {1}
    window.until(lambda: tree.topLevelItem(1).isSelected())
    assert not tree.topLevelItem(0).isSelected()
    assert window.panel.session.regions.selected == {second.id}
    window.press("delete_regions")
    window.settle()
    assert lines(window) == ["Region 1: 0.000313 mm²"]
    assert layer.nshapes == 1


def test_each_slide_has_its_own_regions(window) -> None:
    draw(window)
    one = window.panel.slide_layer
    other = window.viewer.add_image(
        noise(90, 90, seed=3), name="other", scale=(0.5, 0.5), units=("um", "um")
    )
    window.panel.choose_layer(other)
    window.settle()
    assert lines(window) == []
    window.until(lambda: window.viewer.layers[NAME].nshapes == 0)
    window.panel.choose_layer(one)
    window.settle()
    assert lines(window) == ["Region 1: 0.000313 mm²"]
    window.until(lambda: window.viewer.layers[NAME].nshapes == 1)


def test_import_and_export_by_dialog(window, tmp_path: Path, monkeypatch) -> None:
    draw(window)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "regions"), ""))
    window.press("export_regions")
    window.settle()
    file = tmp_path / "regions.geojson"
    assert json.loads(file.read_text())["features"][0]["properties"]["name"] == "Region 1"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    window.press("import_regions")
    window.settle()
    assert lines(window) == ["Region 1: 0.000313 mm²", "Region 2: 0.000313 mm²"]
    assert window.viewer.layers[NAME].nshapes == 2


@pytest.mark.parametrize("answer", ["Cancel", "Ok"])
def test_a_visible_area_that_takes_long_is_asked_about(window, monkeypatch, answer: str) -> None:
    window.run_coarse()
    window.viewer.reset_view()
    asked = []

    def question(_parent, _title, text: str, *_buttons):
        asked.append(text)
        return QMessageBox.StandardButton[answer]

    monkeypatch.setattr(QMessageBox, "question", question)
    monkeypatch.setattr(view_actions, "ASK_FROM_S", 3.0)
    seg = window.panel.session.seg
    count = int(seg.tiles_touching(Box(0, 0, 150, 130)).sum())
    window.press("refine_visible")
    window.settle()
    (text,) = asked
    assert text.startswith(f"{count} tiles in view are not refined yet. Refining them")
    assert seg.refined.sum() == (count if answer == "Ok" else 0)
