"""Objects in a real window: a click, the card, the table and its row, limits, and the density."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QDockWidget
from tests.fakes import CLASSES, FakeModel, noise
from tests.viewer.conftest import clipped

from napari_twostage.geometry import Box
from napari_twostage.measure.object_at import FoundObject
from napari_twostage.measure.object_list import ObjectList
from napari_twostage.viewer.panel.area_histogram import AreaHistogram
from napari_twostage.viewer.panel.objects_model import COLUMNS, ObjectsModel
from napari_twostage.viewer.selected_object import LINE, RIM, draw_around

if TYPE_CHECKING:
    from tests.viewer.conftest import Window

TITLES = [column.title for column in COLUMNS]


def click(window: Window, y: float, x: float, *, drag_px: int = 0) -> None:
    """Press and release the mouse over a point of the slide, in pixels from its corner."""
    layer = window.viewer.layers["slide"]
    position = layer.data_to_world((y - 0.5, x - 0.5))

    def event(kind: str, moved: int = 0) -> ReadOnlyWrapper:
        return ReadOnlyWrapper(
            SimpleNamespace(
                type=kind, button=1, modifiers=(), pos=np.array([50.0 + moved, 50.0]),
                position=position, is_dragging=kind == "mouse_move", handled=False,
            ),
            exceptions=("handled",),
        )  # fmt: skip

    mouse_press_callbacks(window.viewer, event("mouse_press"))
    mouse_move_callbacks(window.viewer, event("mouse_move", drag_px))
    mouse_release_callbacks(window.viewer, event("mouse_release", drag_px))


def some_object(window: Window) -> tuple[float, float]:
    """A pixel in the middle of the picture that is of an object."""
    seg = window.panel.session.seg
    labels = seg.read_labels(seg.grid.box)
    places = np.argwhere(labels > 0)
    middle = places[np.abs(places - np.array(labels.shape) / 2).sum(axis=1).argmin()]
    return float(middle[0]) + 0.5, float(middle[1]) + 0.5


def wait_for_pick(window: Window) -> None:
    window.settle()
    window.panel.layers.redraw()


def test_from_a_click_to_the_card_the_table_and_back(window: Window) -> None:
    assert not window.enabled("list_objects")
    window.run_coarse()
    own, card = window.panel.session.objects, window.part("object_card")
    y, x = some_object(window)
    click(window, y, x, drag_px=9)
    wait_for_pick(window)
    assert own.selected is None  # it was a drag
    click(window, y, x)
    wait_for_pick(window)
    found = own.selected
    assert found.box.contains(Box(int(y), int(x), int(y) + 1, int(x) + 1))
    assert window.part("object_area").text() == f"{found.numbers['area_um2']:,.1f} µm²"
    assert window.part("object_class").text() == "nucleus"
    assert window.part("object_refined").text() == "no"
    assert found.id in card.toolTip()
    layer = window.panel.layers.selected
    assert layer in window.viewer.layers
    assert np.isin(layer.data[-1], (0, RIM, LINE)).all()
    assert (np.asarray(layer.data[-1]) == LINE).any()
    assert window.viewer.layers.selection.active is window.viewer.layers["slide"]

    window.press("list_objects")
    window.settle()
    table = window.panel.objects_section.dock.table
    model, view = table.model, table.view
    assert model.rowCount() == len(own.listed) > 3
    place = own.listed.place_of(found.first_pixel)
    assert view.currentIndex().row() == place
    assert window.part("objects_count").text().startswith(f"{len(own.listed)} of")

    view.sortByColumn(TITLES.index("Area µm²"), Qt.SortOrder.DescendingOrder)
    areas = own.listed.numbers["area_um2"]
    shown = [areas[model.place_at(row)] for row in range(model.rowCount())]
    assert shown == sorted(shown, reverse=True)
    assert model.place_at(view.currentIndex().row()) == place  # stays chosen
    row = 0 if model.place_at(0) != place else 1
    wanted = model.place_at(row)
    view.selectRow(row)
    wait_for_pick(window)
    assert own.selected.first_pixel == own.listed.first_pixel(wanted)
    middle = window.viewer.layers["slide"].data_to_world(
        np.array([own.listed.numbers[f"centroid_{one}_px"][wanted] for one in "yx"]) - 0.5
    )
    camera = window.viewer.scene.camera
    side = max(own.selected.box.shape) * 0.5
    window.until(lambda: np.abs(np.array(camera.center[-2:]) - middle).max() < side)

    labels = window.panel.session.seg.read_labels(window.panel.session.seg.grid.box)
    click(window, *(np.argwhere(labels == 0)[0] + 0.5))
    wait_for_pick(window)
    assert own.selected is None
    assert not view.selectionModel().hasSelection()
    assert not card.findChild(type(window.part("object_area")), "object_area").isVisible()
    assert not (np.asarray(layer.data[-1]) > 0).any()


def test_limits_filter_the_table_and_count_at_once(window: Window) -> None:
    window.run_coarse()
    window.press("list_objects")
    window.settle()
    session = window.panel.session
    own, model = session.objects, window.panel.objects_section.dock.table.model
    areas = own.listed.numbers["area_um2"]
    least = float(np.ceil(np.median(areas)))
    window.part("least_area").setValue(least)
    wanted = int((areas >= least).sum())
    assert 0 < wanted < len(areas)
    assert model.rowCount() == wanted
    assert window.part("objects_count").text().startswith(f"{wanted:,} of {len(areas):,} objects")
    histogram = window.part("area_histogram")
    assert histogram.limits == (least, math.inf)
    histogram.limits_dragged.emit(0.0, least)
    assert (window.part("least_area").value(), window.part("most_area").value()) == (0, least)
    assert model.rowCount() == int((areas <= least).sum())
    window.part("most_area").setValue(0)
    assert model.rowCount() == len(areas)
    window.part("least_area").setValue(least)
    window.part("limit_exports").click()
    assert own.least_exported_um2 == least


def test_the_table_can_be_closed_and_goes_with_the_panel(window: Window) -> None:
    window.run_coarse()
    window.press("list_objects")
    window.settle()
    table = window.panel.objects_section.dock.table

    def docks() -> list[str]:
        found = window.viewer.window._qt_window.findChildren(QDockWidget)
        return [dock.name for dock in found if dock.widget() is table]

    assert docks() == ["Objects"]
    window.viewer.window.remove_dock_widget(table)
    assert docks() == []
    window.press("show_table")
    table = window.panel.objects_section.dock.table
    assert docks() == ["Objects"]
    assert table.model.rowCount() > 3
    window.close_panel()
    assert docks() == []


def test_the_density_has_a_legend_and_cells_of_a_chosen_size(window: Window) -> None:
    window.run_coarse()
    assert window.part("density_legend").isHidden()
    window.part("density_cells").setCurrentIndex(0)
    window.press("density")
    window.settle()
    window.panel.layers.redraw()
    window.panel.show_session()
    density = window.panel.session.density
    assert density.grid.mpp == pytest.approx((32, 32))
    assert not window.part("density_legend").isHidden()
    assert f"{density.values.max():,.0f} objects" in window.part("density_legend").toolTip()


def test_the_section_fits_in_320_pixels(open_window) -> None:
    window = open_window(show=True)
    window.viewer.add_image(noise(150, 130), name="slide", scale=(0.5, 0.5), units=("um", "um"))
    window.use(FakeModel())
    window.run_coarse()
    click(window, *some_object(window))
    window.press("list_objects")
    window.settle()
    main, dock = window.viewer.window._qt_window, window.panel.parent()
    main.resizeDocks([dock], [320], Qt.Orientation.Horizontal)
    window.until(lambda: window.panel.width() <= 330)
    assert window.panel.objects_section.is_open
    assert window.part("object_area").isVisible()
    assert window.part("area_histogram").isVisible()
    assert clipped(window.panel) == []


# -- parts ---------------------------------------------------------------------------------------


def many(count: int) -> ObjectList:
    random = np.random.default_rng(0)
    names = [one.name for one in COLUMNS if one.name not in ("number", "class")]
    return ObjectList(
        values=random.integers(1, 3, count).astype(np.uint8),
        boxes=np.arange(4 * count, dtype=np.int32).reshape(count, 4),
        firsts=np.arange(count, dtype=np.int32),
        numbers={name: random.random(count) for name in names},
        tissue_mm2=1.0,
    )


@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_rows_are_sorted_and_filtered_in_any_order(column: int) -> None:
    objects, model = many(500), ObjectsModel()
    objects.numbers["uncertainty_mean"][::7] = np.nan
    model.set_objects(objects, CLASSES)
    model.sort(column, Qt.SortOrder.DescendingOrder)
    within = np.arange(500) % 3 > 0
    model.set_within(within)
    places = [model.place_at(row) for row in range(model.rowCount())]
    assert sorted(places) == np.flatnonzero(within).tolist()
    name = COLUMNS[column].name
    if name in objects.numbers:
        numbers = objects.numbers[name][places]
        known = numbers[~np.isnan(numbers)]
        assert (np.diff(known) <= 0).all()
        assert np.isnan(numbers[len(known) :]).all()  # unknown ones last
    assert all(model.row_of(place) == row for row, place in enumerate(places))
    assert model.row_of(0) is None
    model.sort(-1)
    assert model.place_at(0) == 1
    text = model.text(0, COLUMNS[TITLES.index("Uncertainty")])
    assert text == f"{objects.numbers['uncertainty_mean'][1]:.3f}"


def found_at(top: int, left: int) -> FoundObject:
    mask = np.ones((20, 30), bool)
    mask[:5, :5] = False
    return FoundObject(1, "", Box.at(top, left, 20, 30), (top, left + 5), mask, {})


@pytest.mark.parametrize("step", [0.125, 1.0, 8.0])
def test_a_line_runs_around_the_object_at_every_zoom(step: float) -> None:
    found = found_at(40, 60)
    shape = (round(120 / step), round(160 / step))
    whole = draw_around(found, Box(0, 0, *shape), step)
    inside = found.box.scaled(1 / step)
    if step < 8:
        assert not whole[inside.slices][round(8 / step), round(8 / step)]
    rows, columns = np.nonzero(whole == LINE)
    assert rows.min() < inside.top < inside.bottom < rows.max() + 1
    assert columns.min() < inside.left < inside.right < columns.max() + 1
    part = Box(inside.top, inside.left, inside.top + 7, inside.left + 9)
    np.testing.assert_array_equal(draw_around(found, part, step), whole[part.slices])
    assert not draw_around(found, Box.at(0, 0, 5, 5), 1).any()


@pytest.fixture
def histogram(qtbot) -> AreaHistogram:
    widget = AreaHistogram()
    qtbot.addWidget(widget)
    widget.resize(280, 90)
    widget.set_areas(np.geomspace(10, 1000, 500))
    return widget


def test_the_nearer_limit_is_dragged_and_opens_at_the_end(histogram, qtbot) -> None:
    said: list[tuple[float, float]] = []
    histogram.limits_dragged.connect(lambda low, high: said.append((low, high)))

    def drag(x: int) -> None:
        qtbot.mouseClick(histogram, Qt.MouseButton.LeftButton, pos=QPoint(x, 50))

    drag(100)
    low, high = histogram.limits
    assert 10 < low < 100 < high == math.inf
    drag(220)
    assert histogram.limits[0] == low < histogram.limits[1] < 1000
    drag(279)
    assert histogram.limits == (low, math.inf)
    drag(0)
    assert histogram.limits == (0.0, math.inf)
    assert said[-1] == (0.0, math.inf)


def test_keys_move_both_limits(histogram, qtbot) -> None:
    qtbot.keyClick(histogram, Qt.Key.Key_PageUp)
    qtbot.keyClick(histogram, Qt.Key.Key_PageDown, Qt.KeyboardModifier.ShiftModifier)
    low, high = histogram.limits
    assert 10 < low < high < 1000
    assert f"{low:.3g}" in histogram.accessibleDescription()
    qtbot.keyClick(histogram, Qt.Key.Key_Home)
    qtbot.keyClick(histogram, Qt.Key.Key_End, Qt.KeyboardModifier.ShiftModifier)
    assert histogram.limits == (0.0, math.inf)
    histogram.set_areas([])
    histogram.grab()
    histogram.set_areas([25.0])  # one area
    histogram.grab()
