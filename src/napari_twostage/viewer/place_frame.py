"""Frame round the place that is looked at, as wide at every zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.colormaps import Ink

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box

_STROKES = ((6, Ink.RIM), (5, Ink.PLACE), (2, Ink.RIM))
"""Half the width of each stroke, and its ink, the widest first: two white lines round a dark one,
which nothing else over a slide has."""
LEAST_PX = 24
"""Smallest side of a frame, so that a place is found on the whole slide."""


def draw_frame(pixels: NDArray[np.uint8], part: Box, step: float, place: Box) -> None:
    """Draw the outline of a place into a part of a level.

    Parameters
    ----------
    pixels : (part.height, part.width) uint8 array
        Values of `Ink`; changed in place.
    part : Box
        Part of the level.
    step : float
        Pixels of the plane along a side of a pixel of the level.
    place : Box
        Box of the plane.
    """
    frame = place.scaled(1 / step)
    frame = frame.grow(max(0, (LEAST_PX - min(frame.shape)) // 2)).shift(-part.top, -part.left)
    for reach, ink in _STROKES:
        outer, inner = frame.grow(reach), frame.grow(-reach)
        for top, bottom in ((outer.top, inner.top), (inner.bottom, outer.bottom)):
            pixels[max(0, top) : max(0, bottom), max(0, outer.left) : max(0, outer.right)] = ink
        for left, right in ((outer.left, inner.left), (inner.right, outer.right)):
            pixels[max(0, outer.top) : max(0, outer.bottom), max(0, left) : max(0, right)] = ink
