"""Layers of one session: labels, uncertainty, tiles, tissue outline, density and an open edit.

No Qt: a `ViewerModel` suffices. The session's signals only mark layers as outdated; `redraw`
updates them, as often as the owner calls it. Layers made by others are never changed.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_twostage.method.steps import ChipRefined
from napari_twostage.session import EditState
from napari_twostage.viewer.aligned_layers import AlignedLayers
from napari_twostage.viewer.colormaps import (
    DENSITY,
    INK_LIMITS,
    INKS,
    UNCERTAINTY,
    Ink,
    class_colormap,
    ink_colormap,
)
from napari_twostage.viewer.comparison import Comparison
from napari_twostage.viewer.drawn_levels import FINER, enlarged_levels
from napari_twostage.viewer.label_blocks import LabelBlocks
from napari_twostage.viewer.label_style import LabelStyle
from napari_twostage.viewer.outlined_labels import OutlinedLabels
from napari_twostage.viewer.selected_object import SelectedObject
from napari_twostage.viewer.settings import METADATA_KEY
from napari_twostage.viewer.tile_overlay import TileOverlay
from napari_twostage.viewer.tiles_layer import TilesLayer, explain_at
from napari_twostage.viewer.tissue_outline import TissueOutline
from napari_twostage.viewer.tolerant_reader import TROUBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from psygnal import SignalInstance

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.method.steps import ChipFailed, CoarseWindowDone
    from napari_twostage.result.result import Result
    from napari_twostage.session import Patch, Session
    from napari_twostage.viewer.lazy_levels import LazyLevel

    Levels = Sequence[LazyLevel | NDArray[np.uint8]]

_PIXELS_ONLY = {"extent": False, "thumbnail": False, "highlight": False}
"""Arguments of `Layer.refresh` if only pixels have changed."""


class ResultLayers:
    """Layers over a slide that follow a session.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer that the layers are added to.
    slide_layer : Image
        Layer of the slide; the others are aligned with it.
    session : Session
        Session to display.
    """

    def __init__(self, viewer: ViewerModel, slide_layer: Image, session: Session) -> None:
        self._viewer = viewer
        self._slide_layer = slide_layer
        self._session = session
        self._aligned = AlignedLayers(slide_layer)
        self._label_blocks: LabelBlocks | None = None
        self._style = LabelStyle()
        self.labels: Labels | None = None
        self.uncertainty: Image | None = None
        self.tiles: Image | None = None
        self.tissue: Image | None = None
        self.density: Image | None = None
        """There once a density was asked for."""
        self.edit: Labels | None = None
        self.comparison: Comparison | None = None
        """Labels against those before refinement; there with the labels."""
        self._selected = SelectedObject(viewer, slide_layer, session)
        self.tile_overlay: TileOverlay | None = None
        """Source of the pixels of `tiles`."""
        self._pending: deque[Callable[[Result], None]] = deque()
        self._stale: set[str] = set()
        self._before_edit: list[tuple[Layer, bool]] = []
        self._set_aside: list[Layer] = []
        self._connections: list[tuple[SignalInstance, Callable[..., None]]] = [
            (session.events.result_changed, self._result_changed),
            (session.events.tissue_found, self._tissue_found),
            (session.events.windows_done, self._windows_done),
            (session.events.chips_done, self._chips_done),
            (session.events.forecast_changed, self._forecast_changed),
            (session.events.labels_edited, self._labels_edited),
            (session.events.density_changed, self._density_changed),
            (session.events.review_changed, self._review_changed),
            (session.events.edit_started, self._edit_started),
            (session.events.edit_ended, self._edit_ended),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)
        viewer.scene.camera.events.zoom.connect(self._zoomed)
        self._result_changed()

    # -- called by the panel -----------------------------------------------------------------

    def redraw(self, new: int | None = None) -> None:
        """Update the layers that have changed since the last call.

        Parameters
        ----------
        new : int, optional
            Largest number of layers to add; each blocks the window for a moment. All by default.
        """
        self._add_pending(new)
        self._keep_edit()
        if self.comparison is not None:
            self._try(self.comparison.redraw)
        if self._label_blocks is not None and self._label_blocks.draw_lines():
            self._stale.add("labels")
        stale, self._stale = self._stale, set()
        if "tiles" in stale:
            self._try(self._update_tile_overlay)
        if "uncertainty" in stale:
            self._try(self._show_uncertainty)
        if stale & {"tiles", "threshold"}:
            self._try(self._paint_tiles)
        if self.labels is not None and "labels" in stale:
            _refresh(self.labels)
        self._try(self._selected.redraw)

    def _try(self, draw: Callable[[], None]) -> None:
        """Draw one layer; if its file is damaged or lost, the others are drawn all the same."""
        try:
            draw()
        except TROUBLE as error:
            self._session.report(error)

    def explain(self, position: Sequence[float]) -> str:
        """Say in one line why a place, in world coordinates, is uncertain; empty off the slide."""
        if self.tiles is None:
            return ""
        return explain_at(self._session, self.tiles, self.labels, position)

    def show_class(self, value: int, *, visible: bool) -> None:
        """Show or hide a class of the labels."""
        (self._style.hidden.discard if visible else self._style.hidden.add)(value)
        self._draw_labels()

    @property
    def outlined(self) -> bool:
        """Whether labels are outlined in a close-up; else they are filled at every zoom."""
        return self._style.outlined

    @outlined.setter
    def outlined(self, wanted: bool) -> None:
        self._style.outlined = wanted
        self._draw_labels()

    def is_shown(self, role: str) -> bool:
        """Whether a layer is in the viewer, and visible: ``labels``, ``uncertainty`` and so on."""
        layer: Layer | None = getattr(self, role)
        return layer is not None and layer.visible and layer in self._viewer.layers

    def show(self, role: str, *, visible: bool) -> None:
        """Show or hide a layer; one that the user has removed is added again."""
        layer: Layer | None = getattr(self, role)
        if layer is None:
            return
        layer.visible = visible
        if visible and layer not in self._viewer.layers:
            self._add(layer)
            self._stale |= {"uncertainty", "tiles", "labels"}

    def owns(self, layer: Layer) -> bool:
        """Whether a layer is one of these, or the slide's own."""
        return layer is self._slide_layer or layer in self._all

    def set_aside(self) -> None:
        """Hide all layers until `bring_back`: their slide is not looked at."""
        self._set_aside = [layer for layer in self._all if layer.visible]
        for layer in self._set_aside:
            layer.visible = False

    def bring_back(self) -> None:
        """Show the layers that `set_aside` has hidden."""
        for layer in self._set_aside:
            layer.visible = True
        self._set_aside = []

    def close(self) -> None:
        """Disconnect from the session and remove the layers."""
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._viewer.scene.camera.events.zoom.disconnect(self._zoomed)
        self._aligned.close()
        self._remove_all()
        self._selected.close()

    # -- signals of the session ---------------------------------------------------------------

    @property
    def _result(self) -> Result | None:
        return self._session.seg

    def _result_changed(self) -> None:
        self._remove_all()
        result = self._result
        if result is None:
            return
        self._add_labels(result)
        self._pending.extend((self._add_uncertainty, self._add_tiles))
        if result.tissue_known:
            self._tissue_found()

    def _tissue_found(self) -> None:
        if self._result is None or self.tissue is not None or self._add_tissue in self._pending:
            return
        self._pending.append(self._add_tissue)

    def _windows_done(self, steps: list[CoarseWindowDone]) -> None:
        if self._label_blocks is not None:
            for step in steps:
                self._label_blocks.window_done(step)
                if self._result is not None:
                    self._outdate(self._result.layout.fine_box(step.core))
        self._stale |= {"uncertainty", "tiles", "labels"}

    def _chips_done(self, steps: list[ChipRefined | ChipFailed]) -> None:
        if self._label_blocks is not None:
            for step in steps:
                if isinstance(step, ChipRefined):
                    self._label_blocks.chip_refined(step)
                    self._outdate(step.chip.core)
        self._stale |= {"uncertainty", "tiles", "labels"}

    def _forecast_changed(self) -> None:
        self._stale.add("threshold")

    def _labels_edited(self, box: Box) -> None:
        if self._label_blocks is not None:
            self._label_blocks.changed(box)
        self._outdate(box)
        self._stale |= {"uncertainty", "tiles", "labels"}

    def _outdate(self, box: Box) -> None:
        if self.comparison is not None:
            self.comparison.outdate(box)

    def _review_changed(self) -> None:
        self._stale.add("tiles")

    def _density_changed(self) -> None:
        """Remove a map that labels have outdated; add the new one, if there is one."""
        if self.density is not None:
            self._remove(self.density)
            self.density = None
        if self._session.density is not None:
            self._pending.append(self._add_density)

    # -- tiles and uncertainty ----------------------------------------------------------------

    def _update_tile_overlay(self) -> None:
        result = self._result
        if result is not None and self.tiles is not None and self.tile_overlay is not None:
            selectable = np.where(result.settled, np.float32(np.nan), result.scores)
            self.tile_overlay.set_tiles(result.states, selectable)

    def _paint_tiles(self) -> None:
        if self.tiles is not None and self.tile_overlay is not None:
            session = self._session
            threshold = session.threshold if session.coarse_done else None
            place = session.review.place
            self.tile_overlay.framed = None if place is None else place.box
            self.tile_overlay.select(threshold)
            _refresh(self.tiles)

    def _show_uncertainty(self) -> None:
        if self._result is not None and self.uncertainty is not None:
            self._fill_uncertainty(self._result, self.uncertainty)
            _refresh(self.uncertainty)

    @staticmethod
    def _fill_uncertainty(result: Result, layer: Image) -> None:
        """Copy the uncertainty map into its layer, 0 in refined tiles: stage 2 replaced stage 1."""
        side = result.uncertainty_map.cells_per_tile
        height, width = layer.data.shape
        refined = result.refined.repeat(side, 0).repeat(side, 1)[:height, :width]
        np.copyto(layer.data, result.uncertainty_map.pixels)
        layer.data[refined] = 0

    # -- close-ups ----------------------------------------------------------------------------

    def _zoomed(self, _event: object = None) -> None:
        """Outline labels in a close-up, where uncertainty would hide the stain; else fill them."""
        zoom = self._viewer.scene.camera.zoom
        if self.labels is None or not self._style.come_closer(self.labels, zoom):
            return
        self._draw_labels()
        hidden = self.edit is not None or self._set_aside
        if self.uncertainty is not None and not hidden:
            self.uncertainty.visible = not self._style.close_up

    def _draw_labels(self) -> None:
        if self.labels is not None and self._result is not None:
            self._style.apply(self.labels, self._result.classes)
            if self.comparison is not None:
                self.comparison.draw()

    # -- editing ------------------------------------------------------------------------------

    def _edit_started(self, patch: Patch) -> None:
        """Add a Labels layer to paint on, and hide the layers below it until the edit ends."""
        result = self._result
        if result is None:
            return
        self._add_pending(None)
        if self.comparison is not None:
            self.comparison.show_before(False)
            self.comparison.show_changed(False)
        self._before_edit = [
            (layer, layer.visible)
            for layer in (self.labels, self.density, self.tiles, self.uncertainty)
            if layer is not None
        ]
        for layer, _ in self._before_edit:
            layer.visible = False
        names = {0: "background", **{c.value: c.name for c in result.classes}}
        self.edit = Labels(
            (patch.labels if patch.painted is None else patch.painted).copy(),
            name=f"{self._slide_layer.name} edit",
            colormap=class_colormap(result.classes),
            opacity=0.6,
            features={"index": list(names), "class": list(names.values())},
            metadata=self._metadata("edit"),
            **self._aligned.place(result.grid, patch.box),
        )
        self._aligned.keep(self.edit, result.grid, patch.box)
        frame = self.edit.bounding_box
        frame.points, frame.line_color, frame.line_thickness = False, INKS[Ink.EDITED], 3
        frame.visible = True
        self._viewer.add_layer(self.edit)
        self.edit.selected_label = result.classes[0].value
        self.edit.mode = "paint"
        self._viewer.layers.selection.active = self.edit

    def _edit_ended(self) -> None:
        if self.edit is not None:
            self._remove(self.edit)
        self.edit = None
        for layer, visible in self._before_edit:
            if layer in self._viewer.layers:
                layer.visible = visible
        self._before_edit = []
        if self._slide_layer in self._viewer.layers:
            self._viewer.layers.selection.active = self._slide_layer

    def _keep_edit(self) -> None:
        """Discard an edit whose layer the user has removed; one that must be saved comes back."""
        layer = self.edit
        if layer is None or layer in self._viewer.layers:
            return
        if self._session.edit_state is EditState.WRITING:
            return
        if self._session.edit_unsaved:
            self._viewer.add_layer(layer)
            self._viewer.layers.selection.active = layer
        else:
            self._session.discard_edit(np.asarray(layer.data))

    # -- adding and removing ------------------------------------------------------------------

    def _add_pending(self, limit: int | None) -> None:
        """Add up to `limit` pending layers, the lowest first; all lie below the labels."""
        result = self._result
        if result is None:
            return
        for _ in range(len(self._pending) if limit is None else min(limit, len(self._pending))):
            self._try(partial(self._pending.popleft(), result))
            self._stale |= {"uncertainty", "tiles", "labels"}

    def _add_labels(self, result: Result) -> None:
        """Add the labels, replacing the layer that the reader made of this result."""
        blocks = self._label_blocks = LabelBlocks(result, self._session.report)
        for layer in self._viewer.layers:
            ours = layer.metadata.get(METADATA_KEY, {})
            if ours.get("role") == "labels" and ours.get("result") == result.path:
                self._viewer.layers.remove(layer)
                break
        grid = result.grid.finer(FINER)
        labels = OutlinedLabels(
            [*enlarged_levels(blocks.levels[0]), *blocks.levels],
            multiscale=True,
            name=f"{self._slide_layer.name} labels",
            opacity=1.0,
            metadata=self._metadata("labels"),
            **self._aligned.place(grid),
        )
        self._aligned.keep(labels, grid)
        labels.editable = False  # painting is only possible through "Edit here"
        self._style.come_closer(labels, self._viewer.scene.camera.zoom)
        self._style.apply(labels, result.classes)
        self._add(labels)
        self.labels = labels
        self.comparison = Comparison(
            self._viewer, self._aligned, result, blocks, labels, self._style, self._metadata
        )

    def _add_uncertainty(self, result: Result) -> None:
        self.uncertainty = self._add_image(
            "uncertainty", np.zeros_like(result.uncertainty_map.pixels),
            result.uncertainty_map.grid,
            colormap=UNCERTAINTY, interpolation2d="linear", contrast_limits=(0, 255),
            visible=not self._style.close_up,
        )  # fmt: skip

    def _add_tiles(self, result: Result) -> None:
        self.tile_overlay = TileOverlay(result.tiles)
        self.tiles = self._add_drawing("tiles", self.tile_overlay.levels, result.grid, TilesLayer)
        self.tiles.explain = self.explain

    def _add_tissue(self, result: Result) -> None:
        outline = TissueOutline(*result.tissue_mask, result.grid)
        self.tissue = self._add_drawing("tissue", outline.levels, result.grid)

    def _add_drawing(
        self, role: str, levels: Levels, grid: Grid, kind: type[Image] = Image
    ) -> Image:
        return self._add_image(
            role, levels, grid.finer(FINER), kind=kind, multiscale=True, colormap=ink_colormap(),
            interpolation2d="nearest", contrast_limits=INK_LIMITS,
        )  # fmt: skip

    def _add_density(self, _result: Result) -> None:
        density = self._session.density
        if density is not None and self.density is None:
            self.density = self._add_image(
                "density", density.values, density.grid, colormap=DENSITY,
                interpolation2d="linear", contrast_limits=(0, max(1.0, density.values.max())),
            )  # fmt: skip

    def _add_image(
        self,
        role: str,
        pixels: NDArray[np.generic] | Levels,
        grid: Grid,
        kind: type[Image] = Image,
        **options: object,
    ) -> Image:
        layer = kind(
            pixels,
            name=f"{self._slide_layer.name} {role}",
            blending="translucent",
            metadata=self._metadata(role),
            **self._aligned.place(grid),
            **options,
        )
        self._aligned.keep(layer, grid)
        self._add(layer)
        return layer

    def _add(self, layer: Layer) -> None:
        """Add a layer below the labels, without changing which layer is active."""
        layers = self._viewer.layers
        active = layers.selection.active
        self._viewer.add_layer(layer)
        if layer is not self.labels and self.labels in layers:
            layers.move(layers.index(layer), layers.index(self.labels))
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _metadata(self, role: str) -> dict[str, Any]:
        return {METADATA_KEY: {"role": role, "result": self._result.path if self._result else None}}

    @property
    def selected(self) -> Image | None:
        """Layer with the outline of the selected object; None until one was selected."""
        return self._selected.layer

    @property
    def _all(self) -> list[Layer]:
        """Layers that there are, the uppermost first."""
        found = (
            self.edit, self._selected.layer, self.labels, self.density, self.tissue, self.tiles,
            self.uncertainty,
        )  # fmt: skip
        compared = [] if self.comparison is None else self.comparison.layers
        return [layer for layer in (*compared, *found) if layer is not None]

    def _remove_all(self) -> None:
        for layer in self._all:
            self._remove(layer)
        self._selected.forget()
        self._set_aside = []
        self.edit = self.tissue = self.tiles = self.uncertainty = self.labels = None
        self.density = None
        if self._label_blocks is not None:
            self._label_blocks.close()
        if self.comparison is not None:
            self.comparison.close()
        self.comparison = None
        self._label_blocks = self.tile_overlay = None
        self._pending.clear()
        self._stale.clear()

    def _remove(self, layer: Layer) -> None:
        self._aligned.forget(layer)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def _refresh(layer: Layer) -> None:
    """Draw changed pixels; a hidden layer reads them when it becomes visible."""
    if layer.visible:
        layer.refresh(**_PIXELS_ONLY)
