"""Clicks in the picture that select an object."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.viewer.camera import level_0_points

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_twostage.viewer.panel.host import PanelHost

DRAG_PX = 4
"""Pixels of the screen from which on a move of the pressed mouse is a drag, which pans."""


class ObjectPicking:
    """Selects the object of the chosen slide that is clicked on, and none in the background.

    Whichever layer is active, as long as it is panned and not drawn on.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer that is clicked in.
    host : PanelHost
        Panel with the chosen slide and its session.
    """

    def __init__(self, viewer: ViewerModel, host: PanelHost) -> None:
        self._viewer = viewer
        self._host = host
        viewer.mouse_drag_callbacks.append(self._pressed)

    def close(self) -> None:
        """Listen no more."""
        if self._pressed in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._pressed)

    def _pressed(self, _viewer: ViewerModel, event: Event) -> Generator[None, None, None]:
        """Called by napari when a mouse button is pressed, and gone on with until it is not."""
        if not self._may_pick(event):
            return
        began = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            if np.abs(np.asarray(event.pos) - began).max() >= DRAG_PX:
                return
            yield
        self._host.do(partial(self._pick, event.position[-2:]))

    def _may_pick(self, event: Event) -> bool:
        active = self._viewer.layers.selection.active
        mode = str(getattr(active, "mode", "pan_zoom"))
        layers, layer = self._host.layers, self._host.slide_layer
        return (
            event.button == 1
            and not event.modifiers
            and self._viewer.dims.ndisplay == 2
            and mode == "pan_zoom"
            and layers is not None
            and layers.is_shown("labels")
            and layer is not None
            and layer.visible
        )

    def _pick(self, position: tuple[float, float]) -> None:
        """Select the object at a point (y, x) of the world."""
        layer, session = self._host.slide_layer, self._host.session
        if layer is None or session.slide is None or session.seg is None:
            return
        y, x = level_0_points(layer, [np.asarray(position)])[0].tolist()
        rows, columns = session.slide.level_shapes[0]
        if 0 <= y < rows and 0 <= x < columns:
            session.objects.select_at(y, x)
        else:
            session.objects.deselect()
