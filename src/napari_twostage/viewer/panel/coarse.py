"""Section 3: the coarse pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, ComboBox, Container
from qtpy.QtWidgets import QPushButton

from napari_twostage.method.uncertainty import MEASURES
from napari_twostage.session import RunState
from napari_twostage.viewer.section import Section

if TYPE_CHECKING:
    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import Desk


class CoarseSection(Section):
    """Start stage 1.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__("Coarse", 3)
        self._desk = desk
        self._tissue_only = CheckBox(
            name="tissue_only",
            label="tissue only",
            value=True,
            tooltip="Find the tissue first and leave the rest of the glass out",
        )
        self._measure = ComboBox(
            name="uncertainty",
            choices=list(MEASURES),
            tooltip="How doubt is measured from the probabilities of stage 1",
        )
        self._measure.native.setAccessibleName("Uncertainty measure")
        self._options = Container(widgets=[self._tissue_only, self._measure], labels=True)
        self._options.margins = (0, 0, 0, 0)
        self.run = QPushButton("Coarse")
        self.run.setObjectName("run_coarse")
        self.run.setToolTip(
            "Stage 1: segment all tissue at reduced resolution and score every tile (Alt+1)"
        )
        self.run.clicked.connect(lambda: desk.do(desk.session.run_coarse))
        self.body.addWidget(self._options.native)
        self.body.addWidget(self.run)
        self._options.changed.connect(self._changed)
        self._rendering = False

    def show_session(self, session: Session) -> None:
        """Show how far the coarse pass is."""
        ready = session.slide is not None and session.card is not None
        self.run.setEnabled(ready and not session.running)
        begun = session.seg is not None and session.seg.tissue_known
        self.run.setText("Coarse" if not begun or session.coarse_done else "Go on with Coarse")
        self._rendering = True
        self._tissue_only.value = session.options.tissue
        if session.card is not None:
            self._measure.value = session.options.uncertainty or session.card.uncertainty
        self._rendering = False
        self._options.enabled = ready and not session.running
        self.set_status(_status(session))

    def _changed(self) -> None:
        if not self._rendering:
            self._desk.session.set_options(
                tissue_only=self._tissue_only.value,
                uncertainty=str(self._measure.value),
            )


def _status(session: Session) -> str:
    if session.state is RunState.COARSE and session.progress is not None:
        shown = session.progress
        return f"{shown.stage} {shown.done / max(shown.total, 1e-9):.0%}"
    if session.coarse_done and session.seg is not None:
        return "done"
    return "begun" if session.seg is not None else ""
