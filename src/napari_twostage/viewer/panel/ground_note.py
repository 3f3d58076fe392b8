"""Line that says whether a slide is a dark field, and whether signal would be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.panel.note_bar import NoteBar

if TYPE_CHECKING:
    from napari_twostage.session import Session

LOST = 0.01
"""Share of the signal from which on its loss is warned of."""


class GroundNote(NoteBar):
    """Note on the ground of the slide; hidden where there is nothing to say."""

    def __init__(self) -> None:
        super().__init__("ground")

    def show_session(self, session: Session) -> None:
        """Show what the search that is chosen would do with the slide of a session."""
        ground, searched = session.ground, session.options.tissue
        text, lost = "", False
        if ground is not None and not ground.bright_field:
            lost = searched is True and ground.signal_outside >= LOST
            if lost:
                text = (
                    f"Dark field: {ground.signal_outside:.0%} of the signal lies outside of what "
                    "would be segmented. Search the whole slide."
                )
            elif searched is None:
                text = "Dark field: the whole slide is segmented, so that no dim cell is lost."
        self.show_message(text, "warning" if lost else "info")
