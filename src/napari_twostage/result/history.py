"""Order of what can be undone: edits by the user, and runs that refined tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.result.journal_events import (
    EditMade,
    EditUndone,
    Event,
    PixelsLost,
    RecordGrown,
    RefinementUndone,
    TilesRefined,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape
    from napari_twostage.method.tiling import Tile


@dataclass(frozen=True, slots=True)
class EditStep:
    """An edit that stands."""

    number: int


@dataclass(frozen=True, slots=True)
class RefinementStep:
    """Tiles that one run refined."""

    number: int
    token: str | None
    """Token of the run's record; None if the record tells no runs apart."""


Step = EditStep | RefinementStep


class History:
    """Steps that stand, in the order in which they were made; replayed from the journal.

    A run that goes on after an edit comes after it: only its last tile counts.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of tiles.
    """

    def __init__(self, shape: Shape) -> None:
        self.made = 0
        """Steps ever made or made again; undoing one does not count."""
        self._steps: list[Step] = []
        self._step_of = np.zeros(shape, np.int32)
        """Number of the refinement step of each tile; 0 for none."""
        self._edits: set[int] = set()
        self._tokens: set[str] = set()
        self._token: str | None = None
        self._open: RefinementStep | None = None
        """Step that the run under way adds tiles to."""

    def take(self, event: Event) -> None:
        """Take in an event, in the order of the journal."""
        match event:
            case RecordGrown():
                self._begin_runs(event)
            case TilesRefined():
                self._refine(event)
            case RefinementUndone(tiles=tiles):
                self._open = None
                self._forget(tiles)
            case PixelsLost(tiles=tiles):
                self._forget(tiles)
            case EditMade(number=number):
                if number not in self._edits:
                    self._edits.add(number)
                    self.made += 1
                    self._steps = [*self._steps, EditStep(number)]
            case EditUndone(number=number):
                self._steps = [step for step in self._steps if step != EditStep(number)]

    @property
    def last(self) -> Step | None:
        """The last step that stands; None if there is none."""
        return next((step for step in reversed(self._steps) if self._stands(step)), None)

    @property
    def last_refinement(self) -> RefinementStep | None:
        """The last run some of whose tiles are still refined; None if there is none."""
        runs = (step for step in reversed(self._steps) if isinstance(step, RefinementStep))
        return next((step for step in runs if self._stands(step)), None)

    def tiles(self, step: RefinementStep) -> NDArray[np.bool_]:
        """Tiles of a step that are still refined: (rows, columns)."""
        found: NDArray[np.bool_] = self._step_of == step.number
        return found

    def _stands(self, step: Step) -> bool:
        return isinstance(step, EditStep) or bool(self.tiles(step).any())

    def _begin_runs(self, event: RecordGrown) -> None:
        """Begin another step with each run that is new to the record."""
        for run in event.runs:
            token = run.get("token")
            if token is None or token not in self._tokens:
                self._token, self._open = token, None
                self._tokens.add(str(token))

    def _refine(self, event: TilesRefined) -> None:
        step = self._open
        if step is None or event.token is not None:
            self.made += 1
            token = self._token if event.token is None else event.token or None
            step = RefinementStep(self.made, token)
        if not self._steps or self._steps[-1] != step:
            self._steps = [*(one for one in self._steps if one != step), step]
        self._open = None if event.token is not None else step
        for tile in event.tiles:
            self._step_of[tile] = step.number

    def _forget(self, tiles: tuple[Tile, ...]) -> None:
        for tile in tiles:
            self._step_of[tile] = 0
