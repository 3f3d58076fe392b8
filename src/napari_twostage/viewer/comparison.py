"""Layers that compare: labels before refinement, and the pixels that refinement changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_twostage.viewer.colormaps import INK_LIMITS, ink_colormap
from napari_twostage.viewer.compared_blocks import ComparedBlocks
from napari_twostage.viewer.drawn_levels import FINER, enlarged_levels
from napari_twostage.viewer.outlined_labels import OutlinedLabels

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_twostage.geometry import Box
    from napari_twostage.result.result import Result
    from napari_twostage.viewer.aligned_layers import AlignedLayers
    from napari_twostage.viewer.label_blocks import LabelBlocks
    from napari_twostage.viewer.label_style import LabelStyle

CAPTION = "Before refinement"
"""Text on the canvas while coarse labels are shown."""


class Comparison:
    """Layers over the labels of one result, made when they are first asked for.

    Parameters
    ----------
    viewer : ViewerModel
    aligned : AlignedLayers
        Keeps layers over the slide.
    result : Result
        Result to compare.
    now : LabelBlocks
        Its labels as they are shown.
    labels : Labels
        Layer of these.
    style : LabelStyle
        How labels are drawn.
    metadata : callable
        Metadata of a layer of a role.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        aligned: AlignedLayers,
        result: Result,
        now: LabelBlocks,
        labels: Labels,
        style: LabelStyle,
        metadata: Callable[[str], dict[str, Any]],
    ) -> None:
        self._viewer = viewer
        self._aligned = aligned
        self._result = result
        self._now = now
        self._labels = labels
        self._style = style
        self._metadata = metadata
        self._blocks: ComparedBlocks | None = None
        self._before: Labels | None = None
        self._changed: Image | None = None
        self._labels_were_visible = False
        self._caption = False
        self._stale = False
        self.shows_before = False
        """Whether the labels before refinement are shown in place of those now."""

    @property
    def layers(self) -> list[Layer]:
        """Layers that were made, the uppermost first."""
        return [layer for layer in (self._changed, self._before) if layer is not None]

    @property
    def shows_changed(self) -> bool:
        """Whether changed pixels are marked."""
        layer = self._changed
        return layer is not None and layer.visible and layer in self._viewer.layers

    def show_before(self, shown: bool) -> None:
        """Show the labels before refinement in place of those now, or these again."""
        if shown == self.shows_before:
            return
        self.shows_before = shown
        if shown:
            self._labels_were_visible = self._labels.visible
            self._labels.visible = False
            self._layer_before().visible = True
        else:
            if self._before is not None:
                self._before.visible = False
            self._labels.visible = self._labels_were_visible
        self._set_caption(shown=shown)

    def show_changed(self, shown: bool) -> None:
        """Mark the pixels that refinement changed, or no longer."""
        if shown or self._changed is not None:
            self._layer_changed().visible = shown

    def redraw(self) -> None:
        """Show what was read since the last call."""
        if self._blocks is not None and (self._blocks.take() or self._stale):
            self._stale = False
            for layer in self.layers:
                if layer.visible:
                    layer.refresh(extent=False, thumbnail=False, highlight=False)

    def outdate(self, box: Box) -> None:
        """Read a box of the fine grid again: its labels have changed."""
        if self._blocks is not None:
            self._blocks.outdate(box)
            self._stale = True  # drawing asks for what is in view

    def draw(self) -> None:
        """Draw labels in the style of those now."""
        if self._before is not None:
            self._style.apply(self._before, self._result.classes)

    def close(self) -> None:
        """Stop reading, and take the caption away."""
        if self._blocks is not None:
            self._blocks.close()
        self._set_caption(shown=False)

    def _set_caption(self, *, shown: bool) -> None:
        """Show a caption on the canvas, unless the user has a text of their own there."""
        text = self._viewer.canvas.overlays.text
        if shown and not text.visible:
            text.text, text.box, text.visible = CAPTION, True, True
            self._caption = True
        elif not shown and self._caption:
            text.text, text.box, text.visible = "", False, False
            self._caption = False

    def _compared(self) -> ComparedBlocks:
        if self._blocks is None:
            self._blocks = ComparedBlocks(self._result, self._now)
        return self._blocks

    def _layer_before(self) -> Labels:
        if self._before is None:
            blocks, grid = self._compared(), self._result.grid.finer(FINER)
            layer = OutlinedLabels(
                [*enlarged_levels(blocks.before[0]), *blocks.before],
                multiscale=True,
                name=self._name("before refinement"),
                opacity=self._labels.opacity,
                visible=False,
                metadata=self._metadata("before"),
                **self._aligned.place(grid),
            )
            self._aligned.keep(layer, grid)
            layer.editable = False
            self._before = layer
            self.draw()
        self._add(self._before)
        return self._before

    def _layer_changed(self) -> Image:
        if self._changed is None:
            grid = self._result.grid.finer(FINER)
            self._changed = Image(
                self._compared().changed,
                multiscale=True,
                name=self._name("changed pixels"),
                blending="translucent",
                colormap=ink_colormap(),
                contrast_limits=INK_LIMITS,
                interpolation2d="nearest",
                metadata=self._metadata("changed"),
                **self._aligned.place(grid),
            )
            self._aligned.keep(self._changed, grid)
        self._add(self._changed)
        return self._changed

    def _name(self, what: str) -> str:
        return f"{self._labels.name.removesuffix(' labels')} {what}"

    def _add(self, layer: Layer) -> None:
        """Add a layer above the labels, if it is not there, without changing which is active."""
        layers = self._viewer.layers
        if layer in layers:
            return
        active = layers.selection.active
        self._viewer.add_layer(layer)
        if self._labels in layers:
            layers.move(layers.index(layer), layers.index(self._labels) + 1)
        if active in layers:
            layers.selection.active = active
