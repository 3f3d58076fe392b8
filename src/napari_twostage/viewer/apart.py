"""Places of several slides: beside each other, so that none covers another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer

GAP = 0.05
"""Room between two slides, as a share of the width of the one that is moved."""


def place_apart(layer: Layer, others: Iterable[Layer]) -> bool:
    """Move a slide to the right of others that it would cover.

    Only slides that our reader opened are moved, and only away from slides of other files: layers
    of a user, and channels or scans of one file, lie where they are meant to.

    Parameters
    ----------
    layer : napari layer
        The slide that was added last.
    others : iterable of napari layer
        Layers of the slides that were there before.

    Returns
    -------
    bool
        Whether it was moved.
    """
    path = _path(layer)
    extents = [
        other.extent.world[:, -1]
        for other in others
        if other.visible and _path(other) not in (None, path) and other.units == layer.units
    ]
    if path is None or not extents or np.any(layer.translate):
        return False
    left, right = layer.extent.world[:, -1].tolist()
    taken = max(float(edges[1]) for edges in extents)
    layer.translate = (*layer.translate[:-1], taken - left + GAP * (right - left))
    return True


def _path(layer: Layer) -> object:
    """Place of the file that our reader opened; None for layers of others."""
    ours = layer.metadata.get(METADATA_KEY, {})
    return ours["slide"].path if ours.get("role") == "slide" else None
