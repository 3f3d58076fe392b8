"""A selector that is learned: it predicts how many pixels of a tile refinement would change.

A Poisson regression on what stage 1 says of a tile, fitted on the images that a run held out:
neither stage has been trained on them, so their errors are those of new images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from napari_twostage.method.uncertainty import labels, probabilities, tent
from training.frontier.tallies import sum_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RIDGE = 1e-3
"""Penalty on squared weights of standardised features, per tile."""
SCALE = 256.0
"""Pixels are counted up to it in proportion, and beyond by their logarithm."""


def describe_tiles(logits: NDArray[np.floating], tile_px: int) -> NDArray[np.float64]:
    """Describe each tile by what stage 1 says of it.

    Parameters
    ----------
    logits : (K, H, W) float array
        Calibrated, of stage 1, at the fine pixel size.
    tile_px : int
        Side of a tile.

    Returns
    -------
    (n, 7) float array
        Logarithms of the pixels: unsure altogether, those more than 0.2 and 0.5 unsure, unsure in
        the foreground and in the background, on an edge of the labels, in the foreground.
    """
    doubt, found = tent(probabilities(logits)), labels(logits)
    edge = np.zeros(found.shape, bool)
    edge[1:] |= found[1:] != found[:-1]
    edge[:, 1:] |= found[:, 1:] != found[:, :-1]
    planes = (doubt, doubt > 0.2, doubt > 0.5, doubt * (found > 0), doubt * (found == 0), edge)
    sums = [_sum(plane, tile_px) for plane in (*planes, found > 0)]
    return np.log1p(np.stack(sums, axis=1) / SCALE * 16)


def _sum(plane: NDArray[np.generic], tile_px: int) -> NDArray[np.float64]:
    # sums of integers are exact, and a thousandth of a pixel is enough
    return sum_tiles(np.rint(1000 * plane.astype(np.float64)), tile_px) / 1000


class ChangeModel:
    """Predicts the pixels of a tile that refinement changes.

    Parameters
    ----------
    features : (n, f) float array
        Of tiles.
    changed : (n,) array
        Pixels of them that refinement changed.
    """

    def __init__(self, features: NDArray[np.float64], changed: NDArray[np.generic]) -> None:
        self._mean = features.mean(axis=0)
        self._spread = features.std(axis=0) + 1e-6
        counts = changed.astype(np.float64)
        inputs = self._standardise(features)
        unit = max(1.0, counts.mean())  # else steps of the optimiser are of the wrong size

        def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            log_rate = np.clip(inputs @ weights, -30, 30)
            rate = np.exp(log_rate)
            penalty = RIDGE * weights[1:]
            gradient = inputs.T @ (rate - counts / unit) / len(counts)
            gradient[1:] += 2 * penalty
            value = float(np.mean(rate - counts / unit * log_rate) + penalty @ weights[1:])
            return value, gradient

        start = np.zeros(inputs.shape[1])
        self._weights = minimize(loss, start, jac=True, method="L-BFGS-B").x
        self._unit = unit

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) pixels that refinement is expected to change."""
        log_rate = np.clip(self._standardise(features) @ self._weights, -30, 30)
        return np.asarray(self._unit * np.exp(log_rate))

    def _standardise(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        values = (features - self._mean) / self._spread
        return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def fit(
    features: Sequence[NDArray[np.float64]], changed: Sequence[NDArray[np.int64]]
) -> ChangeModel:
    """Fit to the tiles of several images."""
    return ChangeModel(np.concatenate(list(features)), np.concatenate(list(changed)))
