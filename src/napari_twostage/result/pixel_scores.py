"""Uncertainty of coarse pixels, by the measure that a result was made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.method.uncertainty import GAIN, pixel_statistics, pixel_uncertainty

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.result.label_store import LabelStore


class PixelScores:
    """Uncertainty and expected counts of coarse pixels.

    Parameters
    ----------
    store : LabelStore
        Pixels of the result.
    measure : str
        Name of a measure; see `uncertainty.pixel_statistics`.
    """

    def __init__(self, store: LabelStore, measure: str) -> None:
        self._store = store
        self._measure = measure

    def of(
        self, logits: NDArray[np.float16], gain: NDArray[np.float16] | None
    ) -> NDArray[np.float32]:
        """`uncertainty.pixel_statistics` of what stage 1 gave: (4, height, width)."""
        return pixel_statistics(logits, self._measure, gain)

    def read(self, box: Box) -> NDArray[np.float32]:
        """The same of a box of the coarse grid, from the pixels as they are saved."""
        return self.of(self._store.read_logits(box), self._gain(box))

    def uncertainty(self, box: Box) -> NDArray[np.float32]:
        """The first of these alone: (height, width), without the work for the others."""
        return pixel_uncertainty(self._store.read_logits(box), self._measure, self._gain(box))

    def _gain(self, box: Box) -> NDArray[np.float16] | None:
        return self._store.read_gain(box) if self._measure == GAIN else None
