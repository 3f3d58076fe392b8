"""The one Shapes layer that regions to refine are drawn on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from napari_twostage.viewer.camera import level_0_points
from napari_twostage.viewer.settings import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

LINE_PX = 2.0
"""Width of the drawn lines on the screen, at the zoom they are begun at."""


class Regions:
    """Regions that the user draws.

    There is one layer for all slides, hidden once it was used: to remove a Shapes layer and then
    draw crashes Mesa's software OpenGL.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are drawn.
    changed : callable
        Called when something was drawn.
    """

    def __init__(self, viewer: ViewerModel, changed: Callable[[], None]) -> None:
        self._viewer = viewer
        self._changed = changed
        self._layer: Shapes | None = None

    def draw(self, slide_layer: Image) -> None:
        """Let the user draw a polygon."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            layer = self._layer = Shapes(
                name="region to refine",
                ndim=2,
                edge_color="#00c8ff",
                edge_width=LINE_PX / float(self._viewer.scene.camera.zoom),
                face_color="#00c8ff22",
                units=slide_layer.units,
                metadata={KEY: {"role": "region", "result": None}},
            )
            self._viewer.add_layer(layer)
            layer.events.data.connect(self._drawn)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.mode = "add_polygon"

    def polygons(self, slide_layer: Image) -> list[NDArray[np.float64]]:
        """Vertices (y, x) on the slide's level 0 of the shapes selected, or of all."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or not layer.visible:
            return []
        chosen = sorted(layer.selected_data) or range(len(layer.data))
        return [
            level_0_points(slide_layer, [np.asarray(layer.data_to_world(v)) for v in layer.data[i]])
            for i in chosen
            if len(layer.data[i]) >= 3
        ]

    def put_away(self) -> None:
        """Forget what was drawn, and hide the layer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.mode = "pan_zoom"
            self._layer.data = []
            self._layer.visible = False

    def _drawn(self, _event: object) -> None:
        self._changed()
