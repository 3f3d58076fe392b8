"""Small building blocks that every section of the panel is made of.

Colours are mixed from the widget's palette when painting: napari's style sheet sets the roles
``Window`` and ``WindowText`` of every widget in a dock and nothing else that differs between its
themes, and Qt repaints a widget whose style changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import (
    QAbstractButton,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QKeyEvent, QPaintEvent

Kind: TypeAlias = Literal["info", "busy", "error"]

_SIGNS: dict[Kind, tuple[str, str]] = {
    "info": ("i", "#3b82d6"),
    "busy": ("···", "#c77700"),
    "error": ("!", "#d33a3a"),
}
"""Of every kind of message: the character in its disc, and the disc's colour."""
_SIGN_PX = 16
_LABEL_PX = 84
"""Width of the names in a form, where the font is not very large."""
_ZERO_WIDTH_SPACE = "\u200b"
_NO_BREAK_SPACE = "\u00a0"


def ink(widget: QWidget, strength: float = 1.0) -> QColor:
    """Give a widget's text colour, mixed into its background.

    Parameters
    ----------
    widget : QWidget
    strength : float
        1 is the text's colour, 0 the background's.
    """
    ground = widget.palette().color(QPalette.ColorRole.Window).getRgbF()
    text = widget.palette().color(QPalette.ColorRole.WindowText).getRgbF()
    red, green, blue = (g + (t - g) * strength for g, t in zip(ground[:3], text[:3], strict=True))
    return QColor.fromRgbF(red, green, blue)


class _Header(QAbstractButton):
    """The line that opens and closes a section: arrow, number, title, status."""

    def __init__(self, title: str, number: int | None, parent: QWidget) -> None:
        super().__init__(parent)
        self._number = "" if number is None else str(number)
        self._status = ""
        # napari gives labels, and not this, the font size of the user's preferences
        self._sample = QLabel(self)
        self._sample.hide()
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
        """The words on the right."""
        return self._status

    def set_status(self, text: str) -> None:
        self._status = text
        self.setToolTip(text)
        self.setAccessibleDescription(text)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(200, QFontMetrics(self._font()).height() + 12)

    def _font(self, *, bold: bool = False) -> QFont:
        self._sample.ensurePolished()
        font = QFont(self._sample.font())
        font.setBold(bold)
        return font

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Open and close with Enter too; Qt's own key is Space."""
        if event and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(ink(self, 0.7) if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(ink(self, 0.16 if self.underMouse() else 0.09))
        painter.drawRoundedRect(frame, 3, 3)
        self._paint_arrow(painter, QPointF(13, frame.center().y()))
        self._paint_words(painter, frame.adjusted(24, 0, -8, 0))
        painter.end()

    def _paint_arrow(self, painter: QPainter, at: QPointF) -> None:
        painter.save()
        painter.translate(at)
        if self.isChecked():
            painter.rotate(90)
        pen = QPen(ink(self, 0.75), 1.6)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF([QPointF(-1.8, -3.6), QPointF(1.8, 0), QPointF(-1.8, 3.6)]))
        painter.restore()

    def _paint_words(self, painter: QPainter, room: QRectF) -> None:
        bold = self._font(bold=True)
        metrics = QFontMetrics(bold)
        line = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.setFont(bold)
        if self._number:
            painter.setPen(ink(self, 0.6))
            painter.drawText(room, line, self._number)
            room.adjust(metrics.horizontalAdvance("0") + 8, 0, 0, 0)
        painter.setPen(ink(self))
        painter.drawText(room, line, self.text())
        room.adjust(metrics.horizontalAdvance(self.text()) + 12, 0, 0, 0)
        painter.setFont(self._font())
        painter.setPen(ink(self, 0.72))
        status = QFontMetrics(self._font()).elidedText(
            self._status, Qt.TextElideMode.ElideRight, max(0, int(room.width()))
        )
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, status)


class Section(QWidget):
    """A titled part of the panel that opens and closes.

    Parameters
    ----------
    title : str
    number : int, optional
        Its place in the order of work.
    parent : QWidget, optional

    Attributes
    ----------
    body : QVBoxLayout
        What the section holds is added here.
    """

    toggled = Signal(bool)
    """Whether it is open now."""

    def __init__(
        self, title: str, number: int | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._header = _Header(title, number, self)
        self._content = QWidget(self)
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(8, 8, 8, 10)
        self.body.setSpacing(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._header)
        layout.addWidget(self._content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._header.toggled.connect(self._content.setVisible)
        self._header.toggled.connect(self.toggled)

    @property
    def is_open(self) -> bool:
        """Whether its body is shown."""
        return bool(self._header.isChecked())

    @property
    def status(self) -> str:
        """The words on the right of the title."""
        return self._header.status

    def set_status(self, text: str) -> None:
        """Say in a few words how this part stands."""
        self._header.set_status(text)

    def set_open(self, is_open: bool) -> None:
        """Show or hide the body."""
        self._header.setChecked(is_open)


class ElidedLabel(QElidingLabel):
    """One line of plain text, cut in the middle where it does not fit; whole in its tooltip."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def setText(self, txt: str | None) -> None:  # noqa: N802 - Qt's name
        """Set the whole text."""
        super().setText(txt or "")
        self.setToolTip(txt or "")


class Swatch(QWidget):
    """A square of one colour."""

    def __init__(self, color: QColor | str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._color = QColor(color)
        self.setFixedSize(14, 14)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Outline it faintly, so that the theme's own colour is seen too."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(ink(self, 0.35))
        painter.setBrush(self._color)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 2, 2)
        painter.end()


class _Eye(QAbstractButton):
    """A checkable eye: open or struck out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setFixedSize(22, 18)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(22, 18)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.hasFocus():
            painter.setPen(ink(self, 0.6))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        painter.translate(QRectF(self.rect()).center())
        color = ink(self, 0.85 if self.isChecked() else 0.45)
        painter.setPen(QPen(color, 1.3))
        lids = QPainterPath(QPointF(-7, 0))
        lids.quadTo(QPointF(0, -8.5), QPointF(7, 0))
        lids.quadTo(QPointF(0, 8.5), QPointF(-7, 0))
        painter.drawPath(lids)
        painter.setBrush(color)
        painter.drawEllipse(QPointF(0, 0), 1.8, 1.8)
        if not self.isChecked():
            painter.setPen(QPen(color, 1.5))
            painter.drawLine(QPointF(-5.5, 5.5), QPointF(5.5, -5.5))
        painter.end()


class ClassRow(QWidget):
    """One class: an eye that shows and hides it, its colour, its name, and figures.

    Parameters
    ----------
    label : int
        Its value in the labels.
    name : str
    color : QColor or str
    parent : QWidget, optional
    """

    toggled_class = Signal(int, bool)
    """Its label, and whether it shall be visible."""

    def __init__(
        self, label: int, name: str, color: QColor | str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._label = label
        self._eye = _Eye(self)
        self._eye.setAccessibleName(f"Show {name}")
        self._eye.setToolTip(f"Show or hide {name}")
        self._detail = ElidedLabel("", self)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(6)
        layout.setVerticalSpacing(2)
        layout.addWidget(self._eye, 0, 0)
        layout.addWidget(Swatch(color, self), 0, 1)
        layout.addWidget(ElidedLabel(name, self), 0, 2)
        layout.addWidget(self._detail, 1, 2)
        layout.setColumnStretch(2, 1)
        self._detail.hide()
        self._eye.toggled.connect(self._emit)

    def set_detail(self, text: str) -> None:
        """Set the figures below the name, such as an area; empty hides them."""
        self._detail.setText(text)
        self._detail.setVisible(bool(text))

    def set_visible_class(self, visible: bool) -> None:
        """Open or strike out the eye."""
        self._eye.setChecked(visible)

    def _emit(self, visible: bool) -> None:
        self.toggled_class.emit(self._label, visible)


class StateLegend(QLabel):
    """Coloured squares with names and counts; wraps between them.

    Parameters
    ----------
    colors : mapping of str to QColor or str
        The states to show, in order, and their colours.
    parent : QWidget, optional
    """

    def __init__(self, colors: Mapping[str, QColor | str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colors = {state: QColor(color).name() for state, color in colors.items()}
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.set_counts({})

    def set_counts(self, counts: Mapping[str, int]) -> None:
        """Show how many tiles are in each state: 0 where none is given; others are left out."""
        words = {state: f"{state} {counts.get(state, 0):,}" for state in self._colors}
        # a square, its name and its count never part: the spaces in them do not break
        entries = (
            f'<span style="color:{self._colors[state]}">■</span>&nbsp;{text.replace(" ", "&nbsp;")}'
            for state, text in words.items()
        )
        self.setText(" &nbsp; ".join(entries))
        self.setAccessibleName(", ".join(words.values()))


class MessageBar(QLabel):
    """What happens, or what went wrong and what to do: wraps, and tells its kind by a sign."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._message = ""
        self._kind: Kind = "info"
        self.setObjectName("status")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setContentsMargins(_SIGN_PX + 14, 5, 6, 5)
        self.setMinimumHeight(_SIGN_PX + 12)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        # napari's style sheet fills every label, which would cover the tint painted below the text
        self.setStyleSheet("background: transparent;")

    @property
    def kind(self) -> Kind:
        """Of the message that is shown."""
        return self._kind

    def text(self) -> str:
        """Give the message as it was set."""
        return self._message

    def show_message(self, text: str, kind: Kind = "info") -> None:
        """Show a message; an empty one leaves the bar blank."""
        self._message, self._kind = text, kind
        # a long path must not make the panel wider than its dock: let lines break inside it,
        # but not between a number and its unit
        shown = re.sub(r"(?<=\w)([/\\_])", rf"\1{_ZERO_WIDTH_SPACE}", text)
        self.setText(re.sub(r"(?<=\d) (?=[a-zµ%])", _NO_BREAK_SPACE, shown))
        self.setToolTip(text)
        self.setAccessibleName(f"{kind}: {text}" if text else "")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Paint a tint, the sign in its disc, and the text over it."""
        if not self._message:
            return
        sign, color = _SIGNS[self._kind]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        tint = QColor(color)
        tint.setAlphaF(0.22)
        painter.setBrush(tint)
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        first_line = 6 + self.fontMetrics().height() / 2
        disc = QRectF(7, max(6.0, first_line - _SIGN_PX / 2), _SIGN_PX, _SIGN_PX)
        painter.setBrush(QColor(color))
        painter.drawEllipse(disc)
        bold = QFont(self.font())
        bold.setBold(True)
        bold.setPixelSize(_SIGN_PX - 4)
        painter.setFont(bold)
        painter.setPen(QColor("white"))
        painter.drawText(disc, Qt.AlignmentFlag.AlignCenter, sign)
        painter.end()
        super().paintEvent(event)


def form_row(name: str, field: QWidget, tooltip: str = "") -> QWidget:
    """Put a name before a field: names of rows below each other are of one width."""
    row = QWidget()
    label = QLabel(name, row)
    label.setMinimumWidth(_LABEL_PX)
    label.setBuddy(field)
    if not field.accessibleName():
        field.setAccessibleName(name)
    for part in (label, field):
        part.setToolTip(tooltip)
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(8)
    layout.addWidget(label)
    layout.addWidget(field, stretch=1)
    return row
