"""Drawn polygons are returned in slide pixels, for any layer transform."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from tests.fakes import noise

from napari_twostage.viewer.drawn_regions import DrawnRegions

FRAMES = [
    {},
    {"scale": (0.5, 0.25), "translate": (30, -7), "units": ("um", "um")},
    {"scale": (2, 2), "rotate": 30, "translate": (5, 9)},
]
TRIANGLE = np.array([(10.0, 12.0), (40.0, 12.0), (25.0, 60.0)])
"""Vertices (y, x) on the slide's level 0, relative to its corner."""


def draw(viewer: ViewerModel, regions: DrawnRegions, triangle: np.ndarray = TRIANGLE) -> None:
    """Draw a triangle, as with the mouse."""
    slide = viewer.layers[0]
    regions.draw(slide)
    layer = viewer.layers[-1]
    world = [slide.data_to_world(vertex - 0.5) for vertex in triangle]
    layer.add_polygons(np.array([layer.world_to_data(place) for place in world]))


@pytest.fixture
def changes() -> list[int]:
    return []


def begin(frame: dict, changes: list[int]) -> tuple[ViewerModel, DrawnRegions]:
    viewer = ViewerModel()
    viewer.add_image(noise(70, 90), **frame)
    return viewer, DrawnRegions(viewer, lambda: changes.append(1))


@pytest.mark.parametrize("frame", FRAMES)
def test_what_is_drawn_lies_on_the_slide(frame, changes) -> None:
    viewer, regions = begin(frame, changes)
    slide = viewer.layers[0]
    assert regions.polygons(slide) == []
    draw(viewer, regions)
    assert changes
    (polygon,) = regions.polygons(slide)
    np.testing.assert_allclose(polygon, TRIANGLE, atol=1e-4)  # napari keeps float32
    assert viewer.layers[-1].units == slide.units


def test_only_what_is_selected_counts(changes) -> None:
    viewer, regions = begin({}, changes)
    slide = viewer.layers[0]
    draw(viewer, regions)
    draw(viewer, regions, TRIANGLE + 5)
    layer = viewer.layers[-1]
    layer.selected_data = {1}
    (polygon,) = regions.polygons(slide)
    np.testing.assert_allclose(polygon, TRIANGLE + 5, atol=1e-4)
    layer.selected_data = set()
    assert len(regions.polygons(slide)) == 2


def test_there_is_one_layer_and_it_is_hidden_not_removed(changes) -> None:
    viewer, regions = begin({}, changes)
    slide = viewer.layers[0]
    draw(viewer, regions)
    layer = viewer.layers[-1]
    regions.clear()
    assert layer in viewer.layers
    assert not layer.visible
    assert regions.polygons(slide) == []
    draw(viewer, regions)
    assert list(viewer.layers) == [slide, layer]
    assert layer.visible
    assert len(regions.polygons(slide)) == 1
    assert viewer.layers.selection.active is layer


def test_a_layer_that_the_user_removed_is_made_again(changes) -> None:
    viewer, regions = begin({}, changes)
    slide = viewer.layers[0]
    draw(viewer, regions)
    viewer.layers.remove(viewer.layers[-1])
    assert regions.polygons(slide) == []
    regions.clear()
    draw(viewer, regions)
    assert len(regions.polygons(slide)) == 1
