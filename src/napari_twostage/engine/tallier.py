"""Measuring while a run goes on: each block once the run has nothing more to do there.

Blocks are measured in a thread of their own, from labels that were just written and are still in
the system's cache. After the run, areas and objects are there at once.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.errors import TwoStageError
from napari_twostage.measure.blocks import block_rows, near_tiles, tiles_along, tiles_of
from napari_twostage.measure.tallies import tally
from napari_twostage.method.selection import NOTHING, Plan
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    TilesSelected,
)
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from contextlib import AbstractContextManager
    from types import TracebackType

    from napari_twostage.geometry import Box
    from napari_twostage.method.selection import Selection
    from napari_twostage.method.steps import Step
    from napari_twostage.result.result import Result

log = logging.getLogger(__name__)


class Tallier:
    """Measures the blocks of a result during a run; a context, at whose end all are measured.

    A run that is stopped leaves what is not measured yet to whoever asks for it. So does a run
    on a cluster, whose labels are written by other machines.

    Parameters
    ----------
    result : Result
        Result that the run writes.
    wanted : Selection or Plan
        Tiles that the run is to refine.
    """

    def __init__(self, result: Result, wanted: Selection | Plan) -> None:
        self._result = result
        selection = wanted.selection if isinstance(wanted, Plan) else wanted
        self._left = np.full(result.tiles.shape, True)
        """Tiles that the run may still change."""
        self._selected = selection == NOTHING
        """Whether it is known which tiles are to be refined."""
        self._side = tiles_along(result)
        self._waiting = {
            (row, column): box
            for row, boxes in enumerate(block_rows(result))
            for column, box in enumerate(boxes)
        }
        """Blocks that are not measured yet, by row and column."""
        self._pool: AbstractContextManager[ThreadPoolExecutor] = pool(1, "tally", drop_waiting=True)
        self._measured: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._worker = self._pool.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                for future in self._measured:
                    future.result()
        finally:  # also if the wait is interrupted
            self._pool.__exit__(kind, error, trace)

    def take(self, step: Step) -> None:
        """Take a step that is written, and have measured what it leaves complete."""
        match step:
            case CoarsePassStarted() if self._selected:
                self._left = self._unseen()
                self._measure_complete()
            case CoarseWindowDone(core=core) if self._selected:
                place = tiles_of(self._result, self._result.layout.fine_box(core))
                self._left[place.slices] = False
                self._measure_complete(place)
            case TilesSelected(plan=plan):
                self._selected = True
                self._left[:] = False
                for tile in plan.tiles:
                    self._left[tile] = True
                self._measure_complete()
            case ChipRefined(chip=chip) | ChipFailed(chip=chip):
                for tile in chip.tiles:
                    self._left[tile] = False
                self._measure_complete(
                    tiles_of(self._result, chip.core.clip(self._result.grid.shape))
                )

    def _unseen(self) -> np.ndarray:
        """Tiles of the windows that stage 1 is still to see."""
        side = self._result.card.coarse_core_px // self._result.card.coarse_tile_px
        left = self._result.windows_left.repeat(side, 0).repeat(side, 1)
        rows, columns = self._left.shape
        return left[:rows, :columns].copy()

    def _measure_complete(self, near: Box | None = None) -> None:
        """Have blocks measured that are complete; only those that touch some tiles, if given."""
        states = None
        for index in list(self._waiting) if near is None else self._touching(near):
            box = self._waiting[index]
            tiles = near_tiles(self._result, box)
            if not self._left[tiles.slices].any():
                del self._waiting[index]
                states = self._result.states if states is None else states
                self._measured.append(self._worker.submit(self._measure, box, states))

    def _touching(self, near: Box) -> Iterator[tuple[int, int]]:
        """Blocks that wait and may follow from some of these tiles."""
        reach = -(-self._result.layout.object_reach_px // self._result.tiles.tile_px)
        wide = near.grow(1 + reach)
        for index in product(
            range(wide.top // self._side, -(-wide.bottom // self._side)),
            range(wide.left // self._side, -(-wide.right // self._side)),
        ):
            if index in self._waiting:
                yield index

    def _measure(self, box: Box, states: np.ndarray) -> None:
        try:
            tally(self._result, box, states)
        except (OSError, TwoStageError):  # met again by whoever reads it
            log.debug("%s: %s is not measured", self._result.path, box, exc_info=True)
