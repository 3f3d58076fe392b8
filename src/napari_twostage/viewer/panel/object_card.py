"""Card of the selected object: its class and measurements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_twostage.viewer.panel.parts import Swatch

if TYPE_CHECKING:
    from napari_twostage.measure.object_at import FoundObject
    from napari_twostage.models import LabelClass

HINT = "Click an object in the picture to see its measurements."
_ROWS = {
    "area": "Area",
    "perimeter": "Perimeter",
    "circularity": "Circularity",
    "axes": "Long × short axis",
    "position": "Position",
    "refined": "Refined",
    "uncertainty": "Uncertainty",
}
"""Object name, after ``object_``, and text of each row."""


class ObjectCard(QWidget):
    """Measurements of one object; texts can be selected and copied."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("object_card")
        self._hint = QLabel(HINT)
        self._hint.setObjectName("object_hint")
        self._hint.setWordWrap(True)
        self._head = QWidget()
        head = QHBoxLayout(self._head)
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(6)
        self._head_layout = head
        self._kind: LabelClass | None = None
        self._swatch: Swatch | None = None
        self._class = QLabel()
        self._class.setObjectName("object_class")
        head.addWidget(self._class, stretch=1)
        self._body = QWidget()
        grid = QGridLayout(self._body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        self._values: dict[str, QLabel] = {}
        for row, (name, text) in enumerate(_ROWS.items()):
            value = QLabel()
            value.setObjectName(f"object_{name}")
            value.setAccessibleName(text)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            grid.addWidget(QLabel(text), row, 0)
            grid.addWidget(value, row, 1)
            self._values[name] = value
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self._hint, self._head, self._body):
            layout.addWidget(part)
        self.show_object(None, None)

    def show_object(self, found: FoundObject | None, kind: LabelClass | None) -> None:
        """Show an object of a class; None shows how to select one."""
        self._hint.setVisible(found is None)
        self._head.setVisible(found is not None)
        self._body.setVisible(found is not None)
        if found is None:
            return
        self._show_class(kind)
        for name, text in _texts(found.numbers).items():
            self._values[name].setText(text)
        self.setToolTip(f"Identifier in exports: {found.id}")

    def _show_class(self, kind: LabelClass | None) -> None:
        if kind == self._kind:
            return
        self._kind = kind
        self._class.setText("" if kind is None else kind.name)
        if self._swatch is not None:
            self._head_layout.removeWidget(self._swatch)
            self._swatch.deleteLater()
            self._swatch = None
        if kind is not None:
            self._swatch = Swatch(kind.color)
            self._head_layout.insertWidget(0, self._swatch)


def _texts(numbers: dict[str, float]) -> dict[str, str]:
    """Measurements as text, by the name of their row."""
    refined, doubt = numbers["refined_fraction"], numbers["uncertainty_mean"]
    part = {0.0: "no", 1.0: "yes"}.get(refined, f"{100 * refined:.0f} %")
    return {
        "area": f"{numbers['area_um2']:,.1f} µm²",
        "perimeter": f"{numbers['perimeter_um']:,.1f} µm",
        "circularity": f"{numbers['circularity']:.2f}",
        "axes": f"{numbers['major_axis_um']:,.1f} × {numbers['minor_axis_um']:,.1f} µm",
        "position": f"x {numbers['centroid_x_um']:,.1f}, y {numbers['centroid_y_um']:,.1f} µm",
        "refined": part,
        "uncertainty": "unknown" if math.isnan(doubt) else f"{doubt:.3f}",
    }
