"""Message inside a section of the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.panel.parts import MessageBar

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_twostage.session.events import Kind


class NoteBar(MessageBar):
    """Message inside a section, hidden without a text.

    Parameters
    ----------
    name : str
        Object name.
    parent : QWidget, optional
    """

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.hide()

    def show_message(self, text: str, kind: Kind = "info") -> None:
        """Show a message; an empty one hides the bar."""
        super().show_message(text, kind)
        self.setVisible(bool(text))
