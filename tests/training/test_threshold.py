"""The default threshold holds on each of the data sets, not on their mean."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from napari_twostage.training.calibrate import choose_threshold
from napari_twostage.training.datasets import Sample

TRUTH = np.ones((4, 4), np.uint8)
FREE = SimpleNamespace(relative=lambda _outcomes, _threshold: 0.0)
"""A cost that any threshold can afford."""


@dataclass
class Image:
    """One tile, refined above a threshold: stage 1 misses half of it, stage 2 nothing."""

    source: str
    score: float
    classes: int = 1

    @property
    def sample(self) -> Sample:
        return Sample("s", np.zeros((4, 4, 3), np.uint8), TRUTH, source=self.source)

    def at(self, threshold: float) -> np.ndarray:
        half = TRUTH.copy()
        half[2:] = 0
        return TRUTH if self.score > threshold else half


def chosen(outcomes: list[Image]) -> float:
    return choose_threshold(outcomes, FREE)  # type: ignore[arg-type]


def test_a_small_set_counts_as_much_as_a_large_one() -> None:
    """A thousand images of one set need 0.4; the mean would forgive the one image of the other."""
    large = [Image("large", 0.4)] * 1000
    assert chosen(large) == pytest.approx(0.395)
    assert chosen([*large, Image("large", 0.1)]) == pytest.approx(0.395), "one in a thousand"
    assert chosen([*large, Image("small", 0.1)]) == pytest.approx(0.095)
