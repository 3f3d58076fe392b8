"""Count of a run's work, by which `speed` learns from the seconds that it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.speed import Work, blocks_with
from napari_twostage.measure.blocks import tiles_of
from napari_twostage.method.steps import ChipFailed, ChipRefined, CoarseWindowDone

if TYPE_CHECKING:
    from napari_twostage.method.pipeline import Gate
    from napari_twostage.method.steps import Step
    from napari_twostage.result.result import Result

PAUSE_S = 0.05
"""Seconds at the gate that make a run a paused one: its time says nothing about another's."""


class WorkCount:
    """Counts windows, tiles and blocks of a run, and notes whether it was paused.

    Parameters
    ----------
    result : Result
        Result that the run writes.
    gate : callable
        See `pipeline.Work`.
    """

    def __init__(self, result: Result, gate: Gate) -> None:
        self._result = result
        self._gate = gate
        self._paused = False
        self._searches = int(not result.tissue_known)
        self._windows = self._tiles = 0
        self._changed = np.zeros(result.tiles.shape, bool)

    def gate(self) -> None:
        """Pass the run's gate."""
        started = time.perf_counter()
        self._gate()
        if time.perf_counter() - started > PAUSE_S:
            self._paused = True

    def take(self, step: Step) -> None:
        """Count a step."""
        match step:
            case CoarseWindowDone(core=core):
                self._windows += 1
                place = tiles_of(self._result, self._result.layout.fine_box(core))
                self._changed[place.slices] = True
            case ChipRefined(chip=chip) | ChipFailed(chip=chip):
                self._tiles += len(chip.tiles)
                self._changed[tuple(np.transpose(chip.tiles))] = True

    def as_dict(self) -> dict[str, int] | None:
        """Amounts for the record; None if the run was paused."""
        if self._paused:
            return None
        return Work(
            searches=self._searches,
            windows=self._windows,
            tiles=self._tiles,
            blocks=blocks_with(self._changed, self._result.layout),
        ).as_dict()
