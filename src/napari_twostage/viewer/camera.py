"""The viewer's camera: the visible part of a slide, and animated moves to another part."""

from __future__ import annotations

from itertools import product
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEasingCurve, QObject, QVariantAnimation

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

MARGIN = 3.0
"""Size of the view as a multiple of the box it was moved to."""
FLIGHT_MS = 350
"""Duration of a camera move, in milliseconds."""


def visible_box(viewer: ViewerModel, layer: Image, shape: Shape) -> Box:
    """Part of a slide that is in view.

    Parameters
    ----------
    viewer : ViewerModel
        Displays two dimensions.
    layer : Image
        Layer of the slide.
    shape : (int, int)
        Rows and columns of the slide's level 0.

    Returns
    -------
    Box
        On level 0; its area is zero if the slide is out of view.
    """
    camera = viewer.scene.camera
    middle = np.asarray(camera.center[-2:])
    half = np.asarray(viewer.canvas.size) / camera.zoom / 2
    corners = [middle + half * sides for sides in product((-1, 1), repeat=2)]
    return level_0_box(layer, corners).clip(shape)


def level_0_box(layer: Image, points: Iterable[NDArray[np.float64]]) -> Box:
    """Smallest box on the slide's level 0 around world points (y, x)."""
    places = level_0_points(layer, points)
    top, left = np.floor(places.min(axis=0)).astype(int).tolist()
    bottom, right = np.ceil(places.max(axis=0)).astype(int).tolist()
    return Box(top, left, bottom, right)


def level_0_points(layer: Image, points: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """World points (y, x) in level-0 pixels; (0, 0) is the corner of the first pixel."""
    # napari's origin is the centre of the first pixel
    return np.array([layer.world_to_data(point)[-2:] for point in points]) + 0.5


def view_showing(
    viewer: ViewerModel, layer: Image, box: Box, margin: float = MARGIN
) -> tuple[tuple[float, float], float]:
    """Camera centre (y, x) and zoom that show a level-0 box, `margin` times as large."""
    corners = [
        np.asarray(layer.data_to_world((*(0,) * (layer.ndim - 2), y - 0.5, x - 0.5)))[-2:]
        for y, x in product((box.top, box.bottom), (box.left, box.right))
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    zoom = float(np.min(np.asarray(viewer.canvas.size) / ((high - low) * margin)))
    y, x = ((low + high) / 2).tolist()
    return (y, x), zoom


class CameraFlight(QObject):
    """Animated camera moves, so that the user keeps the orientation.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer whose camera moves.
    parent : QObject
        Owner; a move ends when it is deleted.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._animation = QVariantAnimation(self)
        self._animation.setDuration(FLIGHT_MS)
        self._animation.setStartValue(0.0)
        self._animation.setEndValue(1.0)
        self._animation.setEasingCurve(QEasingCurve.Type.InOutQuad)
        self._animation.valueChanged.connect(self._move)
        self._start = self._end = (0.0, 0.0, 1.0)

    def fly_to(self, center: tuple[float, float], zoom: float) -> None:
        """Start a move to a centre (y, x) and a zoom; it replaces a move under way."""
        self._animation.stop()
        camera = self._viewer.scene.camera
        y, x = camera.center[-2:]
        self._start = (float(y), float(x), float(camera.zoom))
        self._end = (*center, zoom)
        self._animation.start()

    def _move(self, share: float) -> None:
        (y0, x0, z0), (y1, x1, z1) = self._start, self._end
        camera = self._viewer.scene.camera
        camera.zoom = exp(log(z0) + (log(z1) - log(z0)) * share)
        camera.center = (0.0, y0 + (y1 - y0) * share, x0 + (x1 - x0) * share)
