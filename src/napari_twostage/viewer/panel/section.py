"""Collapsible section of the panel.

Not superqt's QCollapsible: it fixes the height of its content to a size hint, which cuts off
word-wrapped labels in a narrow dock, and its header has no room for number and status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QFont, QFontMetrics, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QAbstractButton, QSizePolicy, QVBoxLayout, QWidget

from napari_twostage.viewer.panel.parts import LabelFont, theme_color

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent, QPaintEvent

    from napari_twostage.session import Session


class _Header(QAbstractButton):
    """Header that opens and closes a section: arrow, number, title and status."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._number = ""
        self._status = ""
        self._label_font = LabelFont(self)
        self.setText(title)
        self.setAccessibleName(title)
        self.setCheckable(True)
        self.setChecked(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def status(self) -> str:
        """Text on the right."""
        return self._status

    def set_number(self, number: int) -> None:
        self._number = str(number)
        self.update()

    def set_status(self, text: str) -> None:
        self._status = text
        self.setToolTip(text)
        self.setAccessibleDescription(text)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(200, QFontMetrics(self._font()).height() + 12)

    def _font(self, *, bold: bool = False) -> QFont:
        font = self._label_font.current()
        font.setBold(bold)
        return font

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Toggle with Enter too; Qt's own key is Space."""
        if event and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(theme_color(self, 0.7) if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(theme_color(self, 0.16 if self.underMouse() else 0.09))
        painter.drawRoundedRect(frame, 3, 3)
        self._paint_arrow(painter, QPointF(13, frame.center().y()))
        self._paint_texts(painter, frame.adjusted(24, 0, -8, 0))
        painter.end()

    def _paint_arrow(self, painter: QPainter, at: QPointF) -> None:
        painter.save()
        painter.translate(at)
        if self.isChecked():
            painter.rotate(90)
        pen = QPen(theme_color(self, 0.75), 1.6)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF([QPointF(-1.8, -3.6), QPointF(1.8, 0), QPointF(-1.8, 3.6)]))
        painter.restore()

    def _paint_texts(self, painter: QPainter, area: QRectF) -> None:
        bold = self._font(bold=True)
        metrics = QFontMetrics(bold)
        line = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.setFont(bold)
        if self._number:
            painter.setPen(theme_color(self, 0.6))
            painter.drawText(area, line, self._number)
            area.adjust(metrics.horizontalAdvance("00") + 5, 0, 0, 0)
        painter.setPen(theme_color(self))
        painter.drawText(area, line, self.text())
        area.adjust(metrics.horizontalAdvance(self.text()) + 12, 0, 0, 0)
        painter.setFont(self._font())
        painter.setPen(theme_color(self, 0.72))
        status = QFontMetrics(self._font()).elidedText(
            self._status, Qt.TextElideMode.ElideRight, max(0, int(area.width()))
        )
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, status)


class Section(QWidget):
    """Titled part of the panel that opens and closes.

    Parameters
    ----------
    title : str
    parent : QWidget, optional

    Attributes
    ----------
    body : QVBoxLayout
        Layout of the content.
    """

    toggled = Signal(bool)
    """Whether the section is now open."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._header = _Header(title, self)
        self._content = QWidget(self)
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(8, 8, 8, 10)
        self.body.setSpacing(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._header)
        layout.addWidget(self._content)
        # not Maximum: the size hint is for a width of its own, where texts wrap into fewer lines
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._header.toggled.connect(self._content.setVisible)
        self._header.toggled.connect(self.toggled)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcuts of the window to the buttons that they press."""
        return {}

    def show_session(self, session: Session) -> None:
        """Show the state of a session."""
        raise NotImplementedError

    def set_number(self, number: int) -> None:
        """Set the position in the workflow, shown before the title."""
        self._header.set_number(number)

    @property
    def title(self) -> str:
        """Title of the section."""
        return self._header.text()

    @property
    def is_open(self) -> bool:
        """Whether the content is visible."""
        return bool(self._header.isChecked())

    @property
    def status(self) -> str:
        """Text on the right of the title."""
        return self._header.status

    def set_status(self, text: str) -> None:
        """Set the text on the right of the title: the state of this section in a few words."""
        self._header.set_status(text)

    def set_open(self, is_open: bool) -> None:
        """Show or hide the content."""
        self._header.setChecked(is_open)
