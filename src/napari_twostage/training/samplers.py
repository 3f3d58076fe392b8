"""Which tiles of an image stage 2 is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEXT_TO_NOTHING = 1e-12
"""Weight of a tile without any uncertainty: drawn where there is no other."""


def choose_tiles(
    scores: NDArray[np.floating], selection: str, count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Choose different tiles of each image.

    Parameters
    ----------
    scores : (N, T) float array
        Mean uncertainty of each image's tiles, not negative.
    selection : str
        ``random``: all tiles alike; ``weighted``: each drawn with a probability proportional to
        its score among those that are left; ``highest``: those of the highest scores.
    count : int
        Tiles per image, at most T.
    rng : Generator

    Returns
    -------
    (N, count) int array
        Indices of tiles, in the order they were drawn.
    """
    if selection == "highest":
        return np.argsort(-scores, axis=1, kind="stable")[:, :count]
    rates = np.ones_like(scores) if selection == "random" else scores
    # of exponential clocks, one goes off first with a probability proportional to its rate
    clocks = rng.exponential(size=scores.shape) / np.maximum(rates, NEXT_TO_NOTHING)
    return np.argsort(clocks, axis=1)[:, :count]
