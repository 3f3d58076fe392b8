"""Plots of the panel, painted with QPainter: every slider move repaints them.

Data are reduced once, when they are set, so painting time does not depend on the number of tiles.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen

from napari_twostage.viewer.panel.parts import theme_color
from napari_twostage.viewer.panel.plot_axes import (
    PlotFrame,
    round_step,
    tick_text,
    ticks,
    time_ticks,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QPaintEvent
    from qtpy.QtWidgets import QWidget

ACCENT = QColor("#ff8c1a")
"""Colour of the selection, the same as that of selected tiles on the slide."""
BINS = 60
CURVE_POINTS = 200
"""Points of the curve that are kept: about one per pixel of the plot."""
_GAP = 6
"""Margin, in pixels, left and right of the plot: room for half a handle."""


class ScoreHistogram(PlotFrame):
    """Histogram of tile scores with a movable threshold.

    Bar heights are logarithms of counts, which keeps the few tiles with high scores visible. A
    click or drag anywhere on the plot moves the threshold; so do arrows, Page, Home and End.
    """

    placeholder = "run the quick pass to see the tiles' scores"

    threshold_dragged = Signal(float)
    """Threshold, in the units of the scores, after a move by the user."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heights: NDArray[np.float64] = np.zeros(0)
        self._range = (0.0, 1.0)
        self._threshold = 0.0
        self.setAccessibleName("Histogram of tile scores")
        self.setToolTip("Tiles by score. Drag the line: tiles above it would be refined.")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest useful threshold; (0, 1) without scores."""
        return self._range

    @property
    def threshold(self) -> float:
        """Current threshold."""
        return self._threshold

    def set_scores(self, scores: ArrayLike) -> None:
        """Set the scores to count.

        Parameters
        ----------
        scores : (n,) float array
            Scores of at least 0; non-finite ones are ignored, an empty array clears the plot.
        """
        known = np.asarray(scores, float).ravel()
        known = known[np.isfinite(known)]
        self._heights, self._range = np.zeros(0), (0.0, 1.0)
        if known.size:
            highest = float(known.max())
            # a round upper end above all tiles, so that a slider with few decimals can select none
            grain = round_step(highest) / 10
            rounded = math.ceil(highest / grain) * grain if highest > 0 else 1.0
            self._range = (0.0, max(rounded, highest))
            heights = np.log1p(np.histogram(known, BINS, self._range)[0])
            self._heights = heights / heights.max()
        shape = Qt.CursorShape.SizeHorCursor if known.size else Qt.CursorShape.ArrowCursor
        self.setCursor(shape)
        self.update()

    def set_threshold(self, threshold: float) -> None:
        """Set the threshold without a signal; outside the range it is painted at the end."""
        self._threshold = float(threshold)
        self.setAccessibleDescription(f"threshold {self.threshold_text}")
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Move the threshold to the mouse."""
        if event and event.button() == Qt.MouseButton.LeftButton:
            self._drag(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Drag the threshold."""
        if event and event.buttons() & Qt.MouseButton.LeftButton:
            self._drag(event.position().x())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Move the threshold by 1 % or 10 % of the range, or to its ends."""
        low, high = self._range
        step = (high - low) / 100
        moves = {
            Qt.Key.Key_Left: -step,
            Qt.Key.Key_Down: -step,
            Qt.Key.Key_Right: step,
            Qt.Key.Key_Up: step,
            Qt.Key.Key_PageDown: -10 * step,
            Qt.Key.Key_PageUp: 10 * step,
            Qt.Key.Key_Home: -math.inf,
            Qt.Key.Key_End: math.inf,
        }
        move = moves.get(Qt.Key(event.key())) if event else None
        if move is None or not self._heights.size:
            super().keyPressEvent(event)
            return
        self._move_to(self._threshold + move)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Paint bars, axis and threshold."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self._heights.size:
            self.paint_placeholder(painter)
        else:
            area = self._area()
            self._paint_bars(painter, area)
            step = round_step(self._range[1])
            self.paint_x_axis(
                painter, area, [(self._x(v), tick_text(v, step)) for v in ticks(self._range, step)]
            )
            self._paint_threshold(painter, area)
        painter.end()

    def _area(self) -> QRectF:
        """Area of the bars, between the threshold's number and the axis."""
        line = self.fontMetrics().height()
        return QRectF(self.rect()).adjusted(_GAP, line + 4, -_GAP, -line - 4)

    def _x(self, score: float) -> float:
        low, high = self._range
        area = self._area()
        return area.left() + area.width() * (min(max(score, low), high) - low) / (high - low)

    @property
    def decimals(self) -> int:
        """Decimals that tell thresholds apart: a thousandth of the range."""
        return max(3, 2 - math.floor(math.log10(self._range[1])))

    @property
    def threshold_text(self) -> str:
        """Current threshold as text, the same in plot, slider and title."""
        return f"{self._threshold:.{self.decimals}f}"

    def _paint_bars(self, painter: QPainter, area: QRectF) -> None:
        width = area.width() / len(self._heights)
        bars = QPainterPath()
        for i, height in enumerate(self._heights.tolist()):
            tall = height * area.height()
            bars.addRect(area.left() + i * width, area.bottom() - tall, max(width - 1, 1), tall)
        border = self._x(self._threshold)
        painter.setPen(Qt.PenStyle.NoPen)
        # a bar that the threshold crosses has both colours
        for left, right, color in (
            (0.0, border, theme_color(self, 0.4)),
            (border, float(self.width()), ACCENT),
        ):
            painter.setClipRect(QRectF(left, 0, right - left, self.height()))
            painter.setBrush(color)
            painter.drawPath(bars)
        painter.setClipping(False)

    def _paint_threshold(self, painter: QPainter, area: QRectF) -> None:
        x = self._x(self._threshold)
        painter.setPen(QPen(theme_color(self), 1.5))
        painter.drawLine(QPointF(x, area.top() - 4), QPointF(x, area.bottom()))
        handle = QRectF(x - 4, area.top() - 14, 8, 12)
        painter.setPen(QPen(theme_color(self), 2 if self.hasFocus() else 1))
        painter.setBrush(ACCENT)
        painter.drawRoundedRect(handle, 2.5, 2.5)
        painter.setPen(theme_color(self))
        label, metrics = self.threshold_text, self.fontMetrics()
        left = handle.right() + 5
        if left + metrics.horizontalAdvance(label) > self.width():
            left = handle.left() - 5 - metrics.horizontalAdvance(label)
        middle = handle.center().y() + (metrics.ascent() - metrics.descent()) / 2
        painter.drawText(QPointF(left, middle), label)

    def _drag(self, x: float) -> None:
        if self._heights.size:
            low, high = self._range
            area = self._area()
            self._move_to(low + (x - area.left()) / area.width() * (high - low))

    def _move_to(self, threshold: float) -> None:
        low, high = self._range
        self.set_threshold(min(max(threshold, low), high))
        self.threshold_dragged.emit(self._threshold)


class QualityCurve(PlotFrame):
    """Curve of expected quality against time, with a point for the current threshold."""

    placeholder = "run the quick pass to see what time buys"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._seconds: NDArray[np.float64] = np.zeros(0)
        self._dice: NDArray[np.float64] = np.zeros(0)
        self._dice_range = (0.0, 1.0)
        self._point: tuple[float, float] | None = None
        self.setAccessibleName("Expected Dice against seconds of refinement")
        self.setToolTip("Expected Dice of the result against time spent on refinement.")

    def set_curve(self, seconds: ArrayLike, dice: ArrayLike) -> None:
        """Set the curve and remove the point.

        Parameters
        ----------
        seconds : (n,) float array
            Ascending from 0; an empty array clears the plot.
        dice : (n,) float array
            Expected Dice after that time, in [0, 1].
        """
        xs, ys = np.asarray(seconds, float), np.asarray(dice, float)
        if len(xs) > CURVE_POINTS:
            even = np.linspace(xs[0], xs[-1], CURVE_POINTS)
            xs, ys = even, np.interp(even, xs, ys)
        self._seconds, self._dice, self._point = xs, ys, None
        if len(ys):
            # a minimum range, or a flat curve would look steep
            spread = max(float(np.ptp(ys)), 0.01)
            middle = float(ys.min() + ys.max()) / 2
            self._dice_range = (middle - 0.58 * spread, middle + 0.58 * spread)
        self.update()

    def set_point(self, seconds: float, dice: float) -> None:
        """Set the point of the current threshold; outside the axes it is painted at their ends."""
        self._point = (seconds, dice)
        self.setAccessibleDescription(f"Dice {dice:.3f} after {seconds:.0f} s")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Paint axes, curve and point."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not len(self._seconds):
            self.paint_placeholder(painter)
        else:
            area = self._paint_axes(painter)
            self._paint_curve(painter, area)
        painter.end()

    def _paint_axes(self, painter: QPainter) -> QRectF:
        """Paint both axes; returns the area between them."""
        metrics = self.fontMetrics()
        low, high = self._dice_range
        step = round_step(high - low)
        values = ticks(self._dice_range, step)
        # there is room for three lines of text
        marks = [(v, tick_text(v, step)) for v in values[:: 1 if len(values) <= 3 else 2]]
        wide = max(metrics.horizontalAdvance(text) for _, text in marks)
        area = QRectF(self.rect()).adjusted(wide + 8, _GAP, -_GAP, -metrics.height() - 4)
        for value, text in marks:
            y = self._at(area, 0, value).y()
            painter.setPen(theme_color(self, 0.18))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(theme_color(self, 0.75))
            base = y + (metrics.ascent() - metrics.descent()) / 2
            painter.drawText(QPointF(wide - metrics.horizontalAdvance(text), base), text)
        painter.setPen(theme_color(self, 0.45))
        painter.drawLine(area.topLeft(), area.bottomLeft())
        self.paint_x_axis(
            painter,
            area,
            [(self._at(area, s, low).x(), text) for s, text in time_ticks(self._longest)],
        )
        return area

    @property
    def _longest(self) -> float:
        return float(self._seconds[-1]) or 1.0

    def _at(self, area: QRectF, seconds: float, dice: float) -> QPointF:
        low, high = self._dice_range
        right = min(max(seconds / self._longest, 0.0), 1.0)
        up = min(max((dice - low) / (high - low), 0.0), 1.0)
        return QPointF(area.left() + right * area.width(), area.bottom() - up * area.height())

    def _paint_curve(self, painter: QPainter, area: QRectF) -> None:
        points = [self._at(area, s, d) for s, d in zip(self._seconds, self._dice, strict=True)]
        line = QPainterPath(points[0])
        for at in points[1:]:
            line.lineTo(at)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme_color(self, 0.55), 1.6))
        painter.drawPath(line)
        if self._point is None:
            return
        dot = self._at(area, *self._point)
        painter.save()
        painter.setClipRect(QRectF(0, 0, dot.x(), self.height()))
        painter.setPen(QPen(ACCENT, 2.2))
        painter.drawPath(line)
        painter.restore()
        cross = QPen(theme_color(self, 0.6), 1)
        cross.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(cross)
        painter.drawLine(dot, QPointF(area.left(), dot.y()))
        painter.drawLine(dot, QPointF(dot.x(), area.bottom()))
        painter.setPen(QPen(theme_color(self), 1.5))
        painter.setBrush(ACCENT)
        painter.drawEllipse(dot, 4, 4)
