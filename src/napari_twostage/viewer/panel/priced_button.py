"""Button that states its price in a second line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import (
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
)

from napari_twostage.viewer.panel.parts import LabelFont, theme_color

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QFont, QPaintEvent

    from napari_twostage.session import Session
    from napari_twostage.session.prices import Price
    from napari_twostage.viewer.panel.host import PanelHost

_PADDING_PX = 5
"""Above and below the two lines."""


class PricedButton(QPushButton):
    """Push button of two lines: the action, and dimmer below it what the action costs and brings.

    A price that does not fit is elided; the tooltip has all of it.

    Parameters
    ----------
    host : PanelHost
        Panel of the button, which shows errors of the action as messages.
    name : str
        Object name, for `findChild`.
    text, tip : str
        Label, and the tooltip's first line.
    action : callable
        Called with the session of the chosen slide on every click.
    """

    def __init__(
        self, host: PanelHost, name: str, text: str, tip: str, action: Callable[[Session], object]
    ) -> None:
        super().__init__(text)
        self._tip = tip
        self._price = ""
        self._label_font = LabelFont(self)
        self.setObjectName(name)
        self.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self.clicked.connect(lambda _checked: host.do(lambda: action(host.session)))
        self.set_price("")

    @property
    def price(self) -> str:
        """Second line."""
        return self._price

    def set_price(self, line: str, more: str = "") -> None:
        """Set the second line, and what the tooltip says beside the action; by default the same."""
        self._price = line
        self.setToolTip("\n".join(filter(None, (self._tip, more or line))))
        self.setAccessibleDescription(more or line)
        self.update()

    def offer(self, price: Price | None, without: str, done: str) -> None:
        """Enable it if there is something to refine; say what it costs, or why there is nothing.

        Parameters
        ----------
        price : Price, optional
            None before the coarse pass, or without a region.
        without, done : str
            Why there is nothing to refine: no tile was selected, or all are refined. Without the
            first, it is always the second.
        """
        self.setEnabled(price is not None and price.tiles > 0)
        if price is None:
            self.set_price("")
        elif price.tiles:
            self.set_price(price.describe_briefly(), price.describe())
        elif price.selected or not without:
            self.set_price("all refined", done)
        else:
            self.set_price("none", without)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Size with room for both lines, whether there is a price or not."""
        hint = super().sizeHint()
        height = 2 * QFontMetrics(self._font()).height() + 2 * _PADDING_PX
        return QSize(hint.width(), max(hint.height(), height))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Size of the first line; the second is elided."""
        return QSize(super().minimumSizeHint().width(), self.sizeHint().height())

    def _font(self) -> QFont:
        return self._label_font.current()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 - Qt's name
        """Paint the frame, the action and the price."""
        painter, option = QStylePainter(self), QStyleOptionButton()
        self.initStyleOption(option)
        option.text = ""
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        area = self.rect().adjusted(4, 0, -4, 0)
        painter.setFont(self.font())
        painter.setPen(theme_color(self, 1.0 if self.isEnabled() else 0.45))
        height, line = painter.fontMetrics().height(), QFontMetrics(self._font()).height()
        centred = Qt.AlignmentFlag.AlignCenter
        if not self._price:
            painter.drawText(area, centred, self.text())
            painter.end()
            return
        top = (area.height() - height - line) // 2
        painter.drawText(QRect(area.left(), top, area.width(), height), centred, self.text())
        painter.setFont(self._font())
        painter.setPen(theme_color(self, 0.7 if self.isEnabled() else 0.45))
        shown = painter.fontMetrics().elidedText(
            self._price, Qt.TextElideMode.ElideRight, area.width()
        )
        painter.drawText(QRect(area.left(), top + height, area.width(), line), centred, shown)
        painter.end()
