"""Section to run stage 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox, Container
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel

from napari_twostage.method.uncertainty import MEASURES
from napari_twostage.session import RunState, Session, WayOn
from napari_twostage.viewer.panel.ground_note import GroundNote
from napari_twostage.viewer.panel.priced_button import PricedButton
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.viewer.panel.host import PanelHost

SEARCHES = {"automatic": None, "always": True, "never": False}
"""Choices of the panel to `RunOptions.tissue`."""
WHOLE = "Quick pass (whole slide)"
"""Text of the button that begins a run."""


class CoarseSection(Section):
    """Options and start button of stage 1.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("Quick pass")
        self._host = host
        self.search = ComboBox(
            name="tissue",
            label="Skip empty glass",
            choices=list(SEARCHES),
            tooltip="Whether to find the tissue first and leave the rest of the slide out. "
            "Automatic: on bright glass, but not in a dark field, where dim cells would be lost",
        )
        self.search.native.setAccessibleName("Skip empty glass")
        self._measure = ComboBox(
            name="uncertainty",
            label="Uncertainty",
            choices=list(MEASURES),
            tooltip="How doubt is measured: from the probabilities of stage 1, or by the gain, "
            "what the model expects refinement to correct",
        )
        self._measure.native.setAccessibleName("Uncertainty measure")
        self._options = Container(widgets=[self.search, self._measure], labels=True)
        self._options.margins = (0, 0, 0, 0)
        self._advanced = QCheckBox("Advanced")
        self._advanced.setObjectName("advanced")
        self._advanced.setToolTip("Show how doubt is measured")
        self._advanced.toggled.connect(self._show_advanced)
        self.run = PricedButton(
            host, "run_coarse", WHOLE,
            "Segment all tissue at reduced resolution, and find where it is doubtful (Alt+1)",
            Session.run_coarse,
        )  # fmt: skip
        self._domain = QLabel()
        self._domain.setObjectName("domain")
        self._domain.setTextFormat(Qt.TextFormat.PlainText)
        self._domain.setWordWrap(True)
        self._new_run = QLabel("Starts a new run; the one that is open stays.")
        self._new_run.setObjectName("new_run")
        self._new_run.setWordWrap(True)
        self._ground = GroundNote()
        for part in (
            self._options.native,
            self._advanced,
            self._ground,
            self._new_run,
            self.run,
            self._domain,
        ):
            self.body.addWidget(part)
        self._show_advanced(shown=False)
        self._options.changed.connect(self._changed)
        self._updating = False

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcut of the coarse pass."""
        return {"Alt+1": self.run}

    def show_session(self, session: Session) -> None:
        """Show the state of the coarse pass."""
        ready = session.slide is not None and session.card is not None
        self.run.setEnabled(ready and not session.running)
        self._new_run.setHidden(session.run_book.fits)
        started = session.run_book.fits and session.seg is not None and session.seg.tissue_known
        self.run.setText(WHOLE if not started or session.coarse_done else WayOn.RESUME.value)
        if not session.running:
            price = None if session.coarse_done else session.prices.coarse()
            more = "" if price is None else price.describe()
            self.run.set_price("" if price is None else price.time, more)
        self._updating = True
        self.search.value = next(
            words for words, tissue in SEARCHES.items() if tissue is session.options.tissue
        )
        if session.card is not None:
            if tuple(self._measure.choices) != session.card.measures:
                self._measure.choices = session.card.measures
            self._measure.value = session.options.uncertainty or session.card.uncertainty
        self._updating = False
        self._options.enabled = ready and not session.running
        self._ground.show_session(session)
        self._domain.setText(session.domain)
        self._domain.setVisible(bool(session.domain))
        self.set_status(_status(session))

    def _show_advanced(self, shown: bool) -> None:
        self._measure.visible = shown

    def _changed(self) -> None:
        if not self._updating:
            self._host.session.set_options(
                tissue_only=SEARCHES[str(self.search.value)],
                uncertainty=str(self._measure.value),
            )
            self._ground.show_session(self._host.session)


def _status(session: Session) -> str:
    if session.state is RunState.COARSE and session.progress is not None:
        return f"{session.progress.share:.0%}"
    if session.coarse_done and session.seg is not None:
        return "done in regions" if session.seg.record.scope else "done"
    return session.missing or ("begun" if session.seg is not None else "")
