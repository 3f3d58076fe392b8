"""Whether probabilities mean what they say: the expected calibration error, and its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BINS = 15


class Reliability:
    """What was promised and what happened, pixel by pixel, in 15 bins of equal width.

    For one class against the background, what is promised is the foreground's probability and
    what happens is foreground. For more classes, it is the likeliest class's probability, and that
    class being the true one. Images are added one by one and none is kept.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017.

    Examples
    --------
    Of four pixels said to be foreground with 0.75, two are:

    >>> sure = np.full((1, 4), 0.75)
    >>> reliability = Reliability()
    >>> reliability.add(np.stack([1 - sure, sure]), np.array([[1, 1, 0, 0]]))
    >>> reliability.error
    0.25
    """

    def __init__(self) -> None:
        self.pixels = np.zeros(BINS, np.int64)
        """Pixels of each bin."""
        self._promised = np.zeros(BINS)
        self._happened = np.zeros(BINS)

    def add(self, probability: NDArray[np.floating], truth: NDArray[np.generic]) -> None:
        """Take in an image.

        Parameters
        ----------
        probability : (C, H, W) float array
            Class probabilities, the background first; every pixel sums to 1.
        truth : (H, W) integer array
            0 is the background, 1 to C - 1 are the classes.
        """
        if len(probability) == 2:
            promised, happened = probability[1], truth == 1
        else:
            promised, happened = probability.max(axis=0), probability.argmax(axis=0) == truth
        flat = promised.ravel().astype(np.float64)
        # 1 belongs to the last bin, which alone is closed on both sides
        place = np.minimum((flat * BINS).astype(np.intp), BINS - 1)
        self.pixels += np.bincount(place, minlength=BINS)
        self._promised += np.bincount(place, weights=flat, minlength=BINS)
        self._happened += np.bincount(place, weights=happened.ravel(), minlength=BINS)

    @property
    def promised(self) -> NDArray[np.float64]:
        """Mean probability of each bin; NaN for one without pixels."""
        return self._mean(self._promised)

    @property
    def happened(self) -> NDArray[np.float64]:
        """Share of each bin's pixels for which it came true; NaN for one without pixels."""
        return self._mean(self._happened)

    @property
    def error(self) -> float:
        """Expected calibration error: the bins' mean abs(promised − happened), by pixels."""
        return float(np.abs(self._promised - self._happened).sum() / self.pixels.sum())

    def _mean(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        unknown = np.full(BINS, np.nan)
        return np.asarray(np.divide(sums, self.pixels, out=unknown, where=self.pixels > 0))

    def plot(self, path: Path, title: str) -> None:
        """Draw what happened over what was promised, and the pixels of each bin, as a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4, 5), layout="constrained")
        FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color="0.7")
        upper.plot(self.promised, self.happened, "o-")
        upper.set(title=f"{title}: ECE {self.error:.3f}", ylabel="came true", ylim=(0, 1))
        edges = np.linspace(0, 1, BINS + 1)
        lower.bar(edges[:-1], self.pixels, width=1 / BINS, align="edge")
        lower.set(xlabel="probability", ylabel="pixels", xlim=(0, 1), yscale="log", ylim=(1, None))
        figure.savefig(path, dpi=100)
