"""The mouse pointer over the slide, told of a few times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel

PAUSE_MS = 100
"""Time between two calls while the pointer moves."""


class Pointer(QObject):
    """Calls a function with the place that the pointer has moved to.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer over whose canvas the pointer moves.
    parent : QObject
        Owner.
    moved : callable
        Gets world coordinates.
    """

    def __init__(
        self, viewer: ViewerModel, parent: QObject, moved: Callable[[Sequence[float]], None]
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._moved = moved
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._tell)
        viewer.cursor.events.position.connect(self._wait)

    def close(self) -> None:
        """Call no more."""
        self._timer.stop()
        self._viewer.cursor.events.position.disconnect(self._wait)

    def _wait(self, _event: object = None) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _tell(self) -> None:
        self._moved(self._viewer.cursor.position)
