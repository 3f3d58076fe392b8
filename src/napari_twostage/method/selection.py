"""Selections of tiles to refine, and forecasts of their cost and benefit.

Every selection is a prefix of one ranking, highest score first (see `ranking`), so a lower
threshold, a larger fraction or a longer budget contains every tile of a stricter one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Region
    from napari_twostage.method.dice_predictor import DicePredictor
    from napari_twostage.method.tiling import Tile


_HIGHEST = {"threshold": 2.0, "fraction": 1.0, "budget_s": math.inf, "n_tiles": math.inf}
"""Criterion to its largest permitted value; the smallest is 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Criterion for tiles to refine: those of a region, limited by at most one measure.

    All criteria but `n_tiles` are nested: a weaker one contains every tile of a stricter one.

    Raises
    ------
    SelectionError
        If two criteria are given, or one is out of its range.
    """

    threshold: float | None = None
    """Tiles whose score exceeds it, in [0, 2]."""
    fraction: float | None = None
    """Share of the tiles, those with the highest scores, in [0, 1]."""
    budget_s: float | None = None
    """Seconds; as many of the highest tiles as can be refined in that time."""
    n_tiles: int | None = None
    """Number of tiles, the highest of those not yet refined."""
    region: Region | None = None
    """Box or polygons on the fine grid; only tiles that touch it. Alone, it selects all of them."""

    def __post_init__(self) -> None:
        given = {name: value for name in _HIGHEST if (value := getattr(self, name)) is not None}
        if len(given) > 1:
            raise SelectionError(f"give one of {', '.join(_HIGHEST)}; found {given}")
        for name, value in given.items():
            kind, described = (Integral, "whole ") if name == "n_tiles" else (Real, "")
            if isinstance(value, bool) or not isinstance(value, kind) or math.isinf(value):
                raise SelectionError(f"{name} must be a {described}number; found {value!r}")
            if not 0 <= float(value) <= _HIGHEST[name]:
                raise SelectionError(f"{name} must lie in [0, {_HIGHEST[name]:g}]; found {value}")

    def as_dict(self) -> dict[str, Any]:
        """Return the criteria that were given, in types that JSON holds, for the record."""
        region = self.region
        given: dict[str, Any] = {
            name: int(value) if name == "n_tiles" else float(value)
            for name in _HIGHEST
            if (value := getattr(self, name)) is not None
        }
        if isinstance(region, Box):
            given["region"] = region.as_list()
        elif region is not None:
            given["region"] = [[list(vertex) for vertex in polygon] for polygon in region]
        return given

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Make the selection that `as_dict` returned."""
        region = given.get("region")
        if region is not None:
            is_box = not isinstance(region[0], list)
            region = Box(*region) if is_box else tuple(tuple(map(tuple, one)) for one in region)
        return cls(**{**given, "region": region})


NOTHING = Selection(fraction=0.0)
"""No tile."""
EVERYTHING = Selection(fraction=1.0)
"""Every tile that has a score."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cost and benefit of refining some tiles, predicted without running a network."""

    n_tiles: int
    """Tiles of the selection not yet refined."""
    selected: int
    """Tiles of the selection, refined ones included."""
    fraction: float
    """`selected` over all scored tiles, in [0, 1]."""
    estimated_seconds: float | None
    """Seconds for `n_tiles` at the speed measured on this machine; None if not measured."""
    expected_dice: float | None
    """Expected Dice of the whole result after refinement; see `ranking.Ranking.expected_dice`.
    None if `no_dice` says why it is not stated."""
    expected_dice_before: float | None
    """Expected Dice of the result as it is now; None as above."""
    no_dice: str = field(default="", kw_only=True)
    """Reason why no expected Dice is stated; empty if it is."""
    dice_interval: tuple[float, float] | None = field(default=None, kw_only=True)
    """Lower and upper end of `expected_dice`; None if the model states none."""

    def describe(self) -> str:
        """Text: ``1,240 tiles · 3.1 % of tissue · about 40 s · expected Dice 0.91 → 0.94``."""
        tiles = f"{self.n_tiles:,} tile{'s' if self.n_tiles != 1 else ''}"
        parts = [tiles, f"{100 * self.fraction:.1f} % of tissue"]
        if self.estimated_seconds:
            parts.append(f"about {describe_seconds(self.estimated_seconds)}")
        if self.no_dice:
            parts.append(f"effect unknown: {self.no_dice}")
        else:
            parts.append(
                f"expected Dice {self.expected_dice_before:.2f} → {self.expected_dice:.2f}"
                f"{describe_interval(self.dice_interval)}"
            )
        return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class Plan(Forecast):
    """Tiles to refine, in order, with their forecast."""

    tiles: Sequence[Tile]
    """Tiles not yet refined, in the order of refinement."""
    selection: Selection
    """Criteria that led to the tiles."""


@dataclass(frozen=True)
class Curve:
    """Forecast of every threshold, computed once for all moves of a slider."""

    scores: NDArray[np.float32]
    """Scores of all n scored tiles, highest first: (n,)."""
    left: NDArray[np.intp]
    """Number of tiles left to refine among the first 0, 1, ... n: (n + 1,)."""
    dice: NDArray[np.float64]
    """Expected Dice once the first 0, 1, ... n are refined: (n + 1,); NaN if it is not stated."""
    seconds_per_tile: float | None
    """Seconds to refine one tile, measured on this machine; None if not measured."""
    no_dice: str = ""
    """Reason why no expected Dice is stated; empty if it is."""
    predictor: DicePredictor | None = None
    """Prediction that `dice` comes from, which knows its error; None if there is none."""

    @property
    def seconds(self) -> NDArray[np.floating] | None:
        """Seconds to refine the first 0, 1, ... n: (n + 1,)."""
        return None if self.seconds_per_tile is None else self.left * self.seconds_per_tile

    @cached_property
    def _falling(self) -> NDArray[np.float64]:
        return -self.scores.astype(np.float64)  # cached: each search would convert them

    def at(self, threshold: float) -> Forecast:
        """Forecast for refining the tiles whose score exceeds a threshold."""
        count = int(np.searchsorted(self._falling, -threshold, side="left"))
        left, seconds = int(self.left[count]), self.seconds_per_tile
        dice = None if self.no_dice else float(self.dice[count])
        return Forecast(
            n_tiles=left,
            selected=count,
            fraction=count / max(1, len(self.scores)),
            estimated_seconds=None if seconds is None else left * seconds,
            expected_dice=dice,
            expected_dice_before=None if self.no_dice else float(self.dice[0]),
            no_dice=self.no_dice,
            dice_interval=interval_around(dice, self.predictor),
        )


def interval_around(
    dice: float | None, predictor: DicePredictor | None
) -> tuple[float, float] | None:
    """Interval of a predicted Dice; None if there is no Dice, or its error is not known."""
    return None if dice is None or predictor is None else predictor.interval(dice)


def describe_interval(interval: tuple[float, float] | None) -> str:
    """Text: `` (0.74 to 0.86)``, with a space before it; empty for None."""
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"


def describe_seconds(seconds: float) -> str:
    """Round a duration to seconds, minutes or hours, and name the unit.

    Examples
    --------
    >>> describe_seconds(0.4), describe_seconds(38.2), describe_seconds(190)
    ('1 s', '38 s', '3 min')
    >>> describe_seconds(5400)
    '1.5 h'
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5000 else f"{seconds / 3600:.1f} h"
