"""Message inside a section of the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.panel.parts import MessageBar

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent
    from qtpy.QtWidgets import QWidget

    from napari_twostage.session.events import Kind


class NoteBar(MessageBar):
    """Message inside a section: hidden without a text, and as high as its lines.

    A section is never higher than its size hint, which Qt computes for a width of its own; in a
    narrower panel, the last line would be cut off.

    Parameters
    ----------
    name : str
        Object name.
    parent : QWidget, optional
    """

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._least_px = self.minimumHeight()
        self.hide()

    def show_message(self, text: str, kind: Kind = "info") -> None:
        """Show a message; an empty one hides the bar."""
        super().show_message(text, kind)
        self._fit()
        self.setVisible(bool(text))

    def resizeEvent(self, a0: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take the height that the lines need in the new width."""
        super().resizeEvent(a0)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(max(self._least_px, self.heightForWidth(self.width())))
