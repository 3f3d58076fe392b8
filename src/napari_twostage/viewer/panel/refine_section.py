"""Section to run stage 2 on selected tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_twostage.method.tiling import TileState
from napari_twostage.session import Session
from napari_twostage.viewer.colormaps import INKS, Ink
from napari_twostage.viewer.panel.parts import StateLegend, button_grid, host_button, session_button
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions

NEXT_TILES = 20
_LEGEND: dict[str, tuple[Ink, TileState | None]] = {
    "selected": (Ink.SELECTED, None),
    "refined": (Ink.REFINED, TileState.REFINED),
    "edited": (Ink.EDITED, TileState.EDITED),
    "failed": (Ink.FAILED, TileState.FAILED),
}
"""Marks of tiles on the slide: colour, and the state that they stand for, if it is one."""


class RefineSection(Section):
    """Buttons that start stage 2, and the number of tiles in each state.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    actions : ViewActions
        Actions that need the viewer.
    """

    def __init__(self, host: PanelHost, actions: ViewActions) -> None:
        super().__init__("Refine")
        grid, layout = button_grid()

        self.uncertain = session_button(
            host, "refine_uncertain", "Refine uncertain",
            "Stage 2 on all tiles above the threshold; those in view come first (Alt+U)",
            Session.refine_uncertain,
        )  # fmt: skip
        self.visible = host_button(
            host, "refine_visible", "Visible area", "Stage 2 on all tiles in view (Alt+R)",
            actions.refine_visible,
        )  # fmt: skip
        self.next = session_button(
            host, "refine_next", f"Next {NEXT_TILES}",
            f"Stage 2 on the {NEXT_TILES} most uncertain tiles that are left",
            lambda session: session.refine_next(NEXT_TILES),
        )  # fmt: skip
        self.place = host_button(
            host, "next_place", "Next uncertain place",
            "Fly to the most uncertain tile that was not refined nor shown yet (Alt+N)",
            actions.show_next_place,
        )  # fmt: skip
        self.worth = session_button(
            host, "advise", "Is it worth it?",
            "Compare both resolutions on a few places: what would change, how long it would take, "
            "and which threshold is enough",
            Session.advise,
        )  # fmt: skip
        layout.addWidget(self.uncertain, 0, 0, 1, 2)
        layout.addWidget(self.visible, 1, 0)
        layout.addWidget(self.next, 1, 1)
        layout.addWidget(self.place, 2, 0)
        layout.addWidget(self.worth, 2, 1)
        self.body.addWidget(grid)
        self._advice = QLabel()
        self._advice.setObjectName("advice")
        self._advice.setTextFormat(Qt.TextFormat.PlainText)
        self._advice.setWordWrap(True)
        self.body.addWidget(self._advice)
        colors = {name: INKS[ink][:7] for name, (ink, _) in _LEGEND.items()}
        self._legend = StateLegend(colors)
        self._legend.setObjectName("tile_states")
        self._legend.setToolTip("Tiles by state, in the colours of the tiles layer")
        self.body.addWidget(self._legend)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcuts of refinement."""
        return {"Alt+U": self.uncertain, "Alt+R": self.visible, "Alt+N": self.place}

    def show_session(self, session: Session) -> None:
        """Show which actions are possible, and the number of tiles in each state."""
        ready = session.coarse_done and not session.running
        for one in (self.uncertain, self.visible, self.next):
            one.setEnabled(ready)
        self.place.setEnabled(session.coarse_done)
        given = session.slide is not None and session.card is not None
        self.worth.setEnabled(given and not session.running)
        advice = session.advice
        self._advice.setVisible(advice is not None)
        self._advice.setText("" if advice is None else advice.describe())
        self._advice.setToolTip("" if advice is None else advice.describe_changes())
        if session.seg is None:
            self._legend.set_counts({})
            self.set_status("")
            return
        counts = np.bincount(session.seg.states.ravel(), minlength=len(TileState))
        chosen = 0 if session.forecast is None else session.forecast.n_tiles
        self._legend.set_counts(
            {
                name: chosen if state is None else int(counts[state])
                for name, (_, state) in _LEGEND.items()
            }
        )
        refined = int(session.seg.refined.sum())
        known = int(counts.sum() - counts[TileState.OUTSIDE])
        status = f"{refined:,} of {known:,} tiles" if known else ""
        self.set_status(session.missing if session.coarse_done and session.missing else status)
