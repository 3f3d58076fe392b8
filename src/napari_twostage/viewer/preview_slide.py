"""Preview levels for a huge slide without coarse levels: from a sample, in bounded memory."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.slides.base import Slide
from napari_twostage.viewer.lazy_levels import read_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHOLE_LEVEL_PX = 4096**2
"""Largest coarsest level, in pixels, that is read as a whole: 48 MB of RGB."""
_EXACT_STEPS = 2
"""Added levels that are averaged from the file: half and quarter size, still fast to read."""
_DECODED_PX = 256 << 20
"""Pixels to decode for the whole sample: about a second on two cores."""
_PATCH_PX = 256
"""Side, in pixels, of a sampled patch."""


def needs_preview(slide: Slide) -> bool:
    """Whether the coarsest level is too large to read while the user waits."""
    return math.prod(slide.level_shapes[-1]) > WHOLE_LEVEL_PX


class PreviewSlide(Slide):
    """Slide with preview levels added below its coarsest level; for display only.

    Half and quarter size are exact. In coarser levels, each pixel of the coarsest grid is the
    mean of a small patch in the middle of its cell.

    Parameters
    ----------
    slide : Slide
        Slide that `needs_preview`; the sample is read immediately.
    """

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        height, width = slide.level_shapes[-1]
        self._steps = math.ceil(math.log2(max(height, width) / math.sqrt(_sample_count(slide))))
        base_y, base_x = slide.factors[-1]
        steps = [2**k for k in range(1, self._steps + 1)]
        super().__init__(
            name=slide.name,
            level_shapes=[
                *slide.level_shapes,
                *((math.ceil(height / step), math.ceil(width / step)) for step in steps),
            ],
            channels=slide.channels,
            dtype=slide.dtype,
            mpp=slide.mpp,
            mpp_source=slide.mpp_source,
            format=slide.format,
            path=slide.path,
            factors=[*slide.factors, *((base_y * step, base_x * step) for step in steps)],
            picture=slide.picture,
        )
        self._sample = self._read_sample()

    def tile_shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of a file tile, scaled to `level`."""
        own = len(self._slide.level_shapes)
        rows, columns = self._slide.tile_shape(min(level, own - 1))
        step = 2 ** max(0, level - own + 1)
        return max(1, rows // step), max(1, columns // step)

    def fingerprint(self) -> str:
        """Fingerprint of the wrapped slide."""
        return self._slide.fingerprint()

    def close(self) -> None:
        """Close the wrapped slide."""
        self._slide.close()

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        step = level - len(self._slide.level_shapes) + 1
        if step <= 0:
            return self._slide.read(box, level)
        if step <= _EXACT_STEPS:
            return read_bands(self._slide, self.factors[level], box)
        shrink = 2 ** (self._steps - step)
        rows = np.arange(box.top, box.bottom) // shrink
        columns = np.arange(box.left, box.right) // shrink
        return self._sample[np.ix_(rows, columns)]

    def _read_sample(self) -> NDArray[np.generic]:
        """Coarsest level (rows, columns, channels): the mean of one patch per pixel."""
        rows, columns = self.level_shapes[-1]
        cell = 2**self._steps
        tops, lefts = np.mgrid[:rows, :columns].reshape(2, -1) * cell
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders release the GIL
            means = list(threads.map(partial(self._mean, cell), tops.tolist(), lefts.tolist()))
        return np.array(means).reshape(rows, columns, self.channels).astype(self.dtype)

    def _mean(self, cell: int, top: int, left: int) -> NDArray[np.float64]:
        """Mean (channels,) of the patch in a cell; 0 if the patch cannot be read."""
        try:
            pixels = self._slide.read(self._patch(top, left, cell), len(self._slide.factors) - 1)
        except ReadError:
            return np.zeros(self.channels)
        valid = np.isfinite(pixels)
        count = valid.sum(axis=(0, 1))
        sums = np.where(valid, pixels, 0).sum(axis=(0, 1), dtype=np.float64)
        return np.asarray(np.where(count > 0, sums / np.maximum(count, 1), np.nan))

    def _patch(self, top: int, left: int, cell: int) -> Box:
        """Patch in the middle of a cell, clipped to one file tile."""
        last = len(self._slide.level_shapes) - 1
        shape = self._slide.level_shapes[last]
        inside = Box.at(top, left, cell, cell).clip(shape)
        tile_rows, tile_columns = self._slide.tile_shape(last)
        middle_y, middle_x = (inside.top + inside.bottom) // 2, (inside.left + inside.right) // 2
        tile = Box.at(
            middle_y - middle_y % tile_rows,
            middle_x - middle_x % tile_columns,
            tile_rows,
            tile_columns,
        )
        return Box.at(middle_y, middle_x, _PATCH_PX, _PATCH_PX).intersect(tile).clip(shape)


def _sample_count(slide: Slide) -> int:
    """Number of patches to read, 16 to 1024, limited by the pixels each one decodes."""
    tile_rows, tile_columns = slide.tile_shape(len(slide.level_shapes) - 1)
    return min(1024, max(16, _DECODED_PX // (tile_rows * tile_columns)))
