"""Rasters of the exported figure: a few megapixels each, read with bounded memory."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.result.result import Result

RASTER_PX = 2048
"""Longest side of a raster, in pixels: no screen shows more of one panel."""

READ_PX = 4096
"""Most pixels per axis, of a slide or a map, to read at once."""

COARSE_ALPHA, TILE_ALPHA = 80, 150
"""Opacity of coarse and of other tiles, in [0, 255]; the slide shows through."""

STATE_COLORS = {
    TileState.COARSE: "#4c78a8",
    TileState.REFINED: "#f58518",
    TileState.EDITED: "#54a24b",
    TileState.FAILED: "#d62728",
}
"""Colour of each state, ``#rrggbb``."""


def raster_level(result: Result) -> int:
    """Finest level whose raster has at most `RASTER_PX` pixels per side."""
    longest = max(result.grid.shape)
    return max(0, math.ceil(math.log2(longest / RASTER_PX)))


def slide_raster(result: Result) -> NDArray[np.uint8]:
    """Read the slide at figure size; unreadable parts are grey.

    Returns
    -------
    (height, width, 3) uint8 array

    Raises
    ------
    SlideError, SegmentationError
        If the slide file is missing, or holds a different slide.
    """
    grid = result.grid.coarser(2 ** raster_level(result))
    view = result.view(grid)
    raster = np.full((*grid.shape, 3), 200, np.uint8)
    for box in grid.box.blocks(_block(grid)):
        with suppress(ReadError):  # show the undamaged parts
            raster[box.slices] = view.read(box)
    return raster


def _block(grid: Grid) -> int:
    """Side of a block, in grid pixels, that covers at most `READ_PX` level-0 pixels per axis."""
    return max(1, int(READ_PX / max(*grid.downsample, 1.0)))


def faded_grey(raster: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert to pale grey, so that overlaid colours stand out: (height, width, 3)."""
    light = 0.5 * raster.mean(axis=2) + 127
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)


def labels_raster(result: Result) -> NDArray[np.uint8]:
    """Labels in the colours of their classes: (height, width, 4) uint8, background transparent."""
    wanted = raster_level(result)
    level = min(wanted, len(result.level_shapes) - 1)
    step = 2 ** (wanted - level)
    plane = np.empty(result.grid.coarser(2**wanted).shape, np.uint8)
    for box in Box(0, 0, *plane.shape).blocks(max(1, READ_PX // step)):
        finer = box.scaled(step).clip(result.grid.coarser(2**level).shape)
        plane[box.slices] = result.read_labels(finer, level)[::step, ::step]

    palette = np.zeros((256, 4), np.uint8)
    for kind in result.classes:
        palette[kind.value] = _rgba(kind.color)
    return palette[plane]


def uncertainty_raster(result: Result) -> NDArray[np.float32]:
    """Uncertainty averaged to figure size: (height, width) float32, NaN outside the tissue."""
    step = math.ceil(max(result.coarse_grid.shape) / RASTER_PX)
    raster = np.empty(result.coarse_grid.coarser(step).shape, np.float32)
    for box in Box(0, 0, *raster.shape).blocks(max(1, READ_PX // step)):
        finer = box.scaled(step).clip(result.coarse_grid.shape)
        raster[box.slices] = _block_means(result.read_uncertainty(finer), step)

    states = result.states
    # Tile that contains the centre of each raster pixel, on either axis.
    scale = (
        step * result.coarse_grid.downsample[0] / result.grid.downsample[0] / result.tiles.tile_px
    )
    tiles = np.ix_(
        *(
            ((np.arange(side) + 0.5) * scale).astype(int).clip(max=count - 1)
            for side, count in zip(raster.shape, states.shape, strict=True)
        )
    )
    raster[states[tiles] == TileState.OUTSIDE] = np.nan
    return raster


def _block_means(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Means over squares of side `step`; squares cut by the edge average their own pixels."""
    if step == 1:
        return values
    starts = [np.arange(0, side, step) for side in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], 0), starts[1], 1)
    counts = [np.diff([*start, side]) for start, side in zip(starts, values.shape, strict=True)]
    pixels = np.multiply.outer(*counts)
    return np.asarray(sums / pixels, np.float32)


def states_raster(states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour of each tile's state: (rows, columns, 4) uint8, transparent outside the tissue."""
    palette = np.zeros((256, 4), np.uint8)
    for state, color in STATE_COLORS.items():
        alpha = COARSE_ALPHA if state == TileState.COARSE else TILE_ALPHA
        palette[state] = _rgba(color, alpha)
    return palette[states]


def _rgba(color: str, alpha: int = 255) -> tuple[int, ...]:
    return (*bytes.fromhex(color.removeprefix("#")), alpha)
