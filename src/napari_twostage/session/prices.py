"""Prices of a session's buttons: tiles, seconds and expected gain, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from napari_twostage.engine.coarse_work import tiles_of_windows
from napari_twostage.engine.speed import Work, blocks_along, blocks_with, learned
from napari_twostage.method.selection import (
    Selection,
    describe_interval,
    describe_seconds,
    interval_around,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.engine.options import RunOptions
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.engine.speed import Speed
    from napari_twostage.geometry import Box
    from napari_twostage.method.ranking import Ranking
    from napari_twostage.method.selection import Curve
    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.card import ModelCard
    from napari_twostage.slides.base import Slide


@dataclass(frozen=True, slots=True)
class Price:
    """Cost and gain of refining some tiles."""

    tiles: int
    """Tiles that the run would compute: of the selection, those not refined yet."""
    selected: int
    """Tiles of the selection, refined ones included; without those outside the tissue."""
    share: float
    """`selected` over all tiles of the tissue, in [0, 1]."""
    seconds: float | None
    """Seconds from the click to the end of the run; None until the speed is known."""
    dice: tuple[float, float] | None = None
    """Expected Dice of the whole result before and after; None if `no_dice` says why."""
    dice_interval: tuple[float, float] | None = None
    """Lower and upper end of the Dice after; None if the model states none."""
    no_dice: str = ""
    """Reason why no expected Dice is stated; empty if it is."""

    @property
    def time(self) -> str:
        """Seconds in words, such as ``about 12 s``; empty if they are not known."""
        return "" if self.seconds is None else describe_time(self.seconds)

    @property
    def gain(self) -> str:
        """Gain in words, such as ``agreement (Dice) 0.73 → 0.77``; empty if it is not known."""
        if self.dice is None:
            return ""
        before, after = (f"{dice:.2f}" for dice in self.dice)
        if before == after:  # one more digit tells a small gain from none
            before, after = (f"{dice:.3f}" for dice in self.dice)
        return f"agreement (Dice) {before} → {after}"

    def describe(self) -> str:
        """Text for a tooltip: ``24 tiles · about 2 s · agreement (Dice) 0.73 → 0.77``."""
        parts = [count_tiles(self.tiles), self.time, self.gain]
        return " · ".join(filter(None, parts))

    def describe_briefly(self) -> str:
        """Text for a small button: ``24 tiles · 2 s``."""
        return " · ".join(filter(None, (count_tiles(self.tiles), self.time.removeprefix("about "))))

    def describe_effect(self) -> str:
        """Text for a button that states the tiles: ``about 1 s · Dice 0.73 → 0.77``."""
        gain = self.gain.replace("agreement (Dice)", "Dice")
        return " · ".join(filter(None, (self.time, gain)))

    def describe_selection(self) -> str:
        """State in a sentence or two what the threshold selects, and what refining that brings."""
        if not self.selected:
            why = f" The effect of refining is not known: {self.no_dice}." if self.no_dice else ""
            return f"No tile is above the threshold.{why}"
        of_tissue = f"{describe_share(self.share)} of tissue"
        whole = self.share == 1
        if not self.tiles:
            all_of = f"All {self.selected:,} tiles" if self.selected > 1 else "The one tile"
            are = "are" if self.selected > 1 else "is"
            place = "" if whole else f" above the threshold ({of_tissue})"
            return f"{all_of}{place} {are} refined already."
        if whole:
            said = f"All {count_tiles(self.selected)} selected." if self.selected > 1 else ""
            said = said or "The only tile is selected."
        else:
            said = f"{count_tiles(self.selected, 'doubtful ')} selected ({of_tissue})."
        left = self.tiles
        rest = "Refining" if left == self.selected else f"Refining the {left:,} left"
        takes = f"{rest} takes {self.time}" if self.time else f"{left:,} to refine"
        return f"{said} {takes}; {self._effect}."

    @property
    def _effect(self) -> str:
        if not self.gain:
            return f"the effect is not known: {self.no_dice}"
        return f"estimated {self.gain}{describe_interval(self.dice_interval)}"


@dataclass(frozen=True, slots=True)
class CoarsePrice:
    """Cost of the coarse pass, or of what is left of it."""

    windows: int
    seconds: float

    @property
    def time(self) -> str:
        """Seconds in words, such as ``about 2 min``."""
        return describe_time(self.seconds)

    def describe(self) -> str:
        """Text for a tooltip: ``769 fields · about 2 min``."""
        return f"{self.windows:,} field{'s' * (self.windows != 1)} · {self.time}"


@dataclass(frozen=True, slots=True)
class Tried:
    """A model was tried out on this machine, with a slide."""

    slide: Slide
    card: ModelCard
    compute: Compute
    speed: Speed
    coarse: dict[bool | None, Work] = field(default_factory=dict)
    """Work of a coarse pass, by `RunOptions.tissue`; empty if it is not known."""


class _Basis(NamedTuple):
    """Everything that prices of one state of a result share."""

    key: tuple[object, ...]
    ranking: Ranking
    refined: NDArray[np.bool_]
    dice: float | None
    """Expected Dice as the result is."""
    speed: Speed | None
    seconds: NDArray[np.float64] | None
    """Seconds of refining the first 0, 1, ... tiles of those left, highest score first."""


class PricedState(Protocol):
    """What prices depend on, of `SessionState`."""

    slide: Slide | None
    options: RunOptions
    seg: Segmentation | None
    coarse_done: bool
    curve: Curve | None

    @property
    def card(self) -> ModelCard | None:
        """Card of the model."""

    @property
    def running(self) -> bool:
        """Whether there is a run."""


class Prices:
    """Prices of one session; cheap to ask for at every turn of the view.

    Parameters
    ----------
    state : PricedState
        State of the session.
    """

    def __init__(self, state: PricedState) -> None:
        self._state = state
        self._tried: Tried | None = None
        self._kept: _Basis | None = None

    def take(self, tried: Tried) -> None:
        """Take in how fast the model was when it was tried out."""
        known = self._trial
        if known is not None and not tried.coarse:
            tried = replace(tried, coarse=known.coarse)
        self._tried = tried

    def price(self, wanted: Selection | Box | Sequence[ArrayLike]) -> Price | None:
        """Price of refining a selection, or a region of the slide's level 0.

        None before the end of the coarse pass.
        """
        seg = self._state.seg
        if seg is None or not self._state.coarse_done:
            return None
        if not isinstance(wanted, Selection):
            wanted = Selection(region=seg.to_fine(wanted))
        if wanted == Selection(threshold=wanted.threshold) and wanted.threshold is not None:
            return self._above(wanted.threshold)
        basis = self._basis(seg)
        region = None if wanted.region is None else seg.tiles_touching(wanted.region)
        tile_s = None if basis.speed is None else basis.speed.tiles
        selected = basis.ranking.select(wanted, tile_s, region, basis.refined)
        after = basis.refined.copy()
        after.reshape(-1)[selected] = True
        new = after & ~basis.refined
        tiles = int(new.sum())
        seconds = None
        if basis.speed is not None:
            work = Work(tiles=tiles, blocks=blocks_with(new, seg.layout))
            seconds = basis.speed.seconds(work) if tiles else 0.0
        dice = None if basis.dice is None else basis.ranking.expected_dice(after)
        return Price(
            tiles,
            len(selected),
            len(selected) / max(1, len(basis.ranking.order)),
            seconds,
            None if basis.dice is None or dice is None else (basis.dice, dice),
            interval_around(dice, basis.ranking.predictor),
            basis.ranking.no_dice,
        )

    def _above(self, threshold: float) -> Price | None:
        """Price of the tiles above a threshold, looked up in what was added up before."""
        seg, curve = self._state.seg, self._state.curve
        if seg is None or curve is None:
            return None
        found, along = curve.at(threshold), self.seconds_along
        seconds = None if along is None else float(along[min(found.n_tiles, len(along) - 1)])
        before, after = found.expected_dice_before, found.expected_dice
        return Price(
            found.n_tiles,
            found.selected,
            found.fraction,
            seconds,
            None if before is None or after is None else (before, after),
            found.dice_interval,
            found.no_dice,
        )

    @property
    def seconds_along(self) -> NDArray[np.float64] | None:
        """Seconds of refining the first 0, 1, ... n of the tiles left, highest score first.

        None until the speed is known.
        """
        seg = self._state.seg
        return None if seg is None else self._basis(seg).seconds

    def coarse(self) -> CoarsePrice | None:
        """Price of the coarse pass that a click would run; None if it is not known."""
        seg, tried = self._state.seg, self._trial
        if seg is not None and seg.tissue_known and not self._state.coarse_done:
            left = seg.windows_left
            blocks = blocks_with(tiles_of_windows(left, seg.layout), seg.layout)
            work = Work(windows=int(left.sum()), blocks=blocks)
        elif tried is not None and self._state.options.tissue in tried.coarse:
            work = tried.coarse[self._state.options.tissue]
        else:
            return None
        speed = learned(() if seg is None else seg.record.runs, self._trial_speed, self._compute)
        return None if speed is None else CoarsePrice(work.windows, speed.seconds(work))

    def _basis(self, seg: Segmentation) -> _Basis:
        """Basis of the prices as the result stands; during a run, as it stood before."""
        kept = self._kept
        runs = seg.record.runs
        key = (
            seg, seg.events_taken, len(runs), runs[-1].finished if runs else None,
            self._trial_speed, str(self._compute),
        )  # fmt: skip
        if kept is not None and kept.key[0] is seg and (self._state.running or kept.key == key):
            return kept
        ranking, refined = seg.ranking, seg.refined
        speed = learned(runs, self._trial_speed, self._compute)
        seconds = None
        if speed is not None:
            left = ranking.order[~refined.ravel()[ranking.order]]
            tiles = np.arange(len(left) + 1)
            blocks = blocks_along(left, seg.layout)
            seconds = np.asarray(speed.runs + tiles * speed.tiles + blocks * speed.blocks, float)
            seconds[0] = 0.0
        dice = None if ranking.no_dice else ranking.expected_dice(refined)
        self._kept = _Basis(key, ranking, refined, dice, speed, seconds)
        return self._kept

    @property
    def _trial(self) -> Tried | None:
        """What was tried out with the slide and the model of the session."""
        tried = self._tried
        if tried is None or tried.slide is not self._state.slide:
            return None
        return tried if tried.card == self._state.card else None

    @property
    def _trial_speed(self) -> Speed | None:
        return None if self._trial is None else self._trial.speed

    @property
    def _compute(self) -> dict[str, str] | None:
        return None if self._trial is None else self._trial.compute.as_dict()


def count_tiles(count: int, kind: str = "") -> str:
    """Number of tiles in words: ``1 tile``, ``1,240 doubtful tiles``."""
    return f"{count:,} {kind}tile{'s' * (count != 1)}"


def describe_share(share: float) -> str:
    """Share as a percentage, with a decimal only where it matters.

    Examples
    --------
    >>> describe_share(0.392), describe_share(0.0042), describe_share(0.00001)
    ('39 %', '0.4 %', 'under 0.1 %')
    """
    percent = 100 * share
    if 0 < percent < 0.1:
        return "under 0.1 %"
    if percent < 9.95:
        return f"{percent:.1f} %"
    return f"{min(percent, 99.0):.0f} %" if share < 1 else "100 %"


def describe_time(seconds: float) -> str:
    """Predicted time in words: ``under 1 s``, ``about 12 s``."""
    return "under 1 s" if seconds < 0.95 else f"about {describe_seconds(seconds)}"
