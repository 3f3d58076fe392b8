"""Seconds that a run takes on this machine, predicted from how long others took.

A run's time is a sum over its parts: beginning it, finding the tissue, windows of stage 1, tiles of
stage 2, and the blocks of labels that are measured on the way. A short trial of the model gives a
first idea of each part. Every run that comes to its end is written into the record with the amount
of each part; the next prediction follows them.
"""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.measure.blocks import BLOCK_PX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.model import Model
    from napari_twostage.result.layout import Layout
    from napari_twostage.result.record_parts import RunRecord
    from napari_twostage.slides.view import View

PAST_RUNS = 12
"""Most runs that are learned from, the latest ones."""
FADING = 0.7
"""Weight of a run against that of the next one: the machine may be busier or less so by now."""
PASSES = 12
"""Corrections of all parts; few, so that parts that no run tells apart keep their ratio."""
PLACES = 3
"""Places along each side of the slide at which reading is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Amount of work of a run, part by part."""

    runs: int = 1
    searches: int = 0
    """Searches for tissue: 1 in the run that begins a result."""
    windows: int = 0
    """Windows of stage 1."""
    tiles: int = 0
    """Tiles of stage 2."""
    blocks: int = 0
    """Blocks of labels to measure; see `blocks_with`."""

    @classmethod
    def of_run(cls, run: RunRecord) -> Self | None:
        """Work of a run that is on record; None if it says nothing about the time of another."""
        if run.work is not None:
            return cls(**{name: run.work.get(name, 0) for name in _PARTS})
        if run.refined and run.seconds.get("refine"):  # of an older version
            return cls(runs=0, tiles=run.refined)
        return None

    def as_dict(self) -> dict[str, int]:
        """Amounts by name."""
        return {name: getattr(self, name) for name in _PARTS}


_PARTS = tuple(part.name for part in fields(Work))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds of each part of a run; fields as in `Work`."""

    runs: float = 0.1
    searches: float = 1.2
    windows: float = 0.15
    tiles: float = 0.02
    blocks: float = 0.35

    def seconds(self, work: Work) -> float:
        """Seconds of a run."""
        return float(sum(getattr(self, name) * getattr(work, name) for name in _PARTS))

    def learn(self, past: Sequence[tuple[Work, float]]) -> Speed:
        """Speed that fits runs whose seconds are known, the latest one last.

        Each part is scaled by what the runs took over what was predicted. A run counts as far as
        the part makes up its time, so what no run had keeps its speed.
        """
        past = [(work, seconds) for work, seconds in past if seconds > 0][-PAST_RUNS:]
        if not past:
            return self
        amounts = np.array([[getattr(work, name) for name in _PARTS] for work, _ in past], float)
        taken = np.array([seconds for _, seconds in past])
        weights = FADING ** np.arange(len(past))[::-1]
        parts = np.array([getattr(self, name) for name in _PARTS])
        for _ in range(PASSES):
            predicted = np.maximum(amounts @ parts, 1e-9)
            shares = weights[:, None] * amounts * parts / predicted[:, None]
            counted = shares.sum(axis=0)
            scale = np.divide(
                (shares * (taken / predicted)[:, None]).sum(axis=0),
                counted,
                out=np.ones_like(parts),
                where=counted > 0,
            )
            parts = parts * scale
        return Speed(**dict(zip(_PARTS, parts.tolist(), strict=True)))


def learned(
    runs: Iterable[RunRecord], trial: Speed | None, compute: Mapping[str, str] | None
) -> Speed | None:
    """Speed of this machine for a result.

    Parameters
    ----------
    runs : iterable of RunRecord
        Runs of the result, the oldest first.
    trial : Speed, optional
        From `try_out`.
    compute : mapping, optional
        Backend, device and precision, as a run's record states them; None takes those of the last
        run that was made here.

    Returns
    -------
    Speed or None
        None if neither a trial nor a run says how long a tile takes.
    """
    here = [
        run
        for run in runs
        if run.machine == platform.node() and run.workers is None and run.compute is not None
    ]
    alike = compute or (here[-1].compute if here else None)
    past = [
        (work, sum(run.seconds.values()) if work.runs else run.seconds["refine"])
        for run in here
        if _same(run.compute, alike) and (work := Work.of_run(run)) is not None
    ]
    if trial is None and not any(work.tiles for work, _ in past):
        return None
    return (trial or Speed()).learn(past)


def _same(one: Mapping[str, str] | None, other: Mapping[str, str] | None) -> bool:
    keys = ("backend", "device", "precision")
    return one is not None and other is not None and all(one[key] == other[key] for key in keys)


def try_out(model: Model, view: View) -> Speed:
    """Measure a model on this machine, and reading of a slide on the fine grid: a second or two."""
    return Speed(
        windows=model.seconds_per_window,
        tiles=model.seconds_per_tile + _seconds_of_reading(view, model.card),
    )


def _seconds_of_reading(view: View, card: ModelCard) -> float:
    """Seconds to read the window of a tile; median of places all over the slide."""
    side = min(card.tile_px + 2 * card.halo_px, *view.grid.shape)
    spent = []
    for place in range(PLACES**2):
        row, column = divmod(place, PLACES)
        top, left = (
            (length - side) * (2 * number + 1) // (2 * PLACES)
            for length, number in zip(view.grid.shape, (row, column), strict=True)
        )
        started = time.perf_counter()
        with suppress(ReadError):  # met again, and reported, by the run
            view.read(Box.at(top, left, side, side))
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))


def blocks_with(tiles: NDArray[np.bool_], layout: Layout) -> int:
    """Number of blocks of labels that are measured again when some tiles change.

    Parameters
    ----------
    tiles : (rows, columns) bool array
        Tiles that change.
    layout : Layout
        Of the result.
    """
    return int(np.count_nonzero(_near_blocks(np.where(tiles, 0.0, np.inf), layout) == 0))


def blocks_along(order: NDArray[np.integer], layout: Layout) -> NDArray[np.intp]:
    """Number of blocks to measure when the first 0, 1, ... n tiles of an order change: (n + 1,)."""
    ranks = np.full(layout.tiles.shape, np.inf)
    ranks.reshape(-1)[order] = np.arange(len(order))
    first = _near_blocks(ranks, layout)
    first = first[np.isfinite(first)].astype(np.intp)
    return np.concatenate([[0], np.bincount(first, minlength=len(order)).cumsum()])


def _near_blocks(values: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """Smallest value of the tiles that each block follows from: (rows, columns) of blocks."""
    from scipy.ndimage import minimum_filter

    reach = 1 + -(-layout.object_reach_px // layout.tiles.tile_px)
    spread = minimum_filter(values, 2 * reach + 1, mode="nearest")
    side = max(1, BLOCK_PX // layout.tiles.tile_px)
    rows, columns = (np.arange(0, length, side) for length in values.shape)
    return np.minimum.reduceat(np.minimum.reduceat(spread, rows, 0), columns, 1)
