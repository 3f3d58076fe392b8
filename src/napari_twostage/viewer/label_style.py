"""How labels are drawn: filled from afar, outlined in a close-up, classes shown or hidden."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.viewer.colormaps import FILLED, class_colormap
from napari_twostage.viewer.drawn_levels import FINER
from napari_twostage.viewer.outlined_labels import OUTLINE_PX

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_twostage.models import LabelClass

CLOSE_UP = 0.2
"""Pixels of the screen along a side of a fine pixel from which labels are outlined; farther away
they are filled, and the uncertainty is shown."""


@dataclass
class LabelStyle:
    """What the user chose, and how near the slide is."""

    outlined: bool = True
    """Whether labels are outlined in a close-up; else they are filled at every zoom."""
    hidden: set[int] = field(default_factory=set)
    """Values of classes that are not shown."""
    close_up: bool = False

    def come_closer(self, labels: Labels, zoom: float) -> bool:
        """Tell from the camera's zoom whether this is a close-up; whether that has changed."""
        fine_px = float(np.min(np.abs(labels.scale))) * FINER
        before, self.close_up = self.close_up, fine_px * zoom >= CLOSE_UP
        return before != self.close_up

    def apply(self, labels: Labels, classes: tuple[LabelClass, ...]) -> None:
        """Draw a layer of labels in this style."""
        lines = self.outlined and self.close_up
        labels.colormap = class_colormap(classes, self.hidden, opacity=1.0 if lines else FILLED)
        labels.contour = OUTLINE_PX if lines else 0
