"""Ranking of tiles by score: selections are its prefixes, forecasts its cumulative sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.method.selection import Curve, Plan, interval_around
from napari_twostage.method.tiling import Tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.method.dice_predictor import DicePredictor
    from napari_twostage.method.selection import Selection
    from napari_twostage.method.uncertainty import TileStatistics


@dataclass(frozen=True)
class Ranking:
    """Order of all scored tiles, highest score first; equal scores row by row.

    Parameters
    ----------
    statistics : TileStatistics
        Results of stage 1. Tiles with a NaN score are left out: they are outside the tissue or
        could not be read.
    gain : float
        Share of a tile's expected wrong pixels that refinement corrects, in [0, 1]; measured when
        the model was made (card: ``refinement_gain``).
    no_dice : str
        Reason why no expected Dice is stated; empty if it is.
    predictor : DicePredictor, optional
        What true Dice follows from the expected one; None if that was not measured.
    """

    statistics: TileStatistics
    gain: float
    no_dice: str = ""
    predictor: DicePredictor | None = None

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Flat indices of the scored tiles, highest score first: (n,)."""
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
            Criteria to apply.
        seconds_per_tile : float, optional
            Seconds to refine one tile on this machine; needed for a time budget.
        region : (rows, columns) bool array, optional
            Mask of the tiles that ``selection.region`` touches.
        refined : (rows, columns) bool array, optional
            Mask of the tiles already refined; needed for `n_tiles`.

        Returns
        -------
        (n,) int array
            Flat tile indices.

        Raises
        ------
        SelectionError
            If a time budget comes without `seconds_per_tile`.
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
        r"""Expected Dice of the result if the tiles in `refined` are refined.

        With calibrated probabilities, :math:`TP = \sum_{\hat y_i = 1} p_i`,
        :math:`FP = \sum_{\hat y_i = 1} (1 - p_i)` and :math:`FN = \sum_{\hat y_i = 0} p_i` are
        the expected counts. Refining a tile corrects a share :math:`g` (`gain`) of its expected
        false positives and false negatives. The estimate is the ratio of the expectations,

        .. math:: \frac{2\,TP'}{2\,TP' + FP' + FN'},\quad
           TP' = TP + g\,FN_r,\ FP' = FP - g\,FP_r,\ FN' = FN - g\,FN_r,

        where :math:`r` sums over refined tiles only. It neglects the variances of the counts (our
        own derivation, to first order) and pools all foreground classes. A `predictor` then
        corrects it by what was measured on images with a known truth.

        Parameters
        ----------
        refined : (rows, columns) bool array
            Mask of the tiles assumed to be refined.

        Returns
        -------
        float
            Dice in [0, 1]; 1 if no foreground is expected at all.
        """
        true_positives, false_negatives, errors = self._expected
        corrected = refined.ravel()
        right = true_positives.sum() + self.gain * false_negatives.sum(where=corrected)
        total = 2 * right + errors.sum() - self.gain * errors.sum(where=corrected)
        return float(self._predicted(2 * right / total if total > 0 else 1.0))

    def _predicted(self, expected: NDArray[np.float64] | float) -> NDArray[np.float64] | float:
        return expected if self.predictor is None else self.predictor.predict(expected)

    @cached_property
    def _expected(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """True positives, false negatives and all errors of each tile, flat; 0 without a score."""
        known = self.statistics
        true_positives, false_negatives, false_positives = (
            np.nan_to_num(part.ravel().astype(np.float64))
            for part in (known.true_positives, known.false_negatives, known.false_positives)
        )
        return true_positives, false_negatives, false_negatives + false_positives

    def curve(self, refined: NDArray[np.bool_], seconds_per_tile: float | None) -> Curve:
        """Forecast every threshold at once.

        Parameters
        ----------
        refined : (rows, columns) bool array
            Mask of the tiles already refined.
        seconds_per_tile : float or None
            Seconds to refine one tile, measured on this machine.
        """
        order, statistics = self.order, self.statistics
        to_do = ~refined.ravel()[order]
        missed = statistics.false_negatives.ravel()[order]
        wrong = statistics.false_positives.ravel()[order] + missed.astype(np.float64)
        # Expected counts of the result as it is now.
        corrected = np.where(to_do, 0.0, self.gain)
        right = statistics.true_positives.ravel()[order].sum(dtype=np.float64)
        right += (corrected * missed).sum()
        errors = ((1 - corrected) * wrong).sum()
        # Then tile by tile what its refinement adds to the first and takes from the second.
        gain = np.where(to_do, self.gain, 0.0)
        right_after = right + np.concatenate([[0.0], np.cumsum(gain * missed)])
        errors_after = errors - np.concatenate([[0.0], np.cumsum(gain * wrong)])
        total = 2 * right_after + errors_after
        dice = np.divide(2 * right_after, total, out=np.ones_like(total), where=total > 0)
        return Curve(
            scores=statistics.score.ravel()[order],
            left=np.concatenate([[0], np.cumsum(to_do)]),
            dice=np.full_like(dice, np.nan) if self.no_dice else np.asarray(self._predicted(dice)),
            seconds_per_tile=seconds_per_tile,
            no_dice=self.no_dice,
            predictor=self.predictor,
        )

    def plan(
        self,
        selection: Selection,
        selected: NDArray[np.intp],
        refined: NDArray[np.bool_],
        seconds_per_tile: float | None,
    ) -> Plan:
        """Make the plan of a selection, with its forecast.

        Parameters
        ----------
        selection : Selection
            Criteria, for the record.
        selected : (n,) int array
            Flat tile indices, in the order of refinement; see `select`.
        refined : (rows, columns) bool array
            Mask of the tiles already refined.
        seconds_per_tile : float or None
            Seconds to refine one tile, measured on this machine.
        """
        left = selected[~refined.ravel()[selected]]
        after = refined.copy()
        after.reshape(-1)[left] = True
        dice = None if self.no_dice else self.expected_dice(after)
        return Plan(
            n_tiles=len(left),
            selected=len(selected),
            # tiles without a score may be among them
            fraction=min(1.0, len(selected) / max(1, len(self.order))),
            estimated_seconds=None if seconds_per_tile is None else len(left) * seconds_per_tile,
            expected_dice=dice,
            expected_dice_before=None if self.no_dice else self.expected_dice(refined),
            no_dice=self.no_dice,
            dice_interval=interval_around(dice, self.predictor),
            tiles=Tiles(left, refined.shape[1]),
            selection=selection,
        )
