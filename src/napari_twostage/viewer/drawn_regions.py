"""Regions to refine, drawn by the user on one Shapes layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from napari_twostage.viewer.camera import level_0_points
from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

LINE_PX = 2.0
"""Width of the drawn lines in screen pixels, at the zoom when the layer was made."""


class DrawnRegions:
    """Polygons that the user draws to select tiles.

    All slides share one layer, which is hidden after use and never removed: drawing after a
    Shapes layer was removed crashes Mesa's software OpenGL.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer to draw in.
    changed : callable
        Called after every change of the shapes.
    """

    def __init__(self, viewer: ViewerModel, changed: Callable[[], None]) -> None:
        self._viewer = viewer
        self._changed = changed
        self._layer: Shapes | None = None

    def draw(self, slide_layer: Image) -> None:
        """Show the layer and select its polygon tool."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            layer = self._layer = Shapes(
                name="region to refine",
                ndim=2,
                edge_color="#00c8ff",
                edge_width=LINE_PX / float(self._viewer.scene.camera.zoom),
                face_color="#00c8ff22",
                units=slide_layer.units[-2:],
                metadata={METADATA_KEY: {"role": "region", "result": None}},
            )
            self._viewer.add_layer(layer)
            layer.events.data.connect(self._drawn)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.mode = "add_polygon"

    def polygons(self, slide_layer: Image) -> list[NDArray[np.float64]]:
        """Vertices (y, x), on the slide's level 0, of the selected shapes, or of all if none is."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or not layer.visible:
            return []
        chosen = sorted(layer.selected_data) or range(len(layer.data))
        return [
            level_0_points(slide_layer, [np.asarray(layer.data_to_world(v)) for v in layer.data[i]])
            for i in chosen
            if len(layer.data[i]) >= 3
        ]

    def clear(self) -> None:
        """Delete all shapes and hide the layer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.mode = "pan_zoom"
            self._layer.data = []
            self._layer.visible = False

    def _drawn(self, _event: object) -> None:
        self._changed()
