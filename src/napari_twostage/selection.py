"""Which tiles to refine: nested selections, and what each would cost and bring.

Every selection is a prefix of one ranking, the highest score first, so a lower threshold, a
larger fraction or a longer budget always holds all that a stricter one held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.tiling import Tile
    from napari_twostage.uncertainty import TileStatistics


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which tiles are wanted: those of a region, cut by at most one criterion.

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
    region: Box | None = None
    """Only tiles that touch this box of the fine grid; alone, all of them."""

    def __post_init__(self) -> None:
        given = {
            name: value
            for name in ("threshold", "fraction", "budget_s")
            if (value := getattr(self, name)) is not None
        }
        if len(given) > 1:
            raise SelectionError(f"give one of threshold, fraction, budget_s; found {given}")
        for name, value in given.items():
            highest = math.inf if name == "budget_s" else 2.0 if name == "threshold" else 1.0
            if not 0 <= value <= highest:
                raise SelectionError(f"{name} must lie in [0, {highest:g}]; found {value}")


NOTHING = Selection(fraction=0.0)
EVERYTHING = Selection(fraction=1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Tiles that would be refined, and what is expected of it; nothing is computed yet."""

    tiles: tuple[Tile, ...]
    """Not refined yet, in the order of refinement."""
    selected: int
    """Tiles of the selection, those refined before included."""
    fraction: float
    """`selected` over all scored tiles, in [0, 1]."""
    estimated_seconds: float
    """For `tiles`, from the throughput measured on this machine."""
    expected_dice: float
    """Of the whole result after this plan; see `Ranking.expected_dice`."""
    expected_dice_before: float
    """Of the result as it stands."""

    @property
    def n_tiles(self) -> int:
        """Tiles left to refine."""
        return len(self.tiles)


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
        seconds_per_tile: float,
        region: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.intp]:
        """List the tiles of a selection, in the order of refinement.

        Parameters
        ----------
        selection : Selection
        seconds_per_tile : float
            Measured on this machine; only a time budget needs it.
        region : (rows, columns) bool array, optional
            Tiles that `selection.region` touches.

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
            count = math.floor(selection.budget_s / seconds_per_tile)
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
        mended = np.where(refined, self.gain, 0.0)
        statistics = self.statistics
        hits = np.nansum(statistics.hits + mended * statistics.misses, dtype=np.float64)
        wrong = np.nansum(
            (1 - mended) * (statistics.false_alarms + statistics.misses), dtype=np.float64
        )
        total = 2 * hits + wrong
        return float(2 * hits / total) if total > 0 else 1.0

    def plan(
        self,
        selected: NDArray[np.intp],
        refined: NDArray[np.bool_],
        seconds_per_tile: float,
    ) -> Plan:
        """Describe a selection.

        Parameters
        ----------
        selected : (n,) int array
            Flat tile indices, in the order of refinement.
        refined : (rows, columns) bool array
            Tiles that are refined already.
        seconds_per_tile : float
            Measured on this machine.
        """
        left = selected[~refined.ravel()[selected]]
        after = refined.copy()
        after.ravel()[left] = True
        rows, columns = np.unravel_index(left, refined.shape)
        return Plan(
            tiles=tuple(zip(rows.tolist(), columns.tolist(), strict=True)),
            selected=len(selected),
            fraction=len(selected) / max(1, len(self.order)),
            estimated_seconds=len(left) * seconds_per_tile,
            expected_dice=self.expected_dice(after),
            expected_dice_before=self.expected_dice(refined),
        )
