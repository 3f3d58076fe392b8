"""Footer of the panel, always in view: progress, pause, cancel and the last message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from napari_twostage.session import RunState, Session
from napari_twostage.viewer.panel.parts import MessageBar, host_button, session_button

if TYPE_CHECKING:
    from napari_twostage.viewer.panel.host import PanelHost


class Footer(QWidget):
    """Progress bar, buttons for the run, and message.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the footer.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__()
        self._host = host
        self._bar = QProgressBar()
        self._bar.setObjectName("progress")
        self._bar.setRange(0, 1000)
        self._pause = host_button(
            host, "pause", "Pause", "Wait after the chip at work; go on where it stopped",
            self._pause_or_resume,
        )  # fmt: skip
        self._cancel = session_button(
            host, "cancel", "Cancel", "Stop after the chip at work; what is done is kept",
            Session.cancel,
        )  # fmt: skip
        self._status = MessageBar()
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self._pause)
        row.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._bar)
        layout.addLayout(row)
        layout.addWidget(self._status)

    def show_session(self, session: Session) -> None:
        """Show the progress of the run and the last message."""
        progress = session.progress
        self._pause.setEnabled(session.running and session.state is not RunState.CANCELLING)
        self._pause.setText("Resume" if session.state is RunState.PAUSED else "Pause")
        self._cancel.setEnabled(session.running or progress is not None)
        self._bar.setValue(0 if progress is None else round(1000 * progress.share))
        self._bar.setFormat("" if progress is None else progress.describe())
        self._status.show_message(session.notice.text, session.notice.kind)

    def _pause_or_resume(self) -> None:
        session = self._host.session
        (session.resume if session.state is RunState.PAUSED else session.pause)()
