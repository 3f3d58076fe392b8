"""Last section: which layers are visible, and how labels are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QSlider

from napari_twostage.viewer.panel.parts import button_grid, form_row
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from napari.layers import Layer
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import PanelHost

LAYER_TEXTS = {
    "labels": "Labels",
    "uncertainty": "Uncertainty",
    "tiles": "Tiles",
    "tissue": "Tissue outline",
    "density": "Density",
}
"""Attribute of `ResultLayers` for each layer, and the text of its check box."""
_KEYS = {"labels": "Shift+L", "uncertainty": "Shift+U", "tiles": "Shift+T", "tissue": "Shift+G"}


class DisplaySection(Section):
    """Check box for each layer; opacity and outline of the labels.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("View")
        self._host = host
        self._boxes: dict[str, QCheckBox] = {}
        grid, layout = button_grid()
        for place, (name, text) in enumerate(LAYER_TEXTS.items()):
            box = QCheckBox(text)
            box.setObjectName(f"show_{name}")
            key = f" ({_KEYS[name]})" if name in _KEYS else ""
            box.setToolTip(f"Show or hide this layer: {text.lower()}{key}")
            box.toggled.connect(lambda shown, name=name: self._set_visible(name, visible=shown))
            layout.addWidget(box, place // 2, place % 2)
            self._boxes[name] = box
        self._opacity = QSlider(Qt.Orientation.Horizontal)
        self._opacity.setObjectName("label_opacity")
        self._opacity.setRange(0, 100)
        self._opacity.valueChanged.connect(self._set_opacity)
        self._outline = QCheckBox("Outlines in a close-up")
        self._outline.setObjectName("label_outline")
        self._outline.setToolTip(
            "Outline labels when zoomed in, to see the tissue inside; else fill them"
        )
        self._outline.toggled.connect(self._set_outline)
        self.body.addWidget(grid)
        self.body.addWidget(form_row("Opacity", self._opacity, "Opacity of the labels"))
        self.body.addWidget(self._outline)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Check boxes that keys toggle."""
        return {keys: self._boxes[name] for name, keys in _KEYS.items()}

    def show_session(self, session: Session) -> None:  # noqa: ARG002 - of its layers
        """Show the current state of the layers, which napari's own controls also change."""
        labels, layers = self._layer("labels"), self._host.layers
        for name, box in self._boxes.items():
            layer = self._layer(name)
            with QSignalBlocker(box):
                box.setEnabled(layer is not None)
                box.setChecked(layers is not None and layers.is_shown(name))
        for control in (self._opacity, self._outline):
            control.setEnabled(labels is not None)
        if labels is not None:
            with QSignalBlocker(self._opacity), QSignalBlocker(self._outline):
                self._opacity.setValue(round(100 * labels.opacity))
                self._outline.setChecked(layers is not None and layers.outlined)

    def _layer(self, name: str) -> Layer | None:
        layers = self._host.layers
        return None if layers is None else getattr(layers, name)

    def _set_visible(self, name: str, *, visible: bool) -> None:
        if self._host.layers is not None:
            self._host.layers.show(name, visible=visible)

    def _set_opacity(self, percent: int) -> None:
        labels = self._layer("labels")
        if labels is not None:
            labels.opacity = percent / 100

    def _set_outline(self, outline: bool) -> None:
        if self._host.layers is not None:
            self._host.layers.outlined = outline
