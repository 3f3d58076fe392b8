"""The visible box is the part of the slide that the camera shows, for any layer transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel

from napari_twostage.geometry import Box
from napari_twostage.viewer.camera import MARGIN, level_0_box, view_showing, visible_box

SHAPE = (400, 300)
straight = st.sampled_from(
    [
        {},
        {"scale": (0.5, 0.25), "translate": (30, -7), "units": ("um", "um")},
        {"scale": (500, 500), "translate": (-9000, 100), "units": ("nm", "nm")},
        {"affine": [[2, 0, 40], [0, 3, -3], [0, 0, 1]]},
    ]
)
turned = st.sampled_from(
    [
        {"scale": (2, 2), "rotate": 30, "translate": (5, 9)},
        {"scale": (0.5, 0.8), "rotate": 200, "shear": [0.3]},
        {"rotate": 90},
        {"scale": (0.5, -0.5)},
    ]
)
places = st.tuples(
    st.integers(0, 360), st.integers(0, 260), st.integers(1, 40), st.integers(1, 40)
).map(lambda p: Box.at(*p))


def open_viewer(frame: dict) -> ViewerModel:
    viewer = ViewerModel()
    viewer.canvas.size = (600, 800)
    viewer.add_image(np.zeros(SHAPE, np.uint8), **frame)
    return viewer


def fly(viewer: ViewerModel, box: Box) -> None:
    center, viewer.scene.camera.zoom = view_showing(viewer, viewer.layers[0], box)
    viewer.scene.camera.center = (0, *center)


def in_view(viewer: ViewerModel, shape: tuple[int, int] = (10**6, 10**6)) -> Box:
    return visible_box(viewer, viewer.layers[0], shape)


@given(frame=st.one_of(straight, turned), box=places)
def test_a_place_that_was_flown_to_is_in_view(frame, box) -> None:
    viewer = open_viewer(frame)
    fly(viewer, box)
    assert in_view(viewer, SHAPE).contains(box)


@given(frame=straight, box=places)
def test_a_place_is_in_the_middle_with_its_surroundings(frame, box) -> None:
    viewer = open_viewer(frame)
    # far from the edges, where the view is cut
    box = box.shift(100_000, 100_000)
    fly(viewer, box)
    seen = in_view(viewer)
    assert abs((seen.top + seen.bottom) - (box.top + box.bottom)) <= 2
    assert abs((seen.left + seen.right) - (box.left + box.right)) <= 2
    shares = (seen.height / box.height, seen.width / box.width)
    assert min(shares) >= MARGIN - 1e-6
    tight = int(np.argmin(shares))
    assert seen.shape[tight] <= MARGIN * box.shape[tight] + 2


@given(frame=st.one_of(straight, turned), box=places)
def test_pixels_in_the_corners_of_the_canvas_are_in_view(frame, box) -> None:
    viewer = open_viewer(frame)
    fly(viewer, box)
    seen, camera = in_view(viewer).grow(1), viewer.scene.camera
    for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        world = np.array(camera.center[-2:]) + np.array((600, 800)) / 2 / camera.zoom * sign
        y, x = viewer.layers[0].world_to_data(world)
        if y >= 0 and x >= 0:  # the box was cut there
            assert seen.top <= y <= seen.bottom
            assert seen.left <= x <= seen.right


@pytest.mark.parametrize("zoom", [0.1, 1, 7])
def test_the_view_is_cut_at_the_slide(zoom) -> None:
    viewer = open_viewer({"scale": (0.5, 0.5), "units": ("um", "um")})
    viewer.scene.camera.zoom = zoom
    viewer.scene.camera.center = (0, 0, 0)
    seen = in_view(viewer, SHAPE)
    assert (seen.top, seen.left) == (0, 0)
    assert seen.bottom == min(SHAPE[0], np.ceil(300 / zoom / 0.5 + 0.5))
    assert seen.right == min(SHAPE[1], np.ceil(400 / zoom / 0.5 + 0.5))
    viewer.scene.camera.center = (0, 1e5, 1e5)
    assert in_view(viewer, SHAPE).area == 0


def test_a_box_of_one_pixel_is_that_pixel() -> None:
    viewer = open_viewer({"scale": (0.5, 0.25), "translate": (30, -7)})
    layer = viewer.layers[0]
    corners = [layer.data_to_world(p) for p in ((6.5, 9.5), (7.5, 10.5))]
    inwards = [np.asarray(c) * (1 - 1e-9) + np.mean(corners, axis=0) * 1e-9 for c in corners]
    assert level_0_box(layer, inwards) == Box.at(7, 10, 1, 1)
