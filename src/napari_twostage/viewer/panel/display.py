"""How labels look, and which layers are shown: at hand all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QSlider

from napari_twostage.viewer.panel.buttons import button_grid
from napari_twostage.viewer.parts import form_row
from napari_twostage.viewer.section import Section

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_twostage.viewer.panel.host import Desk

SHOWN = {
    "labels": "Labels",
    "heat": "Uncertainty",
    "tiles": "Tiles",
    "tissue": "Tissue outline",
}
"""Our layers by the names that `ResultLayers` has for them, and in words."""


class LookSection(Section):
    """Opacity and outline of the labels, and a box for each layer.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__("View")
        self._desk = desk
        self._boxes: dict[str, QCheckBox] = {}
        grid, layout = button_grid()
        for place, (name, words) in enumerate(SHOWN.items()):
            box = QCheckBox(words)
            box.setObjectName(f"show_{name}")
            box.setToolTip(f"Show or hide this layer: {words.lower()}")
            box.toggled.connect(lambda shown, name=name: self._show(name, shown=shown))
            layout.addWidget(box, place // 2, place % 2)
            self._boxes[name] = box
        self._opacity = QSlider(Qt.Orientation.Horizontal)
        self._opacity.setObjectName("label_opacity")
        self._opacity.setRange(0, 100)
        self._opacity.valueChanged.connect(self._fade)
        self._outline = QCheckBox("Outlines instead of filled labels")
        self._outline.setObjectName("label_outline")
        self._outline.setToolTip("Draw the rims of labels, to see the tissue inside")
        self._outline.toggled.connect(self._draw_outline)
        self.body.addWidget(grid)
        self.body.addWidget(form_row("Opacity", self._opacity, "Opacity of the labels"))
        self.body.addWidget(self._outline)

    def show_layers(self) -> None:
        """Show how the layers look now, whoever changed them."""
        labels = self._layer("labels")
        for name, box in self._boxes.items():
            layer = self._layer(name)
            with QSignalBlocker(box):
                box.setEnabled(layer is not None)
                box.setChecked(layer is not None and layer.visible)
        for control in (self._opacity, self._outline):
            control.setEnabled(labels is not None)
        if labels is not None:
            with QSignalBlocker(self._opacity), QSignalBlocker(self._outline):
                self._opacity.setValue(round(100 * labels.opacity))
                self._outline.setChecked(labels.contour > 0)

    def _layer(self, name: str) -> Layer | None:
        layers = self._desk.layers
        return None if layers is None else getattr(layers, name)

    def _show(self, name: str, *, shown: bool) -> None:
        layer = self._layer(name)
        if layer is not None:
            layer.visible = shown

    def _fade(self, percent: int) -> None:
        labels = self._layer("labels")
        if labels is not None:
            labels.opacity = percent / 100

    def _draw_outline(self, outline: bool) -> None:
        labels = self._layer("labels")
        if labels is not None:
            labels.contour = 2 if outline else 0
