"""Calibration of probabilities: expected calibration error and reliability diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BINS = 15


class Reliability:
    """Predicted probability and observed frequency over all pixels, in 15 bins of equal width.

    For one class against the background, the foreground's probability is compared with the
    frequency of foreground. For more classes, the probability of the likeliest class is compared
    with the frequency at which it is the true one. Images are added one by one and not kept.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017.

    Examples
    --------
    Two of four pixels with a foreground probability of 0.75 are foreground:

    >>> sure = np.full((1, 4), 0.75)
    >>> reliability = Reliability()
    >>> reliability.add(np.stack([1 - sure, sure]), np.array([[1, 1, 0, 0]]))
    >>> reliability.error
    0.25
    """

    def __init__(self) -> None:
        self.pixels = np.zeros(BINS, np.int64)
        """(bins,) number of pixels."""
        self._predicted = np.zeros(BINS)
        self._observed = np.zeros(BINS)

    def add(self, probability: NDArray[np.floating], truth: NDArray[np.generic]) -> None:
        """Add an image.

        Parameters
        ----------
        probability : (C, H, W) float array
            Class probabilities, the background first; every pixel sums to 1.
        truth : (H, W) integer array
            0 is the background, 1 to C - 1 are the classes.
        """
        if len(probability) == 2:
            predicted, observed = probability[1], truth == 1
        else:
            predicted, observed = probability.max(axis=0), probability.argmax(axis=0) == truth
        flat = predicted.ravel().astype(np.float64)
        # 1 belongs to the last bin, which alone is closed on both sides
        place = np.minimum((flat * BINS).astype(np.intp), BINS - 1)
        self.pixels += np.bincount(place, minlength=BINS)
        self._predicted += np.bincount(place, weights=flat, minlength=BINS)
        self._observed += np.bincount(place, weights=observed.ravel(), minlength=BINS)

    @property
    def predicted(self) -> NDArray[np.float64]:
        """(bins,) mean predicted probability; NaN for bins without pixels."""
        return self._mean(self._predicted)

    @property
    def observed(self) -> NDArray[np.float64]:
        """(bins,) observed frequency; NaN for bins without pixels."""
        return self._mean(self._observed)

    @property
    def error(self) -> float:
        """Expected calibration error: mean abs(predicted − observed) over bins, by pixels."""
        return float(np.abs(self._predicted - self._observed).sum() / self.pixels.sum())

    def _mean(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        unknown = np.full(BINS, np.nan)
        return np.asarray(np.divide(sums, self.pixels, out=unknown, where=self.pixels > 0))

    def plot(self, path: Path, title: str) -> None:
        """Draw observed over predicted probability, and the pixels of each bin, as a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4, 5), layout="constrained")
        FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color="0.7")
        upper.plot(self.predicted, self.observed, "o-")
        upper.set(title=f"{title}: ECE {self.error:.3f}", ylabel="observed frequency", ylim=(0, 1))
        edges = np.linspace(0, 1, BINS + 1)
        lower.bar(edges[:-1], self.pixels, width=1 / BINS, align="edge")
        lower.set(xlabel="probability", ylabel="pixels", xlim=(0, 1), yscale="log", ylim=(1, None))
        figure.savefig(path, dpi=100)
