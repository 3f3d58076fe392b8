"""The rasters of an overview: a few megapixels each, read with bounded memory."""

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

PICTURE_PX = 2048
"""Longest side of a raster: no screen shows more of one panel."""

READ_PX = 4096
"""Most pixels per axis of a slide or a map that are read at once."""

COARSE_ALPHA, TILE_ALPHA = 80, 150
"""How much of the slide shows through tiles; most where nothing was done."""

STATE_COLORS = {
    TileState.COARSE: "#4c78a8",
    TileState.REFINED: "#f58518",
    TileState.EDITED: "#54a24b",
    TileState.FAILED: "#d62728",
}


def picture_level(result: Result) -> int:
    """Choose the finest label level that still fits a picture."""
    longest = max(result.grid.shape)
    return max(0, math.ceil(math.log2(longest / PICTURE_PX)))


def slide_picture(result: Result) -> NDArray[np.uint8]:
    """Picture the slide: (height, width, 3).

    Parts of it that cannot be read stay grey.

    Raises
    ------
    SlideError, SegmentationError
        The slide's file is gone, or holds another slide now.
    """
    grid = result.grid.coarser(2 ** picture_level(result))
    view = result.view(grid)
    picture = np.full((*grid.shape, 3), 200, np.uint8)
    for box in grid.box.blocks(_block(grid)):
        with suppress(ReadError):  # a damaged part is no reason to show nothing
            picture[box.slices] = view.read(box)
    return picture


def _block(grid: Grid) -> int:
    """Size blocks so that each needs at most `READ_PX` pixels per axis of level 0."""
    return max(1, int(READ_PX / max(*grid.downsample, 1.0)))


def grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Wash a picture out, so that colours laid over it stand out: (height, width, 3)."""
    light = 0.5 * picture.mean(axis=2) + 127
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)


def labels_picture(result: Result) -> NDArray[np.uint8]:
    """Paint the labels in their classes' colours: (height, width, 4), background transparent."""
    wanted = picture_level(result)
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


def uncertainty_picture(result: Result) -> NDArray[np.float32]:
    """Average the uncertainty down to a picture: (height, width), NaN outside the tissue."""
    step = math.ceil(max(result.coarse_grid.shape) / PICTURE_PX)
    picture = np.empty(result.coarse_grid.coarser(step).shape, np.float32)
    for box in Box(0, 0, *picture.shape).blocks(max(1, READ_PX // step)):
        finer = box.scaled(step).clip(result.coarse_grid.shape)
        picture[box.slices] = _block_means(result.read_uncertainty(finer), step)

    states = result.states
    # The tile that the centre of each pixel of the picture lies in, on either axis.
    scale = (
        step * result.coarse_grid.downsample[0] / result.grid.downsample[0] / result.tiles.tile_px
    )
    tiles = np.ix_(
        *(
            ((np.arange(side) + 0.5) * scale).astype(int).clip(max=count - 1)
            for side, count in zip(picture.shape, states.shape, strict=True)
        )
    )
    picture[states[tiles] == TileState.OUTSIDE] = np.nan
    return picture


def _block_means(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Average squares of `step`, those at the edge over the pixels they have."""
    if step == 1:
        return values
    starts = [np.arange(0, side, step) for side in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], 0), starts[1], 1)
    counts = [np.diff([*start, side]) for start, side in zip(starts, values.shape, strict=True)]
    pixels = np.multiply.outer(*counts)
    return np.asarray(sums / pixels, np.float32)


def states_picture(states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint each tile's state: (tile rows, tile columns, 4), transparent outside the tissue."""
    palette = np.zeros((256, 4), np.uint8)
    for state, color in STATE_COLORS.items():
        alpha = COARSE_ALPHA if state == TileState.COARSE else TILE_ALPHA
        palette[state] = _rgba(color, alpha)
    return palette[states]


def _rgba(color: str, alpha: int = 255) -> tuple[int, ...]:
    return (*bytes.fromhex(color.removeprefix("#")), alpha)
