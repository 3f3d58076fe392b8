"""The one intensity range of a slide, so that no tile is stretched on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.geometry import Shape
    from napari_twostage.slides.base import Slide

_PERCENTILES = (0.1, 99.9)
_WHOLE_LEVEL_PX = 16 << 20
_BLOCKS_PER_AXIS = 8
_BLOCK_PX = 512


def intensity_range(slide: Slide) -> tuple[float, float]:
    """Find the values to show as black and as full intensity.

    Parameters
    ----------
    slide : Slide
        8-bit slides are shown as they are: (0, 255). Of 16-bit slides, the 0.1 and 99.9
        percentile of the coarsest level; if that has more than 16 Mpx, of a regular sample.

    Returns
    -------
    (low, high), with high > low.
    """
    if slide.dtype == np.uint8:
        return 0.0, 255.0
    level = len(slide.level_shapes) - 1
    colours = min(slide.channels, 3)  # the fourth is alpha
    sample = np.concatenate(
        [
            slide.read(box, level)[..., :colours].ravel()
            for box in _sample_boxes(slide.level_shapes[level])
        ]
    )
    low, high = np.percentile(sample, _PERCENTILES)
    return float(low), float(max(high, low + 1))


def _sample_boxes(shape: Shape) -> Iterator[Box]:
    """The whole plane, or evenly spread blocks of a large one."""
    height, width = shape
    if height * width <= _WHOLE_LEVEL_PX:
        yield Box(0, 0, height, width)
        return
    rows, columns = min(height, _BLOCK_PX), min(width, _BLOCK_PX)
    for top in np.linspace(0, height - rows, _BLOCKS_PER_AXIS).astype(int):
        for left in np.linspace(0, width - columns, _BLOCKS_PER_AXIS).astype(int):
            yield Box.at(int(top), int(left), rows, columns)
