"""Widgets and colours that the sections of the panel share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QPainter, QPainterPath, QPalette, QPen
from qtpy.QtWidgets import (
    QAbstractButton,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)
from superqt import QElidingLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qtpy.QtGui import QPaintEvent

    from napari_twostage.session import Session
    from napari_twostage.session.events import Kind
    from napari_twostage.viewer.panel.host import PanelHost

_SIGNS: dict[Kind, tuple[str, str]] = {
    "info": ("i", "#3b82d6"),
    "next": ("→", "#6b7785"),
    "busy": ("···", "#c77700"),
    "warning": ("!", "#c77700"),
    "error": ("!", "#d33a3a"),
}
"""Sign of each kind of message: the character in the disc, and the disc's colour."""
_SIGN_PX = 16
_LABEL_PX = 84
"""Smallest width, in pixels, of the names in a form."""
_ZERO_WIDTH_SPACE = "\u200b"
_NO_BREAK_SPACE = "\u00a0"


def theme_color(widget: QWidget, strength: float = 1.0) -> QColor:
    """Text colour of a widget, mixed into its background; follows napari's theme.

    Mixed when painting: napari's style sheet sets the palette roles ``Window`` and ``WindowText``
    of every widget in a dock and no other role that differs between its themes. Qt repaints a
    widget whose style changes.

    Parameters
    ----------
    widget : QWidget
        Widget that is painted.
    strength : float
        1 gives the text colour, 0 the background colour.
    """
    background = widget.palette().color(QPalette.ColorRole.Window).getRgbF()
    text = widget.palette().color(QPalette.ColorRole.WindowText).getRgbF()
    red, green, blue = (
        b + (t - b) * strength for b, t in zip(background[:3], text[:3], strict=True)
    )
    return QColor.fromRgbF(red, green, blue)


class LabelFont(QLabel):
    """Font of the labels beside a widget, hidden in it.

    napari applies the font size of the user's preferences to labels, not to buttons and lists.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()

    def current(self) -> QFont:
        """A copy of the font as the preferences are now."""
        self.ensurePolished()
        return QFont(self.font())


class ElidedLabel(QElidingLabel):
    """One line of plain text, elided in the middle if too long; the tooltip has all of it."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def setText(self, txt: str | None) -> None:  # noqa: N802 - Qt's name
        """Set the text and the tooltip."""
        super().setText(txt or "")
        self.setToolTip(txt or "")


class Swatch(QWidget):
    """Square of one colour."""

    def __init__(self, color: QColor | str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._color = QColor(color)
        self.setFixedSize(14, 14)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Paint the square with a faint outline, to see it even in the background's colour."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme_color(self, 0.35))
        painter.setBrush(self._color)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 2, 2)
        painter.end()


class _Eye(QAbstractButton):
    """Checkable eye: open if checked, else struck out."""

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
            painter.setPen(theme_color(self, 0.6))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        painter.translate(QRectF(self.rect()).center())
        color = theme_color(self, 0.85 if self.isChecked() else 0.45)
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
    """Row for one class: visibility button, colour, name and figures.

    Parameters
    ----------
    label : int
        Value of the class in the labels.
    name : str
    color : QColor or str
    parent : QWidget, optional
    """

    toggled_class = Signal(int, bool)
    """Label of the class, and whether it is now visible."""

    def __init__(
        self, label: int, name: str, color: QColor | str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._label = label
        self._eye = _Eye(self)
        self._eye.setAccessibleName(f"Show {name}")
        self._eye.setToolTip(f"Show or hide {name}")
        self._details: list[ElidedLabel] = []
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(6)
        layout.setVerticalSpacing(2)
        layout.addWidget(self._eye, 0, 0)
        layout.addWidget(Swatch(color, self), 0, 1)
        layout.addWidget(ElidedLabel(name, self), 0, 2)
        layout.setColumnStretch(2, 1)
        self._layout = layout
        self._eye.toggled.connect(self._emit)

    def set_detail(self, text: str) -> None:
        """Set the lines below the name, such as an area; an empty text hides them."""
        lines = text.splitlines()
        while len(self._details) < len(lines):
            self._details.append(ElidedLabel("", self))
            self._layout.addWidget(self._details[-1], len(self._details), 2)
        for place, label in enumerate(self._details):
            label.setText(lines[place] if place < len(lines) else "")
            label.setVisible(place < len(lines))

    def set_visible_class(self, visible: bool) -> None:
        """Check or uncheck the eye."""
        self._eye.setChecked(visible)

    def _emit(self, visible: bool) -> None:
        self.toggled_class.emit(self._label, visible)


class StateLegend(QLabel):
    """Legend of coloured squares with names and counts; wraps between entries.

    Parameters
    ----------
    colors : mapping of str to QColor or str
        States in display order, and their colours.
    parent : QWidget, optional
    """

    def __init__(self, colors: Mapping[str, QColor | str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colors = {state: QColor(color).name() for state, color in colors.items()}
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.set_counts({})

    def set_counts(self, counts: Mapping[str, int]) -> None:
        """Set the number of tiles per state; missing states count 0, unknown ones are ignored."""
        words = {state: f"{state} {counts.get(state, 0):,}" for state in self._colors}
        # no line break inside an entry: square, name and count stay together
        entries = (
            f'<span style="color:{self._colors[state]}">■</span>&nbsp;{text.replace(" ", "&nbsp;")}'
            for state, text in words.items()
        )
        self.setText(" &nbsp; ".join(entries))
        self.setAccessibleName(", ".join(words.values()))


class MessageBar(QLabel):
    """Message with a sign for its kind: information, work, a warning or an error; wraps."""

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
        # napari's style sheet fills labels, which would cover the tint painted below the text
        self.setStyleSheet("background: transparent;")

    @property
    def kind(self) -> Kind:
        """Kind of the current message."""
        return self._kind

    def text(self) -> str:
        """Message as it was set."""
        return self._message

    def show_message(self, text: str, kind: Kind = "info") -> None:
        """Show a message; an empty one clears the bar."""
        self._message, self._kind = text, kind
        # allow line breaks inside a path, or a long one would widen the dock, but not between a
        # number and its unit
        shown = re.sub(r"(?<=\w)([/\\_])", rf"\1{_ZERO_WIDTH_SPACE}", text)
        self.setText(re.sub(r"(?<=\d) (?=[a-zµ%])", _NO_BREAK_SPACE, shown))
        self.setToolTip(text)
        self.setAccessibleName(f"{kind}: {text}" if text else "")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Paint the tint, the sign in its disc and the text."""
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


def in_a_row(wide: QWidget, *others: QWidget) -> QWidget:
    """Widgets beside each other, of which the first takes what is left of the width."""
    row = QWidget()
    row.setFocusProxy(wide)
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(wide, stretch=1)
    for other in others:
        layout.addWidget(other)
    return row


def form_row(name: str, field: QWidget, tooltip: str = "") -> QWidget:
    """Row of a form: name and field; names of all rows have the same width."""
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


def button(name: str, text: str, tip: str, press: Callable[[], object]) -> QPushButton:
    """Push button.

    Parameters
    ----------
    name : str
        Object name, for `findChild`.
    text, tip : str
        Label and tooltip.
    press : callable
        Called without arguments on every click.
    """
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.clicked.connect(lambda _checked: press())
    return made


def host_button(
    host: PanelHost, name: str, text: str, tip: str, action: Callable[[], object]
) -> QPushButton:
    """Push button like `button`; the panel shows errors of its action as messages."""
    return button(name, text, tip, lambda: host.do(action))


def session_button(
    host: PanelHost, name: str, text: str, tip: str, action: Callable[[Session], object]
) -> QPushButton:
    """Push button like `host_button`; its action gets the session of the chosen slide."""
    return host_button(host, name, text, tip, lambda: action(host.session))


def button_grid() -> tuple[QWidget, QGridLayout]:
    """Container for buttons in two columns of equal width, and its layout."""
    place = QWidget()
    layout = QGridLayout(place)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    layout.setColumnStretch(0, 1)
    layout.setColumnStretch(1, 1)
    return place, layout
