"""Histogram of the areas of objects, with a lower and an upper limit that can be moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QPainter, QPainterPath, QPen

from napari_twostage.viewer.panel.parts import theme_color
from napari_twostage.viewer.panel.plot_axes import PlotFrame
from napari_twostage.viewer.panel.plots import ACCENT

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QPaintEvent
    from qtpy.QtWidgets import QWidget

BINS = 60
_GAP = 8
"""Margin, in pixels, left and right of the plot: room for half a handle."""
_STEP = 0.01
"""Move by an arrow key, as a share of the axis."""


class AreaHistogram(PlotFrame):
    """Histogram of areas on a logarithmic axis; bars between the limits are coloured.

    The limit that is nearer to the mouse is dragged. Arrows move the lower limit, with Shift the
    upper one; Home and End open them.
    """

    placeholder = "press List objects to see their areas"

    limits_dragged = Signal(float, float)
    """Limits in µm² after a move by the user: 0 and infinity where there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heights: NDArray[np.float64] = np.zeros(0)
        self._span = (0.0, 1.0)
        self._limits = (0.0, math.inf)
        self._dragged = 0
        self.setAccessibleName("Histogram of areas")
        self.setToolTip(
            "Objects by area. Drag either line; arrow keys move the lower, with Shift the upper."
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper limit, in µm²."""
        return self._limits

    def set_areas(self, areas: ArrayLike) -> None:
        """Set the areas to count, in µm² above 0; none clears the plot."""
        known = np.asarray(areas, float).ravel()
        self._heights = np.zeros(0)
        if known.size:
            low, high = math.log10(known.min()), math.log10(known.max())
            self._span = (low - 0.02, max(high + 0.02, low + 0.2))
            counts = np.histogram(np.log10(known), BINS, self._span)[0]
            self._heights = counts / counts.max()
        shape = Qt.CursorShape.SizeHorCursor if known.size else Qt.CursorShape.ArrowCursor
        self.setCursor(shape)
        self.update()

    def set_limits(self, low: float, high: float) -> None:
        """Set the limits without a signal."""
        self._limits = (float(low), float(high))
        self.setAccessibleDescription(f"from {_text(low) or 'any'} to {_text(high) or 'any'} µm²")
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Begin to drag the nearer limit."""
        if event and event.button() == Qt.MouseButton.LeftButton and self._heights.size:
            x = event.position().x()
            low, high = map(self._x, self._limits)
            self._dragged = int(abs(x - high) < abs(x - low) or x > high)
            self._drag(x)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Drag a limit."""
        if event and event.buttons() & Qt.MouseButton.LeftButton and self._heights.size:
            self._drag(event.position().x())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Move a limit, or open it."""
        steps = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1,
            Qt.Key.Key_PageDown: -10, Qt.Key.Key_PageUp: 10,
            Qt.Key.Key_Home: -math.inf, Qt.Key.Key_End: math.inf,
        }  # fmt: skip
        step = steps.get(Qt.Key(event.key())) if event else None
        if event is None or step is None or not self._heights.size:
            super().keyPressEvent(event)
            return
        upper = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self._dragged = int(upper)
        self._move_to(self._share(self._limits[self._dragged]) + step * _STEP)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Paint bars, axis and limits."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._heights.size:
            area = self._area()
            self._paint_bars(painter, area)
            self.paint_x_axis(painter, area, self._marks())
            self._paint_limits(painter, area)
        else:
            self.paint_placeholder(painter)
        painter.end()

    def _area(self) -> QRectF:
        """Area of the bars, between the limits' numbers and the axis."""
        line = self.fontMetrics().height()
        return QRectF(self.rect()).adjusted(_GAP, line + 6, -_GAP, -line - 4)

    def _share(self, area_um2: float) -> float:
        """Place of an area on the axis, in [0, 1]."""
        low, high = self._span
        if area_um2 <= 0:
            return 0.0
        return min(max((math.log10(area_um2) - low) / (high - low), 0.0), 1.0)

    def _x(self, area_um2: float) -> float:
        area = self._area()
        return area.left() + area.width() * self._share(area_um2)

    def _marks(self) -> list[tuple[float, str]]:
        """Ticks at 1, 2 and 5 times powers of ten; the last one says the unit."""
        low, high = self._span
        powers = range(math.floor(low), math.ceil(high) + 1)
        factors = (1, 2, 5) if high - low < 2.5 else (1,)
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low <= math.log10(value) <= high]
        texts = [_text(value) for value in inside]
        if texts:
            texts[-1] += " µm²"
        return [(self._x(value), text) for value, text in zip(inside, texts, strict=True)]

    def _paint_bars(self, painter: QPainter, area: QRectF) -> None:
        width = area.width() / len(self._heights)
        bars = QPainterPath()
        for place, height in enumerate(self._heights.tolist()):
            tall = max(height * area.height(), 1.0) if height else 0.0
            bars.addRect(area.left() + place * width, area.bottom() - tall, max(width - 1, 1), tall)
        low, high = map(self._x, self._limits)
        painter.setPen(Qt.PenStyle.NoPen)
        for left, right, color in (
            (0.0, low, theme_color(self, 0.3)),
            (low, high, ACCENT),
            (high, float(self.width()), theme_color(self, 0.3)),
        ):
            painter.setClipRect(QRectF(left, 0, right - left, self.height()))
            painter.setBrush(color)
            painter.drawPath(bars)
        painter.setClipping(False)

    def _paint_limits(self, painter: QPainter, area: QRectF) -> None:
        metrics = self.fontMetrics()
        low, high = map(self._x, self._limits)
        texts = [_text(limit) for limit in self._limits]
        widths = [metrics.horizontalAdvance(text) for text in texts]
        # the numbers lie outside the handles, and inside where the plot ends
        lefts = [low - 8 - widths[0], high + 8]
        if lefts[0] < 0:
            lefts[0] = low + 8
        if lefts[1] + widths[1] > self.width():
            lefts[1] = high - 8 - widths[1]
        overlap = lefts[0] + widths[0] > lefts[1] - 4
        for place, (x, text, left) in enumerate(zip((low, high), texts, lefts, strict=True)):
            painter.setPen(QPen(theme_color(self), 1.5))
            painter.drawLine(QPointF(x, area.top() - 4), QPointF(x, area.bottom()))
            handle = QRectF(x - 4, area.top() - 16, 8, 12)
            painter.setPen(QPen(theme_color(self), 2 if self.hasFocus() else 1))
            painter.setBrush(ACCENT)
            painter.drawRoundedRect(handle, 2.5, 2.5)
            painter.setPen(theme_color(self))
            if not (overlap and place != self._dragged):
                middle = handle.center().y() + (metrics.ascent() - metrics.descent()) / 2
                painter.drawText(QPointF(left, middle), text)

    def _drag(self, x: float) -> None:
        area = self._area()
        self._move_to((x - area.left()) / area.width())

    def _move_to(self, share: float) -> None:
        """Move the dragged limit to a place on the axis; at its end there is no limit."""
        low, high = self._span
        other = self._share(self._limits[1 - self._dragged])
        share = min(share, other) if self._dragged == 0 else max(share, other)
        area = _rounded(10 ** (low + min(max(share, 0.0), 1.0) * (high - low)))
        limits = list(self._limits)
        limits[self._dragged] = area
        if share <= 0 and self._dragged == 0:
            limits[0] = 0.0
        if share >= 1 and self._dragged == 1:
            limits[1] = math.inf
        self.set_limits(*limits)
        self.limits_dragged.emit(*self._limits)


def _rounded(value: float) -> float:
    """A number to three digits, as it is shown."""
    return float(f"{value:.3g}")


def _text(area_um2: float) -> str:
    """An area as text; empty where there is no limit."""
    if not 0 < area_um2 < math.inf:
        return ""
    return f"{area_um2:,.0f}" if area_um2 >= 100 else f"{area_um2:.3g}"
