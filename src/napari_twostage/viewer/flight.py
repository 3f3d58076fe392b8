"""The camera's way from one place to another: seen, so that the user keeps the bearings."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

from qtpy.QtCore import QEasingCurve, QObject, QVariantAnimation

if TYPE_CHECKING:
    from napari.components import ViewerModel

FLIGHT_MS = 350


class Flight(QObject):
    """Moves a viewer's camera.

    Parameters
    ----------
    viewer : ViewerModel
    parent : QObject
        Whose end is the end of all flights.
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

    def go(self, center: tuple[float, float], zoom: float) -> None:
        """Fly to a centre (y, x) and a zoom."""
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
