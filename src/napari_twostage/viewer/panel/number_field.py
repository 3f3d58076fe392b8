"""Field for a number, which may be typed with a decimal comma or point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QLocale, Qt
from qtpy.QtWidgets import QDoubleSpinBox, QSpinBox

if TYPE_CHECKING:
    from qtpy.QtGui import QValidator, QWheelEvent


class NumberField(QDoubleSpinBox):
    """Field for a number: "0,25" is 0.25 in any locale; the wheel turns it only with the focus.

    Qt takes a comma for a separator of thousands where the locale has a decimal point, and drops
    it. Here every comma is a decimal point, as there is no room for thousands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(QLocale.c())
        self.setGroupSeparatorShown(False)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def validate(self, text: str | None, pos: int) -> tuple[QValidator.State, str, int]:
        """Check a text while it is typed, with a point for its comma."""
        state, _, place = super().validate((text or "").replace(",", "."), pos)
        return state, (text or "").replace(",", "."), place

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 - Qt's name
        """Read the number of a text."""
        return float(super().valueFromText((text or "").replace(",", ".")))

    def wheelEvent(self, e: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Turn the number, unless the panel is being scrolled."""
        if self.hasFocus():
            super().wheelEvent(e)
        elif e is not None:
            e.ignore()


class CountField(QSpinBox):
    """Field for a whole number; the wheel turns it only with the focus."""

    def __init__(self) -> None:
        super().__init__()
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, e: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Turn the number, unless the panel is being scrolled."""
        if self.hasFocus():
            super().wheelEvent(e)
        elif e is not None:
            e.ignore()
