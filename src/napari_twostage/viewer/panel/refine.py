"""Section 5: full resolution where it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.tiling import TileState
from napari_twostage.session import Session
from napari_twostage.viewer.panel.buttons import button, button_grid
from napari_twostage.viewer.parts import StateLegend
from napari_twostage.viewer.section import Section
from napari_twostage.viewer.tile_overlay import TILE_COLORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QPushButton

    from napari_twostage.viewer.panel.host import Desk

NEXT_TILES = 20
_NEUTRAL = "#8d99a6"
"""Of the states that are not painted over the slide."""


class RefineSection(Section):
    """Start stage 2.

    Parameters
    ----------
    desk : Desk
    visible, region, draw, next_place : callable
        What needs the viewer: refine what is in view or was drawn; start to draw; go on.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        visible: Callable[[], None],
        region: Callable[[], None],
        draw: Callable[[], None],
        next_place: Callable[[], None],
    ) -> None:
        super().__init__("Refine", 5)
        self._desk = desk
        grid, layout = button_grid()

        def ask(name: str, text: str, tip: str, press: Callable[[], object]) -> QPushButton:
            return button(name, text, tip, lambda: desk.do(press))

        self.uncertain = ask(
            "refine_uncertain", "Refine uncertain",
            "Stage 2 on all tiles above the threshold; those in view come first (Alt+U)",
            lambda: Session.refine_uncertain(desk.session),
        )  # fmt: skip
        self.visible = ask(
            "refine_visible", "Visible area", "Stage 2 on all tiles in view (Alt+R)", visible
        )
        self.draw = ask(
            "draw_region", "Draw region", "Draw a polygon round what matters to you", draw
        )
        self.region = ask(
            "refine_region", "Drawn region", "Stage 2 on all tiles that the shapes touch", region
        )
        self.next = ask(
            "refine_next", f"Next {NEXT_TILES}",
            f"Stage 2 on the {NEXT_TILES} most uncertain tiles that are left",
            lambda: desk.session.refine_next(NEXT_TILES),
        )  # fmt: skip
        self.place = ask(
            "next_place", "Next uncertain place",
            "Fly to the most uncertain tile that was not refined nor shown yet (Alt+N)",
            next_place,
        )  # fmt: skip
        layout.addWidget(self.uncertain, 0, 0, 1, 2)
        layout.addWidget(self.visible, 1, 0)
        layout.addWidget(self.next, 1, 1)
        layout.addWidget(self.draw, 2, 0)
        layout.addWidget(self.region, 2, 1)
        layout.addWidget(self.place, 3, 0, 1, 2)
        self.body.addWidget(grid)
        colors = {
            state.name.lower(): TILE_COLORS[state][:7]
            if TILE_COLORS[state][7:] != "00"
            else _NEUTRAL
            for state in TileState
        }
        self._legend = StateLegend(colors)
        self._legend.setObjectName("tile_states")
        self._legend.setToolTip("Tiles by state, in the colours of the tiles layer")
        self.body.addWidget(self._legend)

    def show_session(self, session: Session, *, region_drawn: bool) -> None:
        """Show what can be refined and how many tiles are."""
        ready = session.coarse_done and not session.running
        for one in (self.uncertain, self.visible, self.next):
            one.setEnabled(ready)
        self.draw.setEnabled(session.slide is not None)
        self.region.setEnabled(ready and region_drawn)
        self.place.setEnabled(session.coarse_done)
        if session.seg is None:
            self._legend.set_counts({})
            self.set_status("")
            return
        counts = np.bincount(session.seg.states.ravel(), minlength=len(TileState))
        self._legend.set_counts({state.name.lower(): int(counts[state]) for state in TileState})
        refined = int(session.seg.refined.sum())
        known = int(counts.sum() - counts[TileState.OUTSIDE])
        self.set_status(f"{refined:,} of {known:,} tiles" if known else "")
