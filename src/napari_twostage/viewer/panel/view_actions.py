"""Actions of the panel that depend on the viewer: visible area, regions, open edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QMessageBox

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.io.annotations import bounds_of
from napari_twostage.session.prices import count_tiles
from napari_twostage.viewer.camera import CameraFlight, view_showing, visible_box
from napari_twostage.viewer.drawn_regions import DrawnRegions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_twostage.session.places import Place
    from napari_twostage.session.review import Review
    from napari_twostage.viewer.panel.host import PanelHost

PLACE_MARGIN = 1.5
"""Size of the view as a multiple of a place of the review."""
LEAST_OF_VIEW = 0.12
"""Zoom below which a box is hard to see, as a share of the zoom at which it fills a third of the
view: there it takes a twenty-fifth."""
ASK_FROM_S = 60.0
"""Seconds from which on refining what is in view is asked about first."""


class ViewActions:
    """Actions on the chosen slide that read or move the viewer.

    Parameters
    ----------
    host : PanelHost
        Panel with the chosen slide and its session.
    viewer : ViewerModel
        Viewer of the panel.
    parent : QWidget
        Owner of camera moves and questions.
    """

    def __init__(self, host: PanelHost, viewer: ViewerModel, parent: QWidget) -> None:
        self._host = host
        self._viewer = viewer
        self._parent = parent
        self._flight = CameraFlight(viewer, parent)
        self._regions = DrawnRegions(host, viewer)

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._regions.close()

    def visible_area(self) -> Box:
        """Visible part of the chosen slide, on its level 0.

        Raises
        ------
        SelectionError
            If no slide is open.
        """
        layer, slide = self._host.slide_layer, self._host.session.slide
        if layer is None or slide is None:
            raise SelectionError("there is no slide; open one first")
        return visible_box(self._viewer, layer, slide.level_shapes[0])

    def refine_visible(self) -> None:
        """Refine the tiles in view; what takes over a minute is asked about first.

        Raises
        ------
        SelectionError
            If the slide is out of view, or is missing.
        """
        view = self.visible_area()
        if not view.area:
            raise SelectionError("the slide is out of view; move it into view first")
        if self._agreed(view):
            self._host.session.refine_region(view)

    def _agreed(self, view: Box) -> bool:
        """Whether the user wants to refine a box, if it takes long."""
        session = self._host.session
        price = session.price(view)
        if price is None or price.seconds is None or price.seconds <= ASK_FROM_S:
            return True
        answer = QMessageBox.question(
            self._parent,
            "Refine the visible area?",
            f"{count_tiles(price.tiles)} in view are not refined yet. Refining them takes "
            f"{price.time}. Zoom in for fewer, or go on.",
            QMessageBox.StandardButton.Ok | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        return bool(answer == QMessageBox.StandardButton.Ok)

    def draw_region(self, tool: str = "Polygon") -> None:
        """Start drawing a region with one of `drawn_regions.TOOLS`."""
        self._regions.draw(tool)

    @property
    def drawing(self) -> bool:
        """Whether a region is being drawn."""
        return self._regions.drawing

    def show_regions(self) -> None:
        """Show the regions of the chosen slide on it."""
        self._regions.show()

    def go_to_regions(self, keys: Sequence[str]) -> None:
        """Select regions by their ids, and move the camera there."""
        regions, layer = self._host.session.regions, self._host.slide_layer
        regions.select(keys)
        rings = [ring for one in regions.all if one.id in keys for ring in one.rings]
        if layer is not None and rings:
            top, left, bottom, right = bounds_of(tuple(rings))
            around = Box(int(top), int(left), int(bottom) + 1, int(right) + 1)
            self._flight.fly_to(*view_showing(self._viewer, layer, around, margin=1.3))

    def show_place(self, choose: Callable[[Review], Place | None]) -> None:
        """Have the review choose a place, and move the camera to it.

        All places are shown at one zoom, so that sizes can be compared.
        """
        session, layer = self._host.session, self._host.slide_layer
        place, seg = choose(session.review), session.seg
        if place is not None and layer is not None and seg is not None:
            box = place.view.scaled(seg.grid.downsample)
            self._flight.fly_to(*view_showing(self._viewer, layer, box, PLACE_MARGIN))

    def show_view(self, view: Box) -> None:
        """Move the camera to a box of level 0 of the chosen slide, without a flight."""
        layer = self._host.slide_layer
        if layer is not None and view.area:
            (y, x), zoom = view_showing(self._viewer, layer, view, margin=1.0)
            self._viewer.scene.camera.zoom = zoom
            self._viewer.scene.camera.center = (0.0, y, x)

    def show_box(self, place: Box) -> None:
        """Move the camera to a box of level 0; it comes closer only if the box is hard to see."""
        layer = self._host.slide_layer
        if layer is None:
            return
        centre, closest = view_showing(self._viewer, layer, place)
        zoom = float(self._viewer.scene.camera.zoom)
        wanted = min(max(zoom, closest * LEAST_OF_VIEW), closest)
        self._flight.fly_to(centre, wanted)

    def start_edit(self) -> None:
        """Open the labels in view for editing."""
        self._host.session.edit(self.visible_area())

    def commit_edit(self) -> None:
        """Save the open edit.

        Raises
        ------
        SelectionError
            If no edit is open.
        """
        self._host.session.commit_edit(self._painted())

    def discard_edit(self) -> None:
        """Close the open edit without saving it; raises as `commit_edit`."""
        self._host.session.discard_edit(self._painted())

    def _painted(self) -> NDArray[np.uint8]:
        """Labels of the open edit's layer, which must be in the viewer: nothing unseen is saved."""
        layers = self._host.layers
        edit = None if layers is None else layers.edit
        if edit is None or edit not in self._viewer.layers:
            raise SelectionError("no edit is open; begin one with Edit here")
        return np.asarray(edit.data)
