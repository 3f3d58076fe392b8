"""From logits to probabilities, from probabilities to uncertainty, from pixels to tiles.

Logits come as (K, H, W): K = 1 for a single class against the background, else one a class with
the background first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax, xlogy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

Measure = Callable[["NDArray[np.floating]"], "NDArray[np.float32]"]

_INFINITY = int(np.array(np.inf, np.float16).view(np.int16))
"""Of float16 as an integer; what is above it is no number."""


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Class probabilities, the background first.

    Parameters
    ----------
    logits : (K, H, W) float array

    Returns
    -------
    (C, H, W) float32 array
        C is 2 for K = 1, else K; every pixel sums to 1.
    """
    values = logits.astype(np.float32)
    if len(values) > 1:
        return np.asarray(softmax(values, axis=0), dtype=np.float32)
    probability = np.empty((2, *values.shape[1:]), np.float32)
    with np.errstate(over="ignore"):  # 1 / infinity is the right answer
        np.exp(values[0], out=probability[0])  # three times as fast as SciPy's expit
        np.exp(-values[0], out=probability[1])
    probability += 1
    return np.divide(1, probability, out=probability)


def labels(logits: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The likeliest class of each pixel: (K, H, W) logits to (H, W) with 0 for the background."""
    if len(logits) > 1:
        return np.asarray(logits.argmax(axis=0), np.uint8)
    if logits.dtype == np.float16:  # which numpy compares one by one; as integers they sort alike
        bits = logits[0].view(np.int16)
        return np.asarray((bits > 0) & (bits <= _INFINITY), np.uint8)
    return np.asarray(logits[0] > 0, np.uint8)


def tent(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Tent: 2·(1 − max p), which for two classes is 1 − 2·abs(p − 0.5).

    Parameters
    ----------
    probability : (C, H, W) float array
        Class probabilities; every pixel sums to 1.

    Returns
    -------
    (H, W) float32 array
        In [0, 1] for two classes; more classes can reach 2 − 2 / C.

    Examples
    --------
    >>> tent(np.array([[[0.5, 0.9]], [[0.5, 0.1]]])).round(2)
    array([[1. , 0.2]], dtype=float32)
    """
    return np.asarray(2 * (1 - probability.max(axis=0)), dtype=np.float32)


def entropy(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shannon entropy of each pixel in bits, divided by log2 C: in [0, 1].

    Parameters
    ----------
    probability : (C, H, W) float array
        Class probabilities; every pixel sums to 1.

    Examples
    --------
    >>> entropy(np.array([[[0.5, 0.9]], [[0.5, 0.1]]])).round(2)
    array([[1.  , 0.47]], dtype=float32)
    """
    # xlogy: p log p tends to 0 with p, so zeros need no epsilon, which would bias the rest
    nats = -xlogy(probability, probability).sum(axis=0)
    return np.asarray(nats / np.log(len(probability)), dtype=np.float32)


def neg_plogp(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """−p·log2 p of the foreground, as the text of Cruz et al. (Sensors 2023) has it.

    Kept to reproduce the paper: its maximum is 0.531, at p = 1 / e, not 1 at p = 0.5.

    Parameters
    ----------
    probability : (C, H, W) float array
        Class probabilities, the background first; every pixel sums to 1.

    Examples
    --------
    >>> neg_plogp(np.array([[[0.5, 0.9]], [[0.5, 0.1]]])).round(2)
    array([[0.5 , 0.33]], dtype=float32)
    """
    foreground = 1 - probability[0]
    return np.asarray(-xlogy(foreground, foreground) / np.log(2), dtype=np.float32)


MEASURES: dict[str, Measure] = {"tent": tent, "entropy": entropy, "neg_plogp": neg_plogp}
"""Uncertainty measures by the name that cards and commands use."""

WRONG_SHARES = {"tent": 0.5}
"""Of measures whose mean states the share of pixels expected wrong, by what factor it does."""


def expected_wrong_px(measure: str, score: float, tile_px: int) -> float | None:
    """How many pixels of a tile a score expects to be wrong.

    With calibrated probabilities, a pixel is wrong with probability 1 − max p, which is half its
    tent; other measures do not state it.

    Parameters
    ----------
    measure : str
        One of `MEASURES`.
    score : float
        Mean of the measure over the tile.
    tile_px : int
        Side of the tile in fine pixels.

    Returns
    -------
    float or None
        Fine pixels; None where the measure does not say.

    Examples
    --------
    >>> expected_wrong_px("tent", 0.1, 100), expected_wrong_px("entropy", 0.1, 100)
    (500.0, None)
    """
    share = WRONG_SHARES.get(measure)
    return None if share is None else share * score * tile_px**2


@dataclass(frozen=True, slots=True)
class TileStatistics:
    """What stage 1 says of each tile; arrays of (rows, columns) of tiles, float32.

    The expectations are in coarse pixels and come from calibrated probabilities: of the pixels
    labelled foreground, how many are expected right (`true_positives`) and wrong (`false_positives`), and
    how much foreground is expected outside them (`false_negatives`).
    """

    score: NDArray[np.float32]
    true_positives: NDArray[np.float32]
    false_positives: NDArray[np.float32]
    false_negatives: NDArray[np.float32]

    @classmethod
    def empty(cls, shape: Shape) -> TileStatistics:
        """Nothing known yet: all NaN."""
        return cls(*(np.full(shape, np.nan, np.float32) for _ in range(4)))

    def put(self, part: TileStatistics, row: int, column: int) -> None:
        """Take over what is known of a field of tiles that starts at (row, column)."""
        rows, columns = part.score.shape
        place = slice(row, row + rows), slice(column, column + columns)
        for name in ("score", "true_positives", "false_positives", "false_negatives"):
            getattr(self, name)[place] = getattr(part, name)


def tile_statistics(logits: NDArray[np.floating], tile: int, measure: Measure) -> TileStatistics:
    """Summarise a field of whole tiles.

    Parameters
    ----------
    logits : (K, H, W) float array
        Starts at a tile's corner; a last row or column of tiles may be cut by the slide's edge.
        NaN where nothing is known, which makes the tile's statistics NaN.
    tile : int
        Side of a tile in pixels of `logits`.
    measure : callable
        One of `MEASURES`.

    Returns
    -------
    TileStatistics
        Scores are means over the pixels that exist.
    """
    return summarise_tiles(pixel_statistics(logits, measure), tile)


def pixel_statistics(logits: NDArray[np.floating], measure: Measure) -> NDArray[np.float32]:
    """Say of each pixel what `summarise_tiles` adds up.

    Parameters
    ----------
    logits : (K, H, W) float array
    measure : callable
        One of `MEASURES`.

    Returns
    -------
    (4, H, W) float32 array
        What the measure says; then how likely the pixel is a hit, a false alarm and a miss, as in
        `TileStatistics`.
    """
    if len(logits) == 1 and logits.dtype == np.float16:
        bits = logits[0].view(np.uint16)
        return np.asarray(_of_halves(measure).take(bits, axis=1, mode="clip"))
    probability = probabilities(logits)
    foreground = labels(logits) > 0
    true_positives = foreground * probability.max(axis=0)  # NaN stays NaN
    false_negatives = 1 - probability[0] - true_positives
    # of a pixel labelled foreground, mass on other foreground classes is a false alarm as well
    if len(probability) == 2:
        false_negatives *= ~foreground
    return np.stack(
        [measure(probability), true_positives, foreground - true_positives, false_negatives],
        dtype=np.float32,
    )


@cache
def _of_halves(measure: Measure) -> NDArray[np.float32]:
    """(4, 65536): of all float16 numbers, by their bits; looking up takes a quarter of the time."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(invalid="ignore"):  # of what is no number
        return pixel_statistics(halves[None, None], measure)[:, 0]


def summarise_tiles(pixels: NDArray[np.float32], tile: int) -> TileStatistics:
    """Add up what is known of a field's pixels; see `tile_statistics`.

    Parameters
    ----------
    pixels : (4, H, W) float32 array
        From `pixel_statistics`.
    tile : int
        Side of a tile.
    """
    doubt, true_positives, false_positives, false_negatives = block_sums(pixels, tile)
    return TileStatistics(
        score=doubt / block_areas(pixels.shape[1:], tile),
        true_positives=true_positives,
        false_positives=false_positives,
        false_negatives=false_negatives,
    )


def block_sums(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Sums over squares of a (..., H, W) array; the last of a row or column may be cut."""
    height, width = values.shape[-2:]
    below, right = -height % side, -width % side
    if below or right:
        values = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, below), (0, right)])
    *planes, height, width = values.shape
    # bands first: four times as fast as `np.add.reduceat`
    bands = values.reshape(*planes, height // side, side, width).sum(axis=-2)
    sums: NDArray[np.float32] = bands.reshape(*bands.shape[:-1], width // side, side).sum(axis=-1)
    return sums


@lru_cache(maxsize=64)
def block_areas(shape: tuple[int, ...], side: int) -> NDArray[np.float32]:
    """Pixels of the squares of `block_sums`; windows come in a few shapes."""
    rows, columns = (np.diff(np.arange(0, length, side), append=length) for length in shape)
    areas = np.outer(rows, columns).astype(np.float32)
    areas.flags.writeable = False
    return areas
