"""Footer of the panel, always in view: progress, the last message, and buttons to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QHBoxLayout,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_twostage.session import RunState, Session, WayOn, foot_of
from napari_twostage.viewer.panel.parts import (
    ElidedLabel,
    MessageBar,
    button,
    host_button,
    session_button,
)

if TYPE_CHECKING:
    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions


class Footer(QWidget):
    """Progress bar, buttons for the run, and message.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the footer.
    actions : ViewActions
        Actions that need the viewer.
    """

    def __init__(self, host: PanelHost, actions: ViewActions) -> None:
        super().__init__()
        self._host = host
        self._bar = QProgressBar()
        self._bar.setObjectName("progress")
        self._bar.setRange(0, 1000)
        self._pause = host_button(
            host, "pause", "Pause", "Wait after the tiles at work; go on where it stopped",
            self._pause_or_resume,
        )  # fmt: skip
        self._cancel = session_button(
            host, "cancel", "Cancel", "Stop after the tiles at work; what is done is kept",
            Session.cancel,
        )  # fmt: skip
        self._status = MessageBar()
        self._others = ElidedLabel()
        self._others.setObjectName("other_runs")
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
        layout.addWidget(self._others)
        self._ways = self._make_ways(host, actions)
        ways = QHBoxLayout()
        ways.setSpacing(4)
        for way in self._ways.values():
            ways.addWidget(way)
        layout.addLayout(ways)

    def _make_ways(self, host: PanelHost, actions: ViewActions) -> dict[WayOn, QPushButton]:
        """Buttons to go on after trouble; only those that help are visible."""
        return {
            WayOn.SAVE: host_button(
                host, "save_again", WayOn.SAVE.value, "Write what you painted once more",
                actions.commit_edit,
            ),
            WayOn.BRING_BACK: session_button(
                host, "bring_back", WayOn.BRING_BACK.value,
                "Open the edit again that was discarded, with what you painted (Ctrl+Z)",
                lambda session: session.history.bring_back_paint(),
            ),
            WayOn.RESUME: session_button(
                host, "resume", WayOn.RESUME.value, "Go on with the run that was stopped",
                Session.resume,
            ),
            WayOn.REPAIR: session_button(
                host, "repair", WayOn.REPAIR.value,
                "Check all files of the result; restore what can be, compute the rest again",
                Session.repair,
            ),
            WayOn.TAKE_OVER: button(
                "take_over", WayOn.TAKE_OVER.value,
                "Write this result although another machine is registered as writing it",
                self._take_over,
            ),
        }  # fmt: skip

    def show_session(self, session: Session) -> None:
        """Show the progress of the run and the last message."""
        progress = session.progress
        self._pause.setEnabled(session.running and session.state is not RunState.CANCELLING)
        self._pause.setText(WayOn.RESUME.value if session.state is RunState.PAUSED else "Pause")
        self._cancel.setEnabled(session.running or progress is not None)
        self._bar.setValue(0 if progress is None else round(1000 * progress.share))
        at_work = session.running or progress is not None
        for part in (self._bar, self._pause, self._cancel):
            part.setVisible(at_work)
        self._bar.setFormat("" if progress is None else progress.describe())
        foot = foot_of(session)
        self._status.show_message(foot.text, foot.kind)
        others = self._host.describe_other_runs()
        self._others.setText(others)
        self._others.setVisible(bool(others))
        ways = session.ways
        for way, shown in self._ways.items():
            shown.setVisible(way in ways)

    def _take_over(self) -> None:
        """Ask, then take the result over: two programs that write it would damage it."""
        answer = QMessageBox.question(
            self,
            "Take over the result",
            "Another machine is registered as writing this result. Take it over only if the "
            "program there no longer runs: if both write, work is lost.\n\nTake it over?",
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._host.do(self._host.session.take_over)

    def _pause_or_resume(self) -> None:
        session = self._host.session
        (session.resume if session.state is RunState.PAUSED else session.pause)()
