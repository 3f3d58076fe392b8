"""Probabilities, uncertainty of pixels, and statistics of tiles, all from logits.

Logits are (K, H, W). K is 1 for a single class against the background; otherwise there is one
channel per class, the background first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import softmax, xlogy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

Measure = Callable[["NDArray[np.floating]"], "NDArray[np.float32]"]
"""Uncertainty measure: class probabilities (C, H, W) to uncertainty (H, W)."""

_INFINITY = int(np.array(np.inf, np.float16).view(np.int16))
"""Bit pattern of float16 +inf; larger positive patterns are NaN."""


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Class probabilities, the background first.

    Parameters
    ----------
    logits : (K, H, W) float array

    Returns
    -------
    (C, H, W) float32 array
        Probabilities in [0, 1]; every pixel sums to 1. C is 2 for K = 1, otherwise K.
    """
    values = logits.astype(np.float32)
    if len(values) > 1:
        return np.asarray(softmax(values, axis=0), dtype=np.float32)
    probability = np.empty((2, *values.shape[1:]), np.float32)
    with np.errstate(over="ignore"):  # 1 / infinity gives the correct 0
        np.exp(values[0], out=probability[0])  # three times as fast as SciPy's expit
        np.exp(-values[0], out=probability[1])
    probability += 1
    return np.divide(1, probability, out=probability)


def labels(logits: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Most likely class of each pixel: (K, H, W) logits to (H, W) uint8, 0 for the background."""
    if len(logits) > 1:
        return np.asarray(logits.argmax(axis=0), np.uint8)
    if logits.dtype == np.float16:  # numpy compares float16 slowly; their bits order alike
        bits = logits[0].view(np.int16)
        return np.asarray((bits > 0) & (bits <= _INFINITY), np.uint8)
    return np.asarray(logits[0] > 0, np.uint8)


def tent(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Tent function of each pixel, 2·(1 − max p); for two classes 1 − 2·abs(p − 0.5).

    Parameters
    ----------
    probability : (C, H, W) float array
        Class probabilities; every pixel sums to 1.

    Returns
    -------
    (H, W) float32 array
        Uncertainty in [0, 1] for two classes, in [0, 2 − 2 / C] for C classes.

    Examples
    --------
    >>> tent(np.array([[[0.5, 0.9]], [[0.5, 0.1]]])).round(2)
    array([[1. , 0.2]], dtype=float32)
    """
    return np.asarray(2 * (1 - probability.max(axis=0)), dtype=np.float32)


def entropy(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shannon entropy of each pixel, scaled to [0, 1] by the logarithm of C.

    Parameters
    ----------
    probability : (C, H, W) float array
        Class probabilities; every pixel sums to 1.

    Returns
    -------
    (H, W) float32 array
        Uncertainty in [0, 1].

    Examples
    --------
    >>> entropy(np.array([[[0.5, 0.9]], [[0.5, 0.1]]])).round(2)
    array([[1.  , 0.47]], dtype=float32)
    """
    # xlogy(0, 0) is 0, the limit of p log p: no epsilon is needed, which would bias the rest.
    nats = -xlogy(probability, probability).sum(axis=0)
    return np.asarray(nats / np.log(len(probability)), dtype=np.float32)


def neg_plogp(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Foreground term −p·log2 p of each pixel, as printed in Cruz et al. (Sensors 2023).

    Kept to reproduce the paper. Its maximum is 0.531 at p = 1 / e, not 1 at p = 0.5.

    Parameters
    ----------
    probability : (C, H, W) float array
        Class probabilities, the background first; every pixel sums to 1.

    Returns
    -------
    (H, W) float32 array
        Uncertainty in [0, 0.531].

    Examples
    --------
    >>> neg_plogp(np.array([[[0.5, 0.9]], [[0.5, 0.1]]])).round(2)
    array([[0.5 , 0.33]], dtype=float32)
    """
    foreground = 1 - probability[0]
    return np.asarray(-xlogy(foreground, foreground) / np.log(2), dtype=np.float32)


MEASURES: dict[str, Measure] = {"tent": tent, "entropy": entropy, "neg_plogp": neg_plogp}
"""Uncertainty measures by their name in model cards and commands."""
GAIN: Final = "gain"
"""Name, beside those of `MEASURES`, of the probability that refinement corrects a pixel: an output
of stage 1, if the model has it."""

ERROR_RATES = {"tent": 0.5, GAIN: 1.0}
"""Measure to the factor from a tile's mean score to its expected error rate: of all errors, or of
those that refinement corrects."""


def expected_wrong_px(measure: str, score: float, tile_px: int) -> float | None:
    """Expected number of wrong pixels in a tile, from its score.

    With calibrated probabilities a pixel is wrong with probability 1 − max p, half its tent. The
    gain is the probability that it is wrong and that refinement corrects it. Other measures do not
    determine it.

    Parameters
    ----------
    measure : str
        Name from `MEASURES`, or `GAIN`.
    score : float
        Mean of the measure over the tile.
    tile_px : int
        Side of the tile, in fine pixels.

    Returns
    -------
    float or None
        Number of fine pixels; None if the measure is not in `ERROR_RATES`.

    Examples
    --------
    >>> expected_wrong_px("tent", 0.1, 100), expected_wrong_px("entropy", 0.1, 100)
    (500.0, None)
    """
    rate = ERROR_RATES.get(measure)
    return None if rate is None else rate * score * tile_px**2


@dataclass(frozen=True, slots=True)
class TileStatistics:
    """Results of stage 1 for each tile; all arrays are (rows, columns) of tiles, float32.

    Counts are expectations under the calibrated probabilities, in coarse pixels.
    """

    score: NDArray[np.float32]
    """Mean uncertainty of the tile; NaN if unknown."""
    true_positives: NDArray[np.float32]
    """Pixels labelled foreground and expected to be right."""
    false_positives: NDArray[np.float32]
    """Pixels labelled foreground and expected to be wrong."""
    false_negatives: NDArray[np.float32]
    """Foreground pixels expected among those labelled otherwise."""

    @classmethod
    def empty(cls, shape: Shape) -> TileStatistics:
        """Statistics of tiles not processed yet: all NaN."""
        return cls(*(np.full(shape, np.nan, np.float32) for _ in range(4)))

    def put(self, part: TileStatistics, row: int, column: int) -> None:
        """Copy in the statistics of a block of tiles whose first one is (row, column)."""
        rows, columns = part.score.shape
        block = slice(row, row + rows), slice(column, column + columns)
        for field in fields(self):
            getattr(self, field.name)[block] = getattr(part, field.name)


def tile_statistics(
    logits: NDArray[np.floating],
    tile: int,
    measure: str,
    gain: NDArray[np.floating] | None = None,
) -> TileStatistics:
    """Summarise a block of whole tiles.

    Parameters
    ----------
    logits : (K, H, W) float array
        Logits from a tile's corner on; the slide's edge may cut the last row or column of tiles.
        NaN where unknown, which makes the statistics of the tile NaN.
    tile : int
        Side of a tile, in pixels of `logits`.
    measure, gain
        As for `pixel_statistics`.

    Returns
    -------
    TileStatistics
        Scores are means over the pixels inside the slide.
    """
    return summarise_tiles(pixel_statistics(logits, measure, gain), tile)


def pixel_uncertainty(
    logits: NDArray[np.floating], measure: str, gain: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Uncertainty (H, W) of each pixel; parameters and errors as for `pixel_statistics`."""
    if measure != GAIN:
        return MEASURES[measure](probabilities(logits))
    if gain is None:
        raise ValueError("the measure is the gain, and none is given")
    known = np.where(np.isnan(logits[0]), np.nan, gain)
    return np.asarray(probabilities(known[None])[1])


def pixel_statistics(
    logits: NDArray[np.floating], measure: str, gain: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Uncertainty and expected counts of each pixel, as `summarise_tiles` sums them.

    Parameters
    ----------
    logits : (K, H, W) float array
    measure : str
        Name from `MEASURES`, or `GAIN`.
    gain : (H, W) float array, optional
        Logits of the gain, which `GAIN` needs.

    Raises
    ------
    ValueError
        If the measure is `GAIN` and no gain is given.
    measure : callable
        Value from `MEASURES`.

    Returns
    -------
    (4, H, W) float32 array
        Uncertainty, then the probability of a true positive, a false positive and a false
        negative, as in `TileStatistics`.
    """
    if measure == GAIN:
        pixels = pixel_statistics(logits, "tent")
        pixels[0] = pixel_uncertainty(logits, GAIN, gain)
        return pixels
    if len(logits) == 1 and logits.dtype == np.float16:
        bits = logits[0].view(np.uint16)
        return np.asarray(_float16_statistics(measure).take(bits, axis=1, mode="clip"))
    probability = probabilities(logits)
    foreground = labels(logits) > 0
    true_positive = foreground * probability.max(axis=0)  # NaN stays NaN
    false_negative = 1 - probability[0] - true_positive
    # A foreground pixel of the wrong class is both a false positive and a false negative.
    if len(probability) == 2:
        false_negative *= ~foreground
    doubt = MEASURES[measure](probability)
    parts = doubt, true_positive, foreground - true_positive, false_negative
    return np.stack(parts, dtype=np.float32)


@cache
def _float16_statistics(measure: str) -> NDArray[np.float32]:
    """Statistics of every float16 logit, indexed by its bits: (4, 65536).

    Looking values up takes a quarter of the time of computing them.
    """
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(invalid="ignore"):  # some of the bit patterns are NaN
        return pixel_statistics(halves[None, None], measure)[:, 0]


def summarise_tiles(pixels: NDArray[np.float32], tile: int) -> TileStatistics:
    """Sum the statistics of pixels over tiles; see `tile_statistics`.

    Parameters
    ----------
    pixels : (4, H, W) float32 array
        Output of `pixel_statistics`.
    tile : int
        Side of a tile, in pixels.
    """
    uncertainty, true_positives, false_positives, false_negatives = block_sums(pixels, tile)
    return TileStatistics(
        score=uncertainty / block_areas(pixels.shape[1:], tile),
        true_positives=true_positives,
        false_positives=false_positives,
        false_negatives=false_negatives,
    )


def block_sums(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Sums over squares of a (..., H, W) array; the edge may cut the last row or column.

    Parameters
    ----------
    values : (..., H, W) float32 array
    side : int
        Side of a square, in pixels.

    Returns
    -------
    (..., ⌈H / side⌉, ⌈W / side⌉) float32 array
    """
    height, width = values.shape[-2:]
    below, right = -height % side, -width % side
    if below or right:
        values = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, below), (0, right)])
    *planes, height, width = values.shape
    # Rows first, then columns: four times as fast as `np.add.reduceat`.
    bands = values.reshape(*planes, height // side, side, width).sum(axis=-2)
    sums: NDArray[np.float32] = bands.reshape(*bands.shape[:-1], width // side, side).sum(axis=-1)
    return sums


@lru_cache(maxsize=64)
def block_areas(shape: tuple[int, ...], side: int) -> NDArray[np.float32]:
    """Number of pixels in each square of `block_sums`; cached, since windows have few shapes."""
    rows, columns = (np.diff(np.arange(0, length, side), append=length) for length in shape)
    areas = np.outer(rows, columns).astype(np.float32)
    areas.flags.writeable = False
    return areas
