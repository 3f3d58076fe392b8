"""Section to go through the uncertain places and the failed tiles, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_twostage.session import EditState, Session
from napari_twostage.session.failures import count_of_failed
from napari_twostage.session.review import Review
from napari_twostage.viewer.panel.parts import button_grid, host_button, session_button
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.session.places import Place
    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions

_HINT = "Point at the slide to see how sure the labels are there."

LEAST_PX = 270
"""Width, in pixels, that texts have in the narrowest panel."""


class ReviewSection(Section):
    """Buttons to go from place to place and to say what becomes of each.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    actions : ViewActions
        Actions that need the viewer.
    """

    def __init__(self, host: PanelHost, actions: ViewActions) -> None:
        super().__init__("Review")
        self._line = _text("review_place")
        self.body.addWidget(self._line)
        self._add_places(host, actions)
        self._add_failures(host, actions)
        self._pointer = _text("review_pointer")
        self._pointer.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.body.addWidget(self._pointer)
        self._place: Place | None = None
        self.show_pointer("")

    def _add_places(self, host: PanelHost, actions: ViewActions) -> None:
        grid, layout = button_grid()
        self.previous = host_button(
            host, "previous_place", "Previous", "Go back to the place before (Alt+B)",
            lambda: actions.show_place(Review.previous),
        )  # fmt: skip
        self.next = host_button(
            host, "next_place", "Next",
            "Fly to the next uncertain place above the threshold, the most uncertain first (Alt+N)",
            lambda: actions.show_place(Review.next),
        )  # fmt: skip
        self.accept = host_button(
            host, "accept_place", "Accept",
            "The labels are right here: keep them, leave the place out of refinement, and go to "
            "the next place (Alt+A)",
            lambda: actions.show_place(Review.accept),
        )  # fmt: skip
        self.take_back = host_button(
            host, "undo_accept", "Undo accept", "Take the last acceptance back, and go there",
            lambda: actions.show_place(Review.take_back),
        )  # fmt: skip
        self.edit = session_button(
            host, "edit_place", "Edit", "Open the labels of this place to paint on",
            lambda session: session.edit(session.review.surroundings()),
        )  # fmt: skip
        self.refine = session_button(
            host, "refine_place", "Refine", "Full resolution on the tiles of this place",
            lambda session: session.refine(session.review.selection()),
        )  # fmt: skip
        parts = self.previous, self.next, self.accept, self.take_back, self.edit, self.refine
        for number, part in enumerate(parts):
            layout.addWidget(part, number // 2, number % 2)
        self.body.addWidget(grid)

    def _add_failures(self, host: PanelHost, actions: ViewActions) -> None:
        self._failed = _text("failed_tiles")
        self._failures, layout = button_grid()
        self.next_failed = host_button(
            host, "next_failed", "Next failed", "Fly to the next tiles that failed",
            lambda: actions.show_place(Review.next_failed),
        )  # fmt: skip
        self.retry = session_button(
            host, "retry_failed", "Retry", "Full resolution on all tiles that failed, once more",
            lambda session: session.refine(session.review.failed_selection()),
        )  # fmt: skip
        layout.addWidget(self.next_failed, 0, 0)
        layout.addWidget(self.retry, 0, 1)
        self.body.addWidget(self._failed)
        self.body.addWidget(self._failures)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcuts of the review."""
        return {"Alt+N": self.next, "Alt+B": self.previous, "Alt+A": self.accept}

    def show_session(self, session: Session) -> None:
        """Show the place, how many are left, and what can be done with it."""
        review, queue = session.review, session.review.queue
        if review.place != self._place:  # the camera moves, and the pointer is elsewhere
            self._place = review.place
            self.show_pointer("")
        count = 0 if queue is None else len(queue)
        ready = session.coarse_done and not session.running
        _fill(self._line, review.describe() or "Run the quick pass to find uncertain places.")
        for one in (self.previous, self.next):
            one.setEnabled(count > 0)
        painting = session.edit_state is not EditState.NONE
        self.accept.setEnabled(review.waits and not painting)
        self.take_back.setEnabled(review.accepted_places > 0)
        self.edit.setEnabled(review.place is not None and not painting)
        self.refine.setEnabled(ready and review.can_be_refined and not painting)
        self._show_failures({} if session.seg is None else session.seg.failures, ready=ready)
        accepted = review.accepted_places
        self.set_status(f"{accepted:,} accepted" if accepted else "")

    def _show_failures(self, failures: dict[tuple[int, int], str], *, ready: bool) -> None:
        for part in (self._failed, self._failures):
            part.setVisible(bool(failures))
        if failures:
            reasons = list(dict.fromkeys(failures.values()))
            _fill(self._failed, f"{count_of_failed(len(failures))}: {reasons[0]}")
            self._failed.setToolTip("\n".join(reasons[:10]))
        self.next_failed.setEnabled(bool(failures))
        self.retry.setEnabled(ready and bool(failures))

    def show_pointer(self, text: str) -> None:
        """Show what is known about the place under the pointer; empty beside the slide."""
        # room for two lines, or the sections below would jump as the pointer moves
        _fill(self._pointer, text[:1].upper() + text[1:] if text else _HINT, least_lines=2)


def _fill(label: QLabel, text: str, *, least_lines: int = 1) -> None:
    """Set a text, with room for all its lines: a nested layout gives wrapped labels too little."""
    label.setText(text)
    least = least_lines * label.fontMetrics().lineSpacing()
    width = max(label.width(), LEAST_PX)  # closed, a section has not been laid out yet
    label.setFixedHeight(max(least, label.heightForWidth(width)))


def _text(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
