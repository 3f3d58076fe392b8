"""Actions of the panel that depend on the viewer: visible area, regions, open edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QMessageBox

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.io.annotations import bounds_of
from napari_twostage.method.selection import Selection, describe_seconds
from napari_twostage.viewer.camera import CameraFlight, view_showing, visible_box
from napari_twostage.viewer.drawn_regions import DrawnRegions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_twostage.viewer.panel.host import PanelHost

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
        seg, curve = session.seg, session.curve
        seconds = None if curve is None else curve.seconds_per_tile
        if seg is None or seconds is None:
            return True
        plan = seg.select(Selection(region=seg.to_fine(view)), seconds_per_tile=seconds)
        if (plan.estimated_seconds or 0.0) <= ASK_FROM_S:
            return True
        answer = QMessageBox.question(
            self._parent,
            "Refine the visible area?",
            f"{plan.n_tiles:,} tiles in view are not refined yet. Refining them takes about "
            f"{describe_seconds(plan.estimated_seconds or 0.0)}. Zoom in for fewer, or go on.",
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

    def show_next_place(self) -> None:
        """Move the camera to the most uncertain tile that was neither refined nor shown yet."""
        place = self._host.session.next_place()
        layer = self._host.slide_layer
        if layer is not None:
            self._flight.fly_to(*view_showing(self._viewer, layer, place))

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
        layers = self._host.layers
        if layers is None or layers.edit is None:
            raise SelectionError("no edit is open; begin one with Edit here")
        self._host.session.commit_edit(np.asarray(layers.edit.data))
