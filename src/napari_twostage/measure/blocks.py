"""Blocks of a result's labels: the whole slide, a bounded part at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.result.result import Result

ProgressCallback = Callable[[float], None]
"""Callback with the share done, in [0, 1]."""

BLOCK_PX = 1536
"""Approximate side of a block, in pixels; a block holds whole tiles, and a few megabytes."""


def block_rows(result: Result) -> list[list[Box]]:
    """Blocks of whole tiles, row by row; each pixel of the fine grid is in exactly one."""
    side = result.tiles.tile_px * tiles_along(result)
    rows: dict[int, list[Box]] = {}
    for box in result.grid.box.blocks(side):
        rows.setdefault(box.top, []).append(box)
    return list(rows.values())


def tiles_along(result: Result) -> int:
    """Tiles along the side of a block."""
    return max(1, BLOCK_PX // result.tiles.tile_px)


def tiles_of(result: Result, box: Box) -> Box:
    """Rows and columns of the tiles of a block."""
    size = result.tiles.tile_px
    return Box(box.top // size, box.left // size, -(-box.bottom // size), -(-box.right // size))


def refined_tiles(result: Result, box: Box, states: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tiles of a block whose labels come from stage 2: (rows, columns)."""
    return np.equal(states[tiles_of(result, box).slices], TileState.REFINED)


def is_near_tissue(result: Result, box: Box, states: NDArray[np.uint8]) -> bool:
    """Whether a block or a tile beside it has labels."""
    near = tiles_of(result, box).grow(1).clip(states.shape)
    return bool(states[near.slices].any())


def read_block(result: Result, box: Box, states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read the finest labels of a block.

    Blocks away from the tissue are background and not read. Blocks next to it are read, since
    upsampled labels may extend a few pixels beyond their tile. In a result of a region, whose tiles
    reach beyond it, all outside the region is background: areas, counts and objects are the
    region's.

    Parameters
    ----------
    result : Result
        Result to read.
    box : Box
        One of `block_rows`.
    states : (rows, columns) uint8 array
        `TileState` of all tiles, read once: a run in progress must not change it between blocks.

    Returns
    -------
    (box.height, box.width) uint8 array
    """
    region = result.record.parameters.region
    measured = box if region is None else box.intersect(result.box_to_fine(region))
    labels = np.zeros(box.shape, np.uint8)
    if measured.area and is_near_tissue(result, box, states):
        place = measured.shift(-box.top, -box.left)
        labels[place.slices] = result.read_labels(measured, level=0)
    return labels
