"""Regions on the canvas: polygons lie on the slide for any layer transform, and stay in step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from tests.fakes import noise

from napari_twostage.session import Session
from napari_twostage.viewer.drawn_regions import NAME, TOOLS, DrawnRegions
from napari_twostage.viewer.slide_of_layer import slide_of_layer

if TYPE_CHECKING:
    from napari.layers import Shapes

FRAMES = [
    {},
    {"scale": (0.5, 0.25), "translate": (30, -7), "units": ("um", "um")},
    {"scale": (2, 2), "rotate": 30, "translate": (5, 9)},
]
TRIANGLE = np.array([(10.0, 12.0), (40.0, 12.0), (25.0, 60.0)])
"""Vertices (y, x) on the slide's level 0, relative to its corner."""
SQUARE = np.array([(5.0, 5.0), (5.0, 30.0), (30.0, 30.0), (30.0, 5.0)])


class Canvas:
    """A viewer with a slide, a session of it, and its regions; no window."""

    def __init__(self, **frame) -> None:
        self.viewer = ViewerModel()
        self.slide_layer = self.viewer.add_image(noise(70, 90), **frame)
        self.session = Session()
        self.session.set_slide(slide_of_layer(self.slide_layer, mpp=(0.5, 0.5)))
        self.drawn = DrawnRegions(self, self.viewer)

    def do(self, action) -> None:
        action()

    @property
    def regions(self):
        return self.session.regions

    @property
    def layer(self) -> Shapes:
        return self.viewer.layers[NAME]

    def draw(self, corners: np.ndarray) -> None:
        """Draw a polygon, as with the mouse."""
        self.drawn.draw("Polygon")
        world = [self.slide_layer.data_to_world(vertex - 0.5) for vertex in corners]
        self.layer.add_polygons(np.array([self.layer.world_to_data(place) for place in world]))
        self.drawn.show()


@pytest.mark.parametrize("frame", FRAMES)
def test_what_is_drawn_lies_on_the_slide(frame) -> None:
    canvas = Canvas(**frame)
    canvas.drawn.show()
    assert list(canvas.viewer.layers) == [canvas.slide_layer]  # no layer without regions
    canvas.draw(TRIANGLE)
    (one,) = canvas.regions.all
    np.testing.assert_allclose(one.rings[0], TRIANGLE, atol=1e-4)  # napari keeps float32
    assert canvas.layer.units == canvas.slide_layer.units
    assert not canvas.drawn.drawing
    assert list(canvas.layer.features["name"]) == ["Region 1"]
    canvas.regions.add([SQUARE, TRIANGLE + 9], "imported")
    canvas.drawn.show()
    assert canvas.layer.nshapes == 3
    inner = canvas.slide_layer.data_to_world(SQUARE[1] - 0.5)
    np.testing.assert_allclose(canvas.layer.data[1][1], inner[-2:], atol=1e-4)


def test_what_is_moved_or_deleted_on_the_canvas_is_so_in_the_session() -> None:
    canvas = Canvas()
    canvas.draw(TRIANGLE)
    canvas.draw(SQUARE)
    first, second = canvas.regions.all
    moved = [data + 3 if index == 0 else data for index, data in enumerate(canvas.layer.data)]
    canvas.drawn._layer._data_view.edit(0, moved[0])
    canvas.layer.events.data(value=moved, action="changed", data_indices=(0,), vertex_indices=((),))
    np.testing.assert_allclose(canvas.regions.all[0].rings[0], TRIANGLE + 3, atol=1e-4)
    assert canvas.regions.all[1] is second
    canvas.layer.selected_data = {1}
    assert canvas.regions.selected == {second.id}
    canvas.layer.remove_selected()
    assert [one.id for one in canvas.regions.all] == [first.id]
    canvas.regions.remove([first.id])
    canvas.drawn.show()
    assert canvas.layer.nshapes == 0
    assert not canvas.layer.visible


def test_what_is_no_area_is_no_region() -> None:
    canvas = Canvas()
    canvas.draw(np.array([(3.0, 3.0), (9.0, 9.0), (20.0, 20.0)]))
    assert canvas.regions.all == ()
    assert canvas.layer.nshapes == 0


def test_a_polygon_that_is_being_drawn_is_left_alone() -> None:
    canvas = Canvas()
    canvas.draw(TRIANGLE)
    canvas.drawn.draw("Freehand")
    canvas.layer.add(SQUARE[:2], shape_type="path", gui=True)  # as the first click does
    canvas.regions.rename(canvas.regions.all[0].id, "tumour")
    canvas.drawn.show()
    assert canvas.layer.nshapes == 2
    assert canvas.drawn.drawing


def test_an_ellipse_is_a_polygon() -> None:
    canvas = Canvas()
    canvas.drawn.draw("Polygon")
    canvas.layer.add_ellipses(SQUARE - 0.5)
    (one,) = canvas.regions.all
    radii = np.linalg.norm(np.array(one.rings[0]) - 17.5, axis=1)
    np.testing.assert_allclose(radii, 12.5, atol=1e-4)


def test_a_click_selects_the_smallest_region_there() -> None:
    canvas = Canvas()
    outer = canvas.regions.add([SQUARE * 2])
    inner = canvas.regions.add([SQUARE])
    canvas.drawn.show()

    def click(y: float, x: float, *, drag: int = 0) -> None:
        event = SimpleNamespace(position=(y, x), pos=(0, 0), type="mouse_press")
        handler = canvas.drawn._clicked(canvas.viewer, event)
        next(handler)
        event.pos, event.type = (0, drag), "mouse_release"
        next(handler, None)

    for place, expected in (((20, 20), {inner.id}), ((40, 40), {outer.id}), ((65, 85), set())):
        click(*place)
        assert canvas.regions.selected == expected
    click(20, 20, drag=40)
    assert canvas.regions.selected == set()


def test_a_layer_that_the_user_removed_is_made_again() -> None:
    canvas = Canvas()
    canvas.draw(TRIANGLE)
    canvas.viewer.layers.remove(canvas.layer)
    canvas.drawn.draw("Rectangle")
    assert canvas.layer.nshapes == 1
    assert str(canvas.layer.mode) == TOOLS["Rectangle"][0]


def test_lines_keep_their_width_on_the_screen() -> None:
    canvas = Canvas()
    canvas.draw(TRIANGLE)
    canvas.regions.select([])
    canvas.drawn.show()
    before = canvas.layer.edge_width[0] * canvas.viewer.scene.camera.zoom
    canvas.viewer.scene.camera.zoom *= 4
    assert canvas.layer.edge_width[0] * canvas.viewer.scene.camera.zoom == pytest.approx(before)
