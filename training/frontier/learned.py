"""Learned tile selector: predicts how many pixels of a tile refinement would change.

A Poisson regression on stage 1's output for a tile, fitted on the images that a run held out:
neither stage was trained on them, so their errors are like those of new images.
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
"""Pixel count up to which features are about linear; beyond it they are logarithmic."""


def describe_tiles(logits: NDArray[np.floating], tile_px: int) -> NDArray[np.float64]:
    """Features of each tile, from stage 1's output.

    Parameters
    ----------
    logits : (K, H, W) float array
        Calibrated logits of stage 1 at the fine pixel size.
    tile_px : int
        Side of a tile.

    Returns
    -------
    (n, 7) float array
        Logarithms of pixel counts: total uncertainty, uncertainty above 0.2 and above 0.5,
        uncertainty in the foreground and in the background, label edges, foreground.
    """
    unsure, found = tent(probabilities(logits)), labels(logits)
    edge = np.zeros(found.shape, bool)
    edge[1:] |= found[1:] != found[:-1]
    edge[:, 1:] |= found[:, 1:] != found[:, :-1]
    inside = found > 0
    planes = (unsure, unsure > 0.2, unsure > 0.5, unsure * inside, unsure * ~inside, edge)
    sums = [_sum(plane, tile_px) for plane in (*planes, inside)]
    return np.log1p(np.stack(sums, axis=1) / SCALE * 16)


def _sum(plane: NDArray[np.generic], tile_px: int) -> NDArray[np.float64]:
    # integer sums are exact, and a thousandth of a pixel is precise enough
    return sum_tiles(np.rint(1000 * plane.astype(np.float64)), tile_px) / 1000


class ChangeModel:
    """Poisson regression of the number of pixels that refinement changes in a tile.

    Parameters
    ----------
    features : (n, f) float array
        Features of tiles.
    changed : (n,) array
        Pixels of each tile that refinement changed.
    """

    def __init__(self, features: NDArray[np.float64], changed: NDArray[np.generic]) -> None:
        self._mean = features.mean(axis=0)
        self._spread = features.std(axis=0) + 1e-6
        counts = changed.astype(np.float64)
        inputs = self._standardise(features)
        unit = max(1.0, counts.mean())  # otherwise the optimiser's step size does not fit

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
        """(n,) expected number of pixels that refinement changes."""
        log_rate = np.clip(self._standardise(features) @ self._weights, -30, 30)
        return np.asarray(self._unit * np.exp(log_rate))

    def _standardise(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        values = (features - self._mean) / self._spread
        return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def fit(
    features: Sequence[NDArray[np.float64]], changed: Sequence[NDArray[np.int64]]
) -> ChangeModel:
    """Fit a model to the tiles of several images."""
    return ChangeModel(np.concatenate(list(features)), np.concatenate(list(changed)))
