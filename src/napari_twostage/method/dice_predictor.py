"""Prediction of a slide's true Dice from the one that stage 1's probabilities give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.method.features import logit
from napari_twostage.models.training_domain import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.training_domain import DiceRule


@dataclass(frozen=True, slots=True)
class DicePredictor:
    """Prediction of a slide's true Dice from the one that stage 1's probabilities give.

    Its logit is ``offset + slope * logit(expected)``; errors are added to it.
    """

    offset: float
    slope: float
    errors: tuple[float, float]

    @classmethod
    def of(cls, rule: DiceRule, features: Sequence[float]) -> Self:
        """Predictor for a slide of these `FEATURES`."""
        others = zip(rule.weights[1:], features[CONFIDENCE][1:], strict=True)
        offset = rule.intercept + sum(weight * value for weight, value in others)
        return cls(offset, rule.weights[0], rule.errors)

    def predict(self, expected: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Dice in (0, 1) that follows from expected ones; the shape is kept."""
        return _share(self.offset + self.slope * logit(expected))

    def interval(self, predicted: float) -> tuple[float, float]:
        """Lower and upper end of a Dice that `predict` gave, with the rule's coverage."""
        middle = float(logit(predicted))
        low, high = (float(_share(middle + error)) for error in self.errors)
        return low, high


def _share(odds: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))))
