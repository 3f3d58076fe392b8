"""Buttons of the panel: each has a name for automation and says what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def button(name: str, text: str, tip: str, press: Callable[[], object]) -> QPushButton:
    """Make a button.

    Parameters
    ----------
    name : str
        Qt's object name.
    text, tip : str
        On it, and in its tooltip.
    press : callable
        Called without arguments when it is pressed.
    """
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.clicked.connect(lambda _checked: press())
    return made


def button_grid() -> tuple[QWidget, QGridLayout]:
    """Make a place for buttons in two columns of one width."""
    place = QWidget()
    layout = QGridLayout(place)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    layout.setColumnStretch(0, 1)
    layout.setColumnStretch(1, 1)
    return place, layout
