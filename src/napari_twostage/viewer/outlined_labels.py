"""Labels whose outlines are fast to draw, and visible on any ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_twostage.viewer.colormaps import LABEL_RIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINE_PX = 3
"""Width of an outline, inside the object, in pixels of the level that is shown, each half to one
pixel of the screen wide."""


class OutlinedLabels(Labels):  # type: ignore[misc]  # napari has no types
    """A Labels layer that draws its own contours: napari's take a tenth of a second a screen.

    Where napari asks for contours in another way, its own are drawn.
    """

    @property
    def _type_string(self) -> str:
        return "labels"

    def _calculate_contour(
        self, labels: NDArray[np.integer], data_slice: tuple[slice, ...]
    ) -> NDArray[np.integer] | None:
        if self.contour < 1 or labels.ndim != 2 or labels.dtype != np.uint8:
            drawn: NDArray[np.integer] | None = super()._calculate_contour(labels, data_slice)
            return drawn
        return outline(labels, self.contour)[data_slice]


def outline(labels: NDArray[np.integer], width: int) -> NDArray[np.integer]:
    """Inner rim of each region of a (H, W) plane of labels, and a pixel beside it.

    Returns
    -------
    (H, W) array of the same type
        The label within `width` pixels of a region's border, `LABEL_RIM` in the background next to
        it, 0 elsewhere.
    """
    near = at_borders(labels)
    foreground = (labels != 0) & (labels != LABEL_RIM)
    drawn = np.where(near & ~foreground, np.uint8(LABEL_RIM), np.uint8(0)).astype(labels.dtype)
    for _ in range(width - 1):
        near = grown(near)
    rim = near & foreground
    drawn[rim] = labels[rim]
    return drawn


def at_borders(plane: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Pixels that share a side with one of another value."""
    near = np.zeros(plane.shape, bool)
    for axis in (0, 1):
        here, there = np.moveaxis(plane, axis, 0), np.moveaxis(near, axis, 0)
        differs = here[1:] != here[:-1]
        there[1:] |= differs
        there[:-1] |= differs
    return near


def grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and all pixels that share a side with it."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide
