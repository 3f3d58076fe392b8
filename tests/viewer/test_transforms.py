"""Our layers are aligned with the slide's pixels: by calculation, and on the screen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image, Labels

from napari_twostage.geometry import Box, Grid
from napari_twostage.viewer.transforms import layer_transform, transform_from_mpp

MARK = 48
"""Side of the marks in the corners, in level-0 pixels."""

frames = st.sampled_from(
    [
        {},
        {"scale": (0.5, 0.25), "translate": (30, -7), "units": ("um", "um")},
        {"scale": (2, 2), "rotate": 30, "translate": (5, 9)},
        {"scale": (0.5, 0.8), "rotate": 200, "shear": [0.3]},
        {"scale": (0.5, 0.5), "affine": [[0.9, 0.2, 40], [-0.1, 1.1, -3], [0, 0, 1]]},
    ]
)


def corners(layer, box: tuple[float, float, float, float]) -> np.ndarray:
    """World positions of the corners of rows and columns of a layer's own pixels."""
    top, left, bottom, right = np.asarray(box) - 0.5
    return np.array(
        [
            layer.data_to_world(p)
            for p in ((top, left), (top, right), (bottom, left), (bottom, right))
        ]
    )


@given(
    frame=frames, step=st.tuples(st.sampled_from([0.7, 1, 4, 32]), st.sampled_from([1, 3.5, 16]))
)
def test_corners_of_every_grid_meet_those_of_the_slide(frame, step) -> None:
    slide = Image(np.zeros((64, 96)), **frame)
    shape = (int(64 / step[0]), int(96 / step[1]))
    ours = Labels(np.zeros(shape, int), **layer_transform(slide, Grid(shape, step, (1, 1))))
    covered = (0, 0, shape[0] * step[0], shape[1] * step[1])
    assert np.allclose(corners(ours, (0, 0, *shape)), corners(slide, covered))
    assert ours.units == slide.units


@given(frame=frames, top=st.integers(0, 9), left=st.integers(0, 9))
def test_a_part_of_a_grid_lies_where_it_was_cut_out(frame, top, left) -> None:
    slide = Image(np.zeros((64, 96)), **frame)
    grid = Grid((16, 24), (4, 4), (1, 1))
    box = Box.at(top, left, 5, 6)
    whole = Labels(np.zeros(grid.shape, int), **layer_transform(slide, grid))
    part = Labels(np.zeros(box.shape, int), **layer_transform(slide, grid, box))
    assert np.allclose(
        corners(part, (0, 0, 5, 6)), corners(whole, (box.top, box.left, box.bottom, box.right))
    )


def test_the_reader_places_as_the_panel_does() -> None:
    slide = Image(np.zeros((64, 96)), scale=(0.5, 0.25), units=("um", "um"))
    grid = Grid((16, 24), (4, 4), (2, 1))
    by_layer = Labels(np.zeros(grid.shape, int), **layer_transform(slide, grid))
    by_size = Labels(np.zeros(grid.shape, int), **transform_from_mpp(grid, (0.5, 0.25)))
    assert np.allclose(corners(by_layer, (0, 0, 16, 24)), corners(by_size, (0, 0, 16, 24)))
    assert by_layer.units == by_size.units


def marked(shape: tuple[int, int]) -> np.ndarray:
    """Plane with 1 in a square in each corner, 0 elsewhere."""
    plane = np.zeros(shape, np.uint8)
    for rows in (slice(None, MARK), slice(-MARK, None)):
        for columns in (slice(None, MARK), slice(-MARK, None)):
            plane[rows, columns] = 1
    return plane


def thinned(plane: np.ndarray, step: int) -> np.ndarray:
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % step), (0, -width % step)), mode="edge")
    return padded[step // 2 :: step, step // 2 :: step]


# no side divides by 8: coarse levels end with a part of a pixel
@pytest.mark.parametrize("own_frame", [{}, {"translate": (250, -90)}])
def test_marks_in_the_corners_cover_each_other_on_the_screen(make_napari_viewer, own_frame) -> None:
    shape = (1532, 1820)
    plane = marked(shape)
    viewer = make_napari_viewer(show=True)
    colours = [np.stack([thinned(plane, s) * 255] * 3, axis=-1) for s in (1, 2, 4, 8, 16)]
    slide = viewer.add_image(
        colours, multiscale=True, rgb=True, scale=(0.5, 0.5), units=("um", "um"), **own_frame
    )
    ours = viewer.add_labels(
        [thinned(plane, step) for step in (4, 8, 16)],
        multiscale=True, opacity=1, **layer_transform(slide, Grid((383, 455), (4, 4), (2, 2))),
    )  # fmt: skip
    levels = set()
    for zoom in (4, 2, 1, 0.5, 0.25, 0.125):  # screen pixels per level-0 pixel
        viewer.scene.camera.zoom = zoom * 2
        # up to here the labels' pixels are exact; then half a pixel of a level is lost in thinning
        allowed = 1 if zoom >= 0.5 else 2
        for corner in corners(slide, (0, 0, *shape)):
            viewer.scene.camera.center = tuple(corner)
            slide.visible, ours.visible = True, False
            white = viewer.screenshot(flash=False)[..., 1] > 128
            slide.visible, ours.visible = False, True
            label = viewer.screenshot(flash=False)[..., :3].max(axis=-1) > 60
            levels.add((slide.data_level, ours.data_level))
            assert white.any()
            for axis in (0, 1):
                seen, covered = (np.flatnonzero(one.any(axis=axis)) for one in (white, label))
                assert abs(seen.min() - covered.min()) <= allowed
                assert abs(seen.max() - covered.max()) <= allowed
    assert {slide for slide, _ in levels} >= {0, 1, 2}
    assert {ours for _, ours in levels} >= {0, 1}
