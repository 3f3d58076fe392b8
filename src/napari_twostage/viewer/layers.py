"""The layers that show one session: labels, uncertainty, tiles, tissue, an edit.

No Qt: a `ViewerModel` will do. The session's signals only mark what has changed; `redraw` brings
the layers up to date, as often as the owner likes. Layers of others are never touched.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap

from napari_twostage.method.steps import ChipRefined
from napari_twostage.viewer.label_blocks import LabelBlocks
from napari_twostage.viewer.settings import KEY
from napari_twostage.viewer.tile_overlay import SHADES, TileShades, enlarge, tile_colormap
from napari_twostage.viewer.tissue_outline import trace
from napari_twostage.viewer.transforms import placement

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from psygnal import SignalInstance

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.method.steps import ChipFailed, CoarseWindowDone
    from napari_twostage.models import LabelClass
    from napari_twostage.session import Patch, Session
    from napari_twostage.viewer.transforms import Placement

# transparent where stage 1 is sure; turquoise is far from the colours of H&E, DAB and labels
_HEAT = Colormap(
    [[0, 0.9, 0.8, 0], [0, 0.9, 0.8, 0.25], [0, 0.85, 0.85, 0.6], [0, 0.7, 0.9, 0.8]],
    name="uncertainty",
)
_TISSUE = Colormap([[0.2, 0.3, 0.4, 0], [0.2, 0.3, 0.4, 1]], name="tissue outline")
_THIN = {"extent": False, "thumbnail": False, "highlight": False}
"""What a refresh may leave out where pixels changed and nothing else."""


class ResultLayers:
    """Keeps layers over a slide in step with a session.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers go.
    slide_layer : Image
        What they are laid over.
    session : Session
        What they show.
    """

    def __init__(self, viewer: ViewerModel, slide_layer: Image, session: Session) -> None:
        self._viewer = viewer
        self._slide_layer = slide_layer
        self._session = session
        self._pyramid: LabelBlocks | None = None
        self.labels: Labels | None = None
        self.heat: Image | None = None
        self.tiles: Image | None = None
        self.tissue: Image | None = None
        self.edit: Labels | None = None
        self.shades: TileShades | None = None
        """What `tiles` holds."""
        self._missing: deque[Callable[[Segmentation], None]] = deque()
        self._stale: set[str] = set()
        self._hidden: set[int] = set()
        self._before_edit: list[tuple[Layer, bool]] = []
        self._connections: list[tuple[SignalInstance, Callable[..., None]]] = [
            (session.events.result_changed, self._result_changed),
            (session.events.tissue_found, self._tissue_found),
            (session.events.windows_done, self._windows_done),
            (session.events.chips_done, self._chips_done),
            (session.events.forecast_changed, self._forecast_changed),
            (session.events.labels_edited, self._labels_edited),
            (session.events.edit_started, self._edit_started),
            (session.events.edit_ended, self._edit_ended),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)
        self._result_changed()

    # -- what the panel asks for --------------------------------------------------------------

    def redraw(self, new: int | None = None) -> None:
        """Show what has changed since the last call.

        Parameters
        ----------
        new : int, optional
            Add at most so many layers of a result that came: each holds the window for a while.
        """
        self._add_missing(new)
        stale, self._stale = self._stale, set()
        if "tiles" in stale:
            self._sum_up_states()
        if self.heat is not None and "heat" in stale and self._seg is not None:
            self._cool_down(self._seg, self.heat)
            _refresh(self.heat)
        if stale & {"tiles", "threshold"}:
            self._light_up()
        if self.labels is not None and "labels" in stale:
            _refresh(self.labels)

    def show_class(self, value: int, *, visible: bool) -> None:
        """Show or hide a class of the labels."""
        (self._hidden.discard if visible else self._hidden.add)(value)
        if self.labels is not None and self._seg is not None:
            self.labels.colormap = class_colormap(self._seg.classes, self._hidden)

    def close(self) -> None:
        """Listen no more, and take the layers away."""
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._remove_all()

    # -- what the session says ----------------------------------------------------------------

    @property
    def _seg(self) -> Segmentation | None:
        return self._session.seg

    def _result_changed(self) -> None:
        self._remove_all()
        seg = self._seg
        if seg is None:
            return
        self._add_labels(seg)
        self._missing.extend((self._add_heat, self._add_tiles))
        if seg.tissue_known:
            self._tissue_found()

    def _tissue_found(self) -> None:
        if self._seg is None or self.tissue is not None or self._add_tissue in self._missing:
            return
        self._missing.append(self._add_tissue)

    def _windows_done(self, steps: list[CoarseWindowDone]) -> None:
        if self._pyramid is not None:
            for step in steps:
                self._pyramid.window_done(step)
        self._stale |= {"heat", "tiles", "labels"}

    def _chips_done(self, steps: list[ChipRefined | ChipFailed]) -> None:
        if self._pyramid is not None:
            for step in steps:
                if isinstance(step, ChipRefined):
                    self._pyramid.chip_refined(step)
        self._stale |= {"heat", "tiles", "labels"}

    def _forecast_changed(self) -> None:
        self._stale.add("threshold")

    def _labels_edited(self, box: Box) -> None:
        if self._pyramid is not None:
            self._pyramid.changed(box)
        self._stale |= {"tiles", "labels"}

    # -- tiles and heat -----------------------------------------------------------------------

    def _sum_up_states(self) -> None:
        seg = self._seg
        if seg is not None and self.tiles is not None and self.shades is not None:
            # NaN is above no threshold
            selectable = np.where(seg.refined, np.float32(np.nan), seg.scores)
            self.shades.take(seg.states, selectable, self.tiles.data.shape)

    def _light_up(self) -> None:
        if self.tiles is not None and self.shades is not None:
            session = self._session
            self.shades.paint(self.tiles.data, session.threshold if session.coarse_done else None)
            _refresh(self.tiles)

    @staticmethod
    def _cool_down(seg: Segmentation, heat: Image) -> None:
        """Leave out what was refined: there the doubt of stage 1 no longer counts."""
        side = seg.uncertainty_map.cells_per_tile
        refined = enlarge(seg.refined, side, heat.data.shape)
        np.copyto(heat.data, seg.uncertainty_map.pixels)
        heat.data[refined] = 0

    # -- editing ------------------------------------------------------------------------------

    def _edit_started(self, patch: Patch) -> None:
        """Open the place as an ordinary Labels layer; what it replaces is hidden meanwhile."""
        seg = self._seg
        if seg is None:
            return
        self._add_missing(None)
        self._before_edit = [
            (layer, layer.visible)
            for layer in (self.labels, self.heat, self.tiles)
            if layer is not None
        ]
        for layer, _ in self._before_edit:
            layer.visible = False
        place = placement(self._slide_layer, seg.grid, patch.box)
        names = {0: "background", **{c.value: c.name for c in seg.classes}}
        self.edit = Labels(
            patch.labels.copy(),
            name=f"{self._slide_layer.name} edit",
            colormap=class_colormap(seg.classes),
            opacity=0.6,
            features={"index": list(names), "class": list(names.values())},
            metadata=self._metadata("edit"),
            **place,
        )
        self._viewer.add_layer(self.edit)
        self.edit.selected_label = seg.classes[0].value
        self.edit.mode = "paint"
        self._viewer.layers.selection.active = self.edit

    def _edit_ended(self) -> None:
        self._remove(self.edit)
        self.edit = None
        for layer, visible in self._before_edit:
            if layer in self._viewer.layers:
                layer.visible = visible
        self._before_edit = []
        if self._slide_layer in self._viewer.layers:
            self._viewer.layers.selection.active = self._slide_layer

    # -- making and removing ------------------------------------------------------------------

    def _add_missing(self, most: int | None) -> None:
        """Add layers of the result, at most so many, in their order from below."""
        seg = self._seg
        if seg is None:
            return
        for _ in range(len(self._missing) if most is None else min(most, len(self._missing))):
            self._missing.popleft()(seg)
            self._stale |= {"heat", "tiles", "labels"}

    def _add_labels(self, seg: Segmentation) -> None:
        """Show labels, in place of a layer that the reader made of this result."""
        pyramid = self._pyramid = LabelBlocks(seg)
        for layer in self._viewer.layers:
            ours = layer.metadata.get(KEY, {})
            if ours.get("role") == "labels" and ours.get("result") == seg.path:
                self._viewer.layers.remove(layer)
                break
        labels = Labels(
            pyramid.levels,
            multiscale=True,
            name=f"{self._slide_layer.name} labels",
            colormap=class_colormap(seg.classes, self._hidden),
            opacity=0.5,
            metadata=self._metadata("labels"),
            **placement(self._slide_layer, seg.grid),
        )
        labels.editable = False  # painting is what Edit here is for
        self._add(labels)
        self.labels = labels

    def _add_heat(self, seg: Segmentation) -> None:
        self.heat = self._add_image(
            "uncertainty", np.zeros_like(seg.uncertainty_map.pixels),
            placement(self._slide_layer, seg.uncertainty_map.grid), colormap=_HEAT,
            interpolation2d="linear", contrast_limits=(0, 255),
        )  # fmt: skip

    def _add_tiles(self, seg: Segmentation) -> None:
        self.shades = TileShades(seg.tiles)
        cells = seg.grid.coarser(seg.card.tile_px // self.shades.cells_per_tile)
        self.tiles = self._add_image(
            "tiles", np.zeros(cells.shape, np.uint8),
            placement(self._slide_layer, cells), colormap=tile_colormap(),
            interpolation2d="nearest", contrast_limits=(0, SHADES),
        )  # fmt: skip

    def _add_tissue(self, seg: Segmentation) -> None:
        outline, grid = trace(*seg.tissue_mask)
        self.tissue = self._add_image(
            "tissue", outline, placement(self._slide_layer, grid), colormap=_TISSUE,
            interpolation2d="linear", contrast_limits=(0, 255),
        )  # fmt: skip

    def _add_image(
        self, role: str, pixels: NDArray[np.generic], place: Placement, **looks: object
    ) -> Image:
        layer = Image(
            pixels,
            name=f"{self._slide_layer.name} {role}",
            blending="translucent",
            metadata=self._metadata(role),
            **place,
            **looks,
        )
        self._add(layer)
        return layer

    def _add(self, layer: Layer) -> None:
        """Add a layer, and leave that one active that was."""
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _metadata(self, role: str) -> dict[str, Any]:
        return {KEY: {"role": role, "result": self._seg.path if self._seg else None}}

    def _remove_all(self) -> None:
        for layer in (self.edit, self.tissue, self.tiles, self.heat, self.labels):
            self._remove(layer)
        self.edit = self.tissue = self.tiles = self.heat = self.labels = None
        self._pyramid = self.shades = None
        self._missing.clear()
        self._stale.clear()

    def _remove(self, layer: Layer | None) -> None:
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def class_colormap(
    classes: tuple[LabelClass, ...], hidden: set[int] | frozenset[int] = frozenset()
) -> DirectLabelColormap:
    """The card's colours; the background, and what is hidden, transparent."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for entry in classes:
        colors[entry.value] = "transparent" if entry.value in hidden else entry.color
    return DirectLabelColormap(color_dict=colors)


def _refresh(layer: Layer) -> None:
    """Show changed pixels; a hidden layer reads them when it is shown."""
    if layer.visible:
        layer.refresh(**_THIN)
