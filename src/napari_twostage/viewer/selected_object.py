"""Outline of the selected object: a line around it, as wide at every zoom, and a ring from afar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image

from napari_twostage.viewer.aligned_layers import AlignedLayers
from napari_twostage.viewer.colormaps import CHOSEN, CHOSEN_LIMITS
from napari_twostage.viewer.drawn_levels import FINER, DrawnLevels
from napari_twostage.viewer.outlined_labels import grown
from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.measure.object_at import FoundObject
    from napari_twostage.result.result import Result
    from napari_twostage.session import Session

RIM, LINE = 1, 2
"""Values of drawn pixels; 0 is nothing."""
LINE_PX = 3
"""Width of the line around an object, and with it that of the rim outside it: one pixel more."""
SMALL_PX, RING_PX = 14, 11
"""Size, in pixels of the level shown, below which an object is marked by a ring of this radius."""
_MARGIN = RING_PX + LINE_PX + 2


def draw_around(found: FoundObject, box: Box, step: float) -> NDArray[np.uint8]:
    """Draw the line around an object, in a part of a level.

    Parameters
    ----------
    found : FoundObject
        The object, on the fine grid.
    box : Box
        Part of the level.
    step : float
        Pixels of the fine grid along a side of a pixel of the level.
    """
    pixels = np.zeros(box.shape, np.uint8)
    own = found.box.scaled(1 / step)
    near = box.grow(_MARGIN).intersect(own.grow(_MARGIN))
    if not near.area:
        return pixels
    rows, columns = np.arange(near.top, near.bottom), np.arange(near.left, near.right)
    if max(own.shape) < SMALL_PX:
        down = rows - (own.top + own.bottom - 1) / 2
        across = columns - (own.left + own.right - 1) / 2
        inside = np.add.outer(down**2, across**2) <= RING_PX**2
    else:
        at = ((rows + 0.5) * step).astype(int) - found.box.top
        beside = ((columns + 0.5) * step).astype(int) - found.box.left
        padded = np.pad(found.mask, 1)
        inside = padded[np.ix_(*(
            np.clip(places + 1, 0, side - 1)
            for places, side in zip((at, beside), padded.shape, strict=True)
        ))]  # fmt: skip
    line = inside
    for _ in range(LINE_PX):
        line = grown(line)
    drawn = np.where(line, np.uint8(LINE), grown(line) * np.uint8(RIM))
    drawn[inside] = 0
    part = near.intersect(box)
    pixels[part.shift(-box.top, -box.left).slices] = drawn[part.shift(-near.top, -near.left).slices]
    return pixels


class SelectedObject:
    """Layer with the outline of the object that is selected in a session.

    It is added above the labels when something is selected for the first time.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer that the layer is added to.
    slide_layer : Image
        Layer of the slide.
    session : Session
        Session with the object.
    """

    def __init__(self, viewer: ViewerModel, slide_layer: Image, session: Session) -> None:
        self._viewer = viewer
        self._slide_layer = slide_layer
        self._session = session
        self._aligned = AlignedLayers(slide_layer)
        self._levels: DrawnLevels | None = None
        self._shown: FoundObject | None = None
        self.layer: Image | None = None

    def redraw(self) -> None:
        """Show the selected object, if it is another one than before."""
        found, result = self._session.objects.selected, self._session.seg
        if found is self._shown or result is None:
            return
        self._shown = found
        if self.layer is None or self._levels is None:
            self._add(result)
            return
        self._levels.changed()
        if self.layer not in self._viewer.layers and found is not None:
            self._viewer.add_layer(self.layer)  # the user had removed it
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)

    def forget(self) -> None:
        """Forget the layer of another result; the owner removes it."""
        if self.layer is not None:
            self._aligned.forget(self.layer)
        self.layer = self._levels = self._shown = None

    def close(self) -> None:
        """Follow the slide's layer no more."""
        self._aligned.close()

    def _add(self, result: Result) -> None:
        grid = result.grid
        self._levels = DrawnLevels(grid.shape, self._draw)
        self.layer = Image(
            self._levels.levels,
            name=f"{self._slide_layer.name} selected object",
            multiscale=True,
            colormap=CHOSEN,
            contrast_limits=CHOSEN_LIMITS,
            interpolation2d="nearest",
            blending="translucent",
            metadata={METADATA_KEY: {"role": "selected", "result": result.path}},
            **self._aligned.place(grid.finer(FINER)),
        )
        self._aligned.keep(self.layer, grid.finer(FINER))
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(self.layer)
        self._viewer.layers.selection.active = active

    def _draw(self, box: Box, step: float) -> NDArray[np.uint8]:
        if self._shown is None:
            return np.zeros(box.shape, np.uint8)
        return draw_around(self._shown, box, step)
