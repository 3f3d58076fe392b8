"""Axes of the panel's plots: the common frame, and round numbers for ticks."""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPen
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_twostage.viewer.panel.parts import theme_color


class PlotFrame(QLabel):
    """Plot widget with a horizontal axis, and a placeholder text while it has no data.

    Subclass of QLabel because napari applies the font size of the user's preferences to labels.
    """

    placeholder = ""
    """Text of the empty plot: how to get data."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Width and height in pixels: two lines of text and about 60 pixels between them."""
        return QSize(280, 62 + 2 * self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Width and height in pixels, narrow enough for any dock."""
        return QSize(160, self.sizeHint().height())

    def paint_placeholder(self, painter: QPainter) -> None:
        """Paint a dashed frame around the placeholder text."""
        pen = QPen(theme_color(self, 0.3))
        pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        painter.setPen(theme_color(self, 0.72))
        painter.drawText(
            QRectF(self.rect()).adjusted(8, 4, -8, -4),
            Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap,
            self.placeholder,
        )

    def paint_x_axis(self, painter: QPainter, area: QRectF, marks: list[tuple[float, str]]) -> None:
        """Paint the axis below `area`, with a tick and a text at each x; texts never overlap."""
        metrics = self.fontMetrics()
        free = 0.0
        painter.setPen(theme_color(self, 0.45))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        for x, text in marks:
            painter.setPen(theme_color(self, 0.45))
            painter.drawLine(QPointF(x, area.bottom()), QPointF(x, area.bottom() + 3))
            painter.setPen(theme_color(self, 0.75))
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width / 2, 0.0), self.width() - width)
            if left < free:
                continue  # would overlap the previous text
            free = left + width + 6
            painter.drawText(QPointF(left, area.bottom() + 3 + metrics.ascent()), text)


def round_step(extent: float) -> float:
    """Tick distance: 1, 2 or 5 times a power of ten that fits 2 to 4 times into `extent`."""
    if extent <= 0:
        return 0.1
    power = 10.0 ** math.floor(math.log10(extent / 5))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if extent < 5 * factor * power)


def ticks(span: tuple[float, float], step: float) -> list[float]:
    """Multiples of `step` in a closed range."""
    low, high = span
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def tick_text(value: float, step: float) -> str:
    """Text of a value with as many decimals as ticks `step` apart need."""
    if abs(value) < step / 1e6:
        return "0"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def time_ticks(longest: float) -> list[tuple[float, str]]:
    """Ticks (seconds, text) from 0 to `longest` seconds, in the largest suitable unit."""
    units = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))
    unit, name = next((u, n) for u, n in units if longest >= 4 * u or u == 1)
    count = longest / unit
    # from 60 minutes or seconds on, steps of 30 or 60 are the round ones
    step = round_step(count) if count < 60 or unit == 3600 else 30.0 if count < 120 else 60.0
    return [
        (value * unit, f"{tick_text(value, step)} {name}" if value else "0")
        for value in ticks((0.0, count), step)
    ]
