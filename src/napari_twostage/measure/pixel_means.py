"""Means of a slide's pixels and of the uncertainty over objects.

They are read when objects are exported, not while a run goes on: refinement and edits change
objects again and again, most results are never exported, and then nothing has to be decoded twice.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError, TwoStageError
from napari_twostage.measure.object_columns import Column
from napari_twostage.measure.stains import STAINS, UNIT, density_tables, white_of
from napari_twostage.slides.view import on_white, to_8_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.measure.runs import Runs
    from napari_twostage.result.result import Result
    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.view import View

    Values = NDArray[np.float64]

log = logging.getLogger(__name__)

UNCERTAINTY = Column("uncertainty_mean", ".4f", "Uncertainty: Mean")
_IN_QUPATH = {"haematoxylin": "Hematoxylin", "eosin": "Eosin"}
"""Names of stains as QuPath spells them."""
_COLOURS = ("red", "green", "blue")


def unread_slide(result: Result) -> str:
    """Reason why the slide of a result cannot be read; empty if it can."""
    try:
        result.view(result.grid)
    except TwoStageError as error:
        return str(error)
    return ""


class PixelMeans:
    """Columns of means, and the sums that they are made of.

    Parameters
    ----------
    result : Result
        Result to measure. If its slide is gone, or another one, only the uncertainty is measured.
    slide : bool
        Whether the slide is measured, too.
    """

    def __init__(self, result: Result, *, slide: bool = True) -> None:
        self._result = result
        self.missing = ""
        """Reason why the slide is not measured; empty if it is."""
        self._view: View | None = None
        self._densities: NDArray[np.int64] | None = None
        channels: list[Column] = []
        stains: list[Column] = []
        white = None
        try:
            if slide:
                view = result.view(result.grid)
                channels = _channel_columns(view.slide)
                white = white_of(view.slide) if len(channels) == len(_COLOURS) else None
                self._view = view
        except TwoStageError as error:
            self.missing, channels, white = str(error), [], None
        if white is not None:
            self._densities = density_tables(white)
            stains = [
                Column(f"{one}_od_mean", ".4f", f"{_IN_QUPATH[one]}: OD mean") for one in STAINS
            ]
        self.columns = (UNCERTAINTY, *stains, *channels)
        """Columns in the order of the sums."""
        self._in_units = [column in stains for column in self.columns]
        """Columns whose sums are whole numbers of `UNIT`."""

    def sums(self, box: Box, runs: Runs, part: NDArray[np.int32], count: int) -> Values:
        """Sums over the pixels of each part of a block: (count, columns); NaN where unreadable.

        Parameters
        ----------
        box : Box
            The block, on the fine grid.
        runs : Runs
            Its runs.
        part : (n,) int array
            Part of each run, from 1; 0 is none.
        count : int
            Number of parts.
        """
        inside = np.flatnonzero(part)
        length = runs.length[inside]
        starts = np.cumsum(length) - length
        pixels = np.arange(int(length.sum())) + np.repeat(runs.begin[inside] - starts, length)
        number = part[inside] - 1
        sums = np.full((count, len(self.columns)), np.nan)
        for column, values in enumerate(self._pixels(box, pixels)):
            each = np.add.reduceat(values, starts, dtype=np.float64)
            sums[:, column] = np.bincount(number, each, count)
        return sums

    def means(self, sums: Values, pixels: NDArray[np.int64]) -> dict[str, Values]:
        """Means by the name of the column, from sums over all pixels of each object."""
        means = sums / pixels[:, None]
        means[:, self._in_units] *= UNIT
        return {column.name: means[:, place] for place, column in enumerate(self.columns)}

    def _pixels(self, box: Box, pixels: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Values of some pixels of a block, by their flat index, a column at a time."""
        found: list[NDArray[Any]] = [self._uncertainty(box, pixels)]
        if self._view is None:
            return found
        try:
            stored = self._view.slide.read_at(box, self._view.grid.downsample)
        except ReadError:
            log.warning("%s: %s of the slide cannot be read", self._result.path, box)
            return found
        some = stored.reshape(-1, stored.shape[-1])[pixels]
        if some.shape[-1] > len(_COLOURS):
            some = on_white(some)
        if self._densities is not None:
            shown = to_8_bit(some, self._view.slide.intensity_range)
            found += [
                sum(table[channel][shown[:, channel]] for channel in range(len(_COLOURS)))
                for table in self._densities
            ]
        return [*found, *some.T]

    def _uncertainty(self, box: Box, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Uncertainty of the coarse pass at pixels of the fine grid."""
        coarse, fine = self._result.coarse_grid, self._result.grid
        ratio = round(coarse.downsample[0] / fine.downsample[0])
        around = box.scaled(1 / ratio).clip(coarse.shape)
        values = self._result.read_uncertainty(around)
        rows, columns = np.divmod(pixels, box.width)
        down = (rows + box.top) // ratio - around.top
        across = (columns + box.left) // ratio - around.left
        last = around.height - 1, around.width - 1  # the coarse grid may end a little earlier
        found: NDArray[np.float32] = values[np.minimum(down, last[0]), np.minimum(across, last[1])]
        return found


def _channel_columns(slide: Slide) -> list[Column]:
    """Columns of the channels that a slide is read from: colours, or the one that was chosen."""
    names = list(_COLOURS) if slide.channels >= len(_COLOURS) else [_chosen_channel(slide)]
    return [Column(f"{name}_mean", ".2f", f"{name[0].upper()}{name[1:]}: Mean") for name in names]


def _chosen_channel(slide: Slide) -> str:
    """Name of the channel of a grey slide, in letters that all programs take."""
    chosen = slide.picture.channel
    if isinstance(chosen, int) and chosen < len(slide.channel_names):
        chosen = slide.channel_names[chosen]
    name = re.sub(r"\W+", "_", str(chosen or "")).strip("_")
    return "intensity" if not name or name.isdecimal() else name
