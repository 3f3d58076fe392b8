"""Colours that follow napari's theme.

They are mixed from the widget's palette when painting: napari's style sheet sets the roles
``Window`` and ``WindowText`` of every widget in a dock and nothing else that differs between its
themes, and Qt repaints a widget whose style changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtGui import QColor, QPalette

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


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
