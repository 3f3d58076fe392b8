"""Places of several slides: beside each other, so that none covers another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.viewer.channel_layers import slide_of_reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Layer

GAP = 0.05
"""Room between two slides, as a share of the width of the one that is moved."""
MARGIN = 0.95
"""Share of the canvas that a slide fills when it is shown."""


def place_apart(layer: Layer, others: Iterable[Layer]) -> bool:
    """Move a slide to the right of others that it would cover.

    Only slides that our reader opened are moved, and only away from slides of other files: layers
    of a user lie where they are meant to, and channels and scans of one file lie together.

    Parameters
    ----------
    layer : napari layer
        The slide that was added last.
    others : iterable of napari layer
        Layers that were there before.

    Returns
    -------
    bool
        Whether it was moved away from others.
    """
    path = _path(layer)
    if path is None or np.any(layer.translate):
        return False
    others = [one for one in others if one.visible and one.units == layer.units]
    siblings = [one for one in others if _path(one) == path]
    if siblings:
        layer.translate = siblings[0].translate
        return False
    extents = [one.extent.world[:, -1] for one in others if _path(one) is not None]
    if not extents:
        return False
    left, right = layer.extent.world[:, -1].tolist()
    taken = max(float(edges[1]) for edges in extents)
    layer.translate = (*layer.translate[:-1], taken - left + GAP * (right - left))
    return True


def show_whole(viewer: ViewerModel, layer: Layer) -> None:
    """Move the camera so that it shows all of a layer."""
    low, high = layer.extent.world[:, -2:]
    y, x = ((low + high) / 2).tolist()
    viewer.scene.camera.zoom = MARGIN * float(np.min(np.asarray(viewer.canvas.size) / (high - low)))
    viewer.scene.camera.center = (0.0, y, x)


def _path(layer: Layer) -> object:
    """Place of the file that our reader opened; None for layers of others."""
    slide = slide_of_reader(layer)
    return None if slide is None else slide.path
