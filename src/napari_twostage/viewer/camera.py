"""What is in view, and how to get to a place."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

MARGIN = 3.0
"""A place that the camera goes to takes this share of the view, inverted."""


def visible_box(viewer: ViewerModel, layer: Image, shape: Shape) -> Box:
    """The part of a slide that is in view.

    Parameters
    ----------
    viewer : ViewerModel
        In two dimensions.
    layer : Image
        Shows the slide.
    shape : (int, int)
        Rows and columns of the slide's level 0.

    Returns
    -------
    Box
        On level 0; of zero area where the slide is out of view.
    """
    camera = viewer.scene.camera
    middle = np.asarray(camera.center[-2:])
    half = np.asarray(viewer.canvas.size) / camera.zoom / 2
    corners = [middle + half * sides for sides in product((-1, 1), repeat=2)]
    return level_0_box(layer, corners).clip(shape)


def level_0_box(layer: Image, points: Iterable[NDArray[np.float64]]) -> Box:
    """The smallest box of the slide's level 0 round points (y, x) of napari's world."""
    places = level_0_points(layer, points)
    top, left = np.floor(places.min(axis=0)).astype(int).tolist()
    bottom, right = np.ceil(places.max(axis=0)).astype(int).tolist()
    return Box(top, left, bottom, right)


def level_0_points(layer: Image, points: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Points (y, x) of napari's world in the slide's level-0 pixels, counted from the corner."""
    # napari counts from the middle of the first pixel
    return np.array([layer.world_to_data(point)[-2:] for point in points]) + 0.5


def view_of(viewer: ViewerModel, layer: Image, box: Box) -> tuple[tuple[float, float], float]:
    """Camera centre (y, x) and zoom that show a box of level 0 with its surroundings."""
    corners = [
        np.asarray(layer.data_to_world((y - 0.5, x - 0.5)))[-2:]
        for y, x in product((box.top, box.bottom), (box.left, box.right))
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    zoom = float(np.min(np.asarray(viewer.canvas.size) / ((high - low) * MARGIN)))
    y, x = ((low + high) / 2).tolist()
    return (y, x), zoom
