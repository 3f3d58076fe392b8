"""Actions of the panel that depend on the viewer: visible area, drawn region, open edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.viewer.camera import CameraFlight, view_showing, visible_box
from napari_twostage.viewer.drawn_regions import DrawnRegions

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from qtpy.QtCore import QObject

    from napari_twostage.geometry import Box
    from napari_twostage.session.places import Place
    from napari_twostage.session.review import Review
    from napari_twostage.viewer.panel.host import PanelHost

PLACE_MARGIN = 1.5
"""Size of the view as a multiple of a place of the review."""
LEAST_OF_VIEW = 0.12
"""Zoom below which a box is hard to see, as a share of the zoom at which it fills a third of the
view: there it takes a twenty-fifth."""


class ViewActions:
    """Actions on the chosen slide that read or move the viewer.

    Parameters
    ----------
    host : PanelHost
        Panel with the chosen slide and its session.
    viewer : ViewerModel
        Viewer of the panel.
    parent : QObject
        Owner of camera moves.
    drawn : callable
        Called after every change of the drawn regions.
    """

    def __init__(
        self, host: PanelHost, viewer: ViewerModel, parent: QObject, drawn: Callable[[], None]
    ) -> None:
        self._host = host
        self._viewer = viewer
        self._flight = CameraFlight(viewer, parent)
        self._regions = DrawnRegions(viewer, drawn)

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

    def drawn_polygons(self) -> list[NDArray[np.float64]]:
        """Vertices (y, x) of the drawn polygons, on level 0 of the chosen slide."""
        layer = self._host.slide_layer
        return [] if layer is None else self._regions.polygons(layer)

    def refine_visible(self) -> None:
        """Refine the tiles in view.

        Raises
        ------
        SelectionError
            If the slide is out of view, or is missing.
        """
        view = self.visible_area()
        if not view.area:
            raise SelectionError("the slide is out of view; move it into view first")
        self._host.session.refine_region(view)

    def draw_region(self) -> None:
        """Start drawing a polygon."""
        layer = self._host.slide_layer
        if layer is not None:
            self._regions.draw(layer)

    def refine_region(self) -> None:
        """Refine the tiles that the drawn polygons touch, and delete the polygons.

        Raises
        ------
        SelectionError
            If nothing is drawn.
        """
        drawn = self.drawn_polygons()
        if not drawn:
            raise SelectionError("nothing is drawn; press Draw region and draw a polygon first")
        self._host.session.refine_region(drawn)
        self._regions.clear()

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
