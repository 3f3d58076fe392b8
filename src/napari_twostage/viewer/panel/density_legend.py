"""Legend of the density map: a bar of its colours with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize
from qtpy.QtGui import QColor, QLinearGradient, QPainter

from napari_twostage.viewer.colormaps import DENSITY
from napari_twostage.viewer.panel.parts import theme_color
from napari_twostage.viewer.panel.plot_axes import PlotFrame, round_step, ticks

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent
    from qtpy.QtWidgets import QWidget

_BAR_PX = 12
_GAP = 8


class DensityLegend(PlotFrame):
    """Colours of the density layer on white, from none to the most that is shown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("density_legend")
        self._most = 1.0

    def set_most(self, most: float) -> None:
        """Set the objects per mm² that have the last colour."""
        self._most = max(most, 1e-9)
        said = f"Colours of the density layer: 0 to {self._most:,.0f} objects per mm²"
        self.setAccessibleName(said)
        self.setToolTip(said)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Width and height in pixels."""
        return QSize(280, _BAR_PX + self.fontMetrics().height() + 8)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Paint the bar and its axis."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(_GAP, 1, self.width() - 2 * _GAP, _BAR_PX)
        gradient = QLinearGradient(area.topLeft(), area.topRight())
        for place in np.linspace(0, 1, 33).tolist():
            *color, opacity = DENSITY.map(place)[0].tolist()
            on_white = [opacity * part + 1 - opacity for part in color]
            gradient.setColorAt(place, QColor.fromRgbF(*on_white))
        painter.setPen(theme_color(self, 0.45))
        painter.setBrush(gradient)
        painter.drawRect(area)
        step = round_step(self._most)
        values = ticks((0.0, self._most), step)
        texts = [f"{value:,.0f}" if step >= 1 else f"{value:.3g}" for value in values]
        texts[-1] += " per mm²"
        marks = [
            (QPointF(area.left() + area.width() * value / self._most, 0).x(), text)
            for value, text in zip(values, texts, strict=True)
        ]
        self.paint_x_axis(painter, area, marks)
        painter.end()
