"""Section to run stage 2 on selected tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel

from napari_twostage.method.selection import Selection
from napari_twostage.method.tiling import TileState
from napari_twostage.session import Session
from napari_twostage.session.prices import count_tiles
from napari_twostage.viewer.colormaps import INKS, Ink
from napari_twostage.viewer.panel.parts import StateLegend, button_grid, session_button
from napari_twostage.viewer.panel.priced_button import PricedButton
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions

NEXT_TILES = 20
DOUBTFUL = "Refine doubtful tiles"
"""Text of the first button while there are none."""
NONE_ABOVE = "No tile is above the threshold"
VIEW_MS = 200
"""Milliseconds from a move of the view to the price of what is in view."""
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
        self._host = host
        self._actions = actions
        self._view_timer = QTimer(self)
        self._view_timer.setSingleShot(True)
        self._view_timer.setInterval(VIEW_MS)
        self._view_timer.timeout.connect(self._show_price_of_view)
        grid, layout = button_grid()

        self.uncertain = PricedButton(
            host, "refine_uncertain", DOUBTFUL,
            "Full resolution on all tiles above the threshold; those in view come first (Alt+U)",
            Session.refine_uncertain,
        )  # fmt: skip
        self.visible = PricedButton(
            host, "refine_visible", "Visible area", "Full resolution on all tiles in view (Alt+R)",
            lambda _session: actions.refine_visible(),
        )  # fmt: skip
        self.next = PricedButton(
            host, "refine_next", f"Next {NEXT_TILES}",
            f"Full resolution on the {NEXT_TILES} most uncertain tiles that are left",
            lambda session: session.refine_next(NEXT_TILES),
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
        layout.addWidget(self.worth, 2, 0, 1, 2)
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
        return {"Alt+U": self.uncertain, "Alt+R": self.visible}

    def show_session(self, session: Session) -> None:
        """Show which actions are possible, and the number of tiles in each state."""
        self._show_prices(session)
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

    def view_moved(self) -> None:
        """State the price of what is in view once it has stayed there for a moment."""
        if not self._view_timer.isActive():
            self._view_timer.start()

    def _show_price_of_view(self) -> None:
        session = self._host.session
        if session.running:
            return
        in_view = self._actions.visible_area() if session.coarse_done else None
        if in_view is not None and not in_view.area:
            self.visible.setEnabled(False)
            self.visible.set_price("out of view", "The slide is out of view")
            return
        price = None if in_view is None else session.price(in_view)
        self.visible.offer(price, "No tissue is in view", "Every tile in view is refined")

    def _show_prices(self, session: Session) -> None:
        """State the prices; during a run those from before it stay, and nothing can be pressed."""
        if session.running:
            for one in (self.uncertain, self.visible, self.next):
                one.setEnabled(False)
            return
        above = session.price(Selection(threshold=session.threshold))
        self.uncertain.offer(
            above,
            "No tile is above the threshold",
            "Every tile above the threshold is refined",
        )
        count = above.tiles if above is not None else 0
        self.uncertain.setText(f"Refine {count_tiles(count)}" if count else DOUBTFUL)
        if above is not None and count:
            self.uncertain.set_price(above.describe_effect(), above.describe())
        left = session.price(Selection(n_tiles=NEXT_TILES))
        self.next.offer(left, "", "Every tile is refined")
        self._show_price_of_view()
