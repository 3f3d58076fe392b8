"""Which tiles to refine: nested selections, and what each would cost and bring.

Every selection is a prefix of one ranking, the highest score first, so a lower threshold, a
larger fraction or a longer budget always holds all that a stricter one held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.method.tiling import Tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Region
    from napari_twostage.method.tiling import Tile
    from napari_twostage.method.uncertainty import TileStatistics


_HIGHEST = {"threshold": 2.0, "fraction": 1.0, "budget_s": math.inf, "n_tiles": math.inf}
"""The criteria, and the highest value of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which tiles are wanted: those of a region, cut by at most one criterion.

    All but `n_tiles` are nested: a weaker criterion holds all that a stricter one held.

    Raises
    ------
    SelectionError
        If there are two criteria, or one out of its range.
    """

    threshold: float | None = None
    """Tiles that score above it."""
    fraction: float | None = None
    """The top share of the tiles, in [0, 1]."""
    budget_s: float | None = None
    """As many of the top tiles as can be refined in so many seconds."""
    n_tiles: int | None = None
    """As many of the top tiles that are not refined yet."""
    region: Region | None = None
    """Only tiles that touch this box, or these polygons, of the fine grid; alone, all of them."""

    def __post_init__(self) -> None:
        given = {name: value for name in _HIGHEST if (value := getattr(self, name)) is not None}
        if len(given) > 1:
            raise SelectionError(f"give one of {', '.join(_HIGHEST)}; found {given}")
        for name, value in given.items():
            if not 0 <= value <= _HIGHEST[name]:
                raise SelectionError(f"{name} must lie in [0, {_HIGHEST[name]:g}]; found {value}")

    def as_dict(self) -> dict[str, Any]:
        """What was asked for, JSON-able: for the record."""
        region = self.region
        given: dict[str, Any] = {
            name: value for name in _HIGHEST if (value := getattr(self, name)) is not None
        }
        if isinstance(region, Box):
            given["region"] = region.as_list()
        elif region is not None:
            given["region"] = [[list(vertex) for vertex in polygon] for polygon in region]
        return given


NOTHING = Selection(fraction=0.0)
EVERYTHING = Selection(fraction=1.0)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What refining some tiles would cost and bring; nothing is computed yet."""

    n_tiles: int
    """Tiles left to refine."""
    selected: int
    """Tiles of the selection, those refined before included."""
    fraction: float
    """`selected` over all scored tiles, in [0, 1]."""
    estimated_seconds: float | None
    """For `n_tiles`, from the throughput measured on this machine; None where not measured."""
    expected_dice: float
    """Of the whole result afterwards; see `Ranking.expected_dice`."""
    expected_dice_before: float
    """Of the result as it stands."""

    def describe(self) -> str:
        """In words: ``1,240 tiles · 3.1 % of tissue · about 40 s · expected Dice 0.91 → 0.94``."""
        tiles = f"{self.n_tiles:,} tile{'s' if self.n_tiles != 1 else ''}"
        parts = [tiles, f"{100 * self.fraction:.1f} % of tissue"]
        if self.estimated_seconds:
            parts.append(f"about {in_words(self.estimated_seconds)}")
        parts.append(f"expected Dice {self.expected_dice_before:.2f} → {self.expected_dice:.2f}")
        return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class Plan(Forecast):
    """Tiles that would be refined, and what is expected of it."""

    tiles: Sequence[Tile]
    """Not refined yet, in the order of refinement."""
    selection: Selection
    """What was asked for."""


@dataclass(frozen=True)
class Curve:
    """What every threshold would cost and bring, worked out once for all moves of a slider."""

    scores: NDArray[np.float32]
    """(n,) of all scored tiles, the highest first."""
    left: NDArray[np.intp]
    """(n + 1,) tiles to refine among the first 0, 1, ... n."""
    dice: NDArray[np.float64]
    """(n + 1,) expected Dice once these are refined."""
    seconds_per_tile: float | None
    """Measured on this machine; None where it was not."""

    @property
    def seconds(self) -> NDArray[np.floating] | None:
        """(n + 1,) seconds to refine the first 0, 1, ... n."""
        return None if self.seconds_per_tile is None else self.left * self.seconds_per_tile

    @cached_property
    def _falling(self) -> NDArray[np.float64]:
        return -self.scores.astype(np.float64)  # else each search would convert them

    def at(self, threshold: float) -> Forecast:
        """What refining the tiles that score above a threshold would cost and bring."""
        count = int(np.searchsorted(self._falling, -threshold, side="left"))
        left, seconds = int(self.left[count]), self.seconds_per_tile
        return Forecast(
            n_tiles=left,
            selected=count,
            fraction=count / max(1, len(self.scores)),
            estimated_seconds=None if seconds is None else left * seconds,
            expected_dice=float(self.dice[count]),
            expected_dice_before=float(self.dice[0]),
        )


@dataclass(frozen=True)
class Ranking:
    """All scored tiles, the highest score first; equal scores in reading order.

    Parameters
    ----------
    statistics : TileStatistics
        NaN scores are left out: tiles outside the tissue, or that could not be read.
    gain : float
        Share of the expected wrong pixels of a tile that refining it mends, in [0, 1]; measured
        when the model was made (card: ``refinement_gain``).
    """

    statistics: TileStatistics
    gain: float

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Flat tile indices, the highest score first."""
        flat = self.statistics.score.ravel()
        scored = np.flatnonzero(~np.isnan(flat))
        return scored[np.argsort(-flat[scored], kind="stable")]

    def select(
        self,
        selection: Selection,
        seconds_per_tile: float | None = None,
        region: NDArray[np.bool_] | None = None,
        refined: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.intp]:
        """List the tiles of a selection, in the order of refinement.

        Parameters
        ----------
        selection : Selection
        seconds_per_tile : float, optional
            Measured on this machine; only a time budget needs it.
        region : (rows, columns) bool array, optional
            Tiles that `selection.region` touches.
        refined : (rows, columns) bool array, optional
            Tiles that are refined already; only `n_tiles` needs it.

        Returns
        -------
        (n,) int array
            Flat tile indices.
        """
        order = self.order if region is None else self.order[region.ravel()[self.order]]
        if selection.threshold is not None:
            scores = self.statistics.score.ravel()[order]
            count = int(np.searchsorted(-scores, -selection.threshold, side="left"))
        elif selection.fraction is not None:
            count = math.floor(selection.fraction * len(order) + 0.5)
        elif selection.budget_s is not None:
            if seconds_per_tile is None:
                raise SelectionError("a time budget needs the model's speed; measure it first")
            count = math.floor(selection.budget_s / seconds_per_tile)
        elif selection.n_tiles is not None:
            if refined is not None:
                order = order[~refined.ravel()[order]]
            count = selection.n_tiles
        else:
            count = len(order)
        return order[:count]

    def expected_dice(self, refined: NDArray[np.bool_]) -> float:
        r"""Expected Dice of the result if `refined` tiles are refined.

        With calibrated probabilities, :math:`TP = \sum_{\hat y_i = 1} p_i`,
        :math:`FP = \sum_{\hat y_i = 1} (1 - p_i)` and :math:`FN = \sum_{\hat y_i = 0} p_i` are
        the expected counts; refining a tile mends a share :math:`g` (`gain`) of its expected
        false positives and false negatives. Dice is the ratio of the expectations,

        .. math:: \frac{2\,TP'}{2\,TP' + FP' + FN'},\quad
           TP' = TP + g\,FN_r,\ FP' = FP - g\,FP_r,\ FN' = FN - g\,FN_r,

        where :math:`r` sums over refined tiles only. It is an estimate of ours, first order in
        the counts' variances; several foreground classes are pooled.

        Parameters
        ----------
        refined : (rows, columns) bool array
            Tiles.

        Returns
        -------
        float
            In [0, 1]; 1 where no foreground is expected at all.
        """
        true_positives, false_negatives, wrong = self._expected
        mended = refined.ravel()
        kept = true_positives.sum() + self.gain * false_negatives.sum(where=mended)
        total = 2 * kept + wrong.sum() - self.gain * wrong.sum(where=mended)
        return float(2 * kept / total) if total > 0 else 1.0

    @cached_property
    def _expected(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Hits, false_negatives and all wrong pixels of each tile, flat; 0 where it has no score."""
        statistics = self.statistics
        true_positives, false_negatives, false_positives = (
            np.nan_to_num(part.ravel().astype(np.float64))
            for part in (
                statistics.true_positives,
                statistics.false_negatives,
                statistics.false_positives,
            )
        )
        return true_positives, false_negatives, false_negatives + false_positives

    def curve(self, refined: NDArray[np.bool_], seconds_per_tile: float | None) -> Curve:
        """Work out what every threshold would cost and bring.

        Parameters
        ----------
        refined : (rows, columns) bool array
            Tiles that are refined already.
        seconds_per_tile : float or None
            Measured on this machine.
        """
        order, statistics = self.order, self.statistics
        to_do = ~refined.ravel()[order]
        gain = np.where(to_do, self.gain, 0.0)
        false_negatives = statistics.false_negatives.ravel()[order]
        wrong = statistics.false_positives.ravel()[order] + false_negatives.astype(np.float64)
        # both stages' sums so far, then tile by tile what its refinement adds and takes
        kept = np.where(to_do, 0.0, self.gain)
        true_positives = (
            statistics.true_positives.ravel()[order].sum(dtype=np.float64)
            + (kept * false_negatives).sum()
        )
        errors = ((1 - kept) * wrong).sum()
        true_positives = true_positives + np.concatenate([[0.0], np.cumsum(gain * false_negatives)])
        errors = errors - np.concatenate([[0.0], np.cumsum(gain * wrong)])
        total = 2 * true_positives + errors
        dice = np.divide(2 * true_positives, total, out=np.ones_like(total), where=total > 0)
        return Curve(
            scores=statistics.score.ravel()[order],
            left=np.concatenate([[0], np.cumsum(to_do)]),
            dice=dice,
            seconds_per_tile=seconds_per_tile,
        )

    def plan(
        self,
        selection: Selection,
        selected: NDArray[np.intp],
        refined: NDArray[np.bool_],
        seconds_per_tile: float | None,
    ) -> Plan:
        """Describe a selection.

        Parameters
        ----------
        selection : Selection
            What was asked for.
        selected : (n,) int array
            Flat tile indices, in the order of refinement.
        refined : (rows, columns) bool array
            Tiles that are refined already.
        seconds_per_tile : float or None
            Measured on this machine.
        """
        left = selected[~refined.ravel()[selected]]
        after = refined.copy()
        after.reshape(-1)[left] = True
        return Plan(
            n_tiles=len(left),
            selected=len(selected),
            fraction=len(selected) / max(1, len(self.order)),
            estimated_seconds=None if seconds_per_tile is None else len(left) * seconds_per_tile,
            expected_dice=self.expected_dice(after),
            expected_dice_before=self.expected_dice(refined),
            tiles=Tiles(left, refined.shape[1]),
            selection=selection,
        )


def in_words(seconds: float) -> str:
    """A time as people say it.

    Examples
    --------
    >>> in_words(0.4), in_words(38.2), in_words(190), in_words(5400)
    ('1 s', '38 s', '3 min', '1.5 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5000 else f"{seconds / 3600:.1f} h"
