"""Blocks of a result's labels: the whole slide, a bounded part at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.instances import separate
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.measure.within import Within
    from napari_twostage.result.result import Result

ProgressCallback = Callable[[float], None]
"""Callback with the share done, in [0, 1]."""

BLOCK_PX = 1536
"""Approximate side of a block, in pixels; a block holds whole tiles, and a few megabytes."""


def block_rows(result: Result, part: Box | None = None) -> list[list[Box]]:
    """Blocks of whole tiles, row by row; each pixel of the fine grid is in exactly one.

    With a part of the fine grid, those that touch it.
    """
    side = result.tiles.tile_px * tiles_along(result)
    rows: dict[int, list[Box]] = {}
    for box in result.grid.box.blocks(side):
        if part is None or box.intersect(part).area:
            rows.setdefault(box.top, []).append(box)
    return list(rows.values())


def tiles_along(result: Result) -> int:
    """Tiles along the side of a block."""
    return max(1, BLOCK_PX // result.tiles.tile_px)


def tiles_of(result: Result, box: Box) -> Box:
    """Rows and columns of the tiles of a block."""
    size = result.tiles.tile_px
    return Box(box.top // size, box.left // size, -(-box.bottom // size), -(-box.right // size))


def near_tiles(result: Result, box: Box) -> Box:
    """Rows and columns of the tiles that the regions of a block may follow from."""
    wide = tiles_of(result, box.grow(result.layout.object_reach_px).clip(result.grid.shape))
    return wide.grow(1).clip(result.tiles.shape)


def refined_tiles(result: Result, box: Box, states: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tiles of a block whose labels come from stage 2: (rows, columns)."""
    return np.equal(states[tiles_of(result, box).slices], TileState.REFINED)


def is_near_tissue(result: Result, box: Box, states: NDArray[np.uint8]) -> bool:
    """Whether a block or a tile beside it has labels."""
    near = tiles_of(result, box).grow(1).clip(states.shape)
    return bool(states[near.slices].any())


@dataclass(frozen=True, slots=True)
class BlockPixels:
    """Labels of a block, and what tells neighbours of one label apart."""

    labels: NDArray[np.uint8]
    """(height, width)."""
    items: NDArray[np.integer]
    """Numbers that are equal for pixels of one object, in the block; the labels themselves if the
    model tells no objects apart: (height, width)."""
    joins_below: NDArray[np.bool_]
    """Whether each pixel of the last row is of one object with the pixel below it, if their labels
    are equal: (width,)."""
    joins_right: NDArray[np.bool_]
    """The same for the last column, and the pixels on its right: (height,)."""

    @classmethod
    def connected(cls, labels: NDArray[np.uint8]) -> Self:
        """Pixels of a block in which neighbours of one label are of one object."""
        height, width = labels.shape
        return cls(labels, labels, np.ones(width, bool), np.ones(height, bool))


def read_pixels(
    result: Result, box: Box, states: NDArray[np.uint8], within: Within | None = None
) -> BlockPixels:
    """Read the finest labels of a block, and tell its objects apart.

    Parameters
    ----------
    result, box, states, within
        As for `read_block`.
    """
    if not result.tells_objects_apart or not is_near_tissue(result, box, states):
        return BlockPixels.connected(read_block(result, box, states, within))
    wide = box.grow(result.layout.object_reach_px).clip(result.grid.shape)
    labels = read_block(result, wide, states, within)
    items = separate(labels, result.read_depth(wide), joined=result.read_painted(wide))
    place = box.shift(-wide.top, -wide.left)
    own = items[place.slices]
    below = items[place.bottom : place.bottom + 1, place.left : place.right]
    right = items[place.top : place.bottom, place.right : place.right + 1]
    return BlockPixels(
        labels[place.slices],
        own,
        (own[-1:] == below)[0] if below.size else np.zeros(box.width, bool),
        (own[:, -1:] == right)[:, 0] if right.size else np.zeros(box.height, bool),
    )


def read_block(
    result: Result, box: Box, states: NDArray[np.uint8], within: Within | None = None
) -> NDArray[np.uint8]:
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
        One of `block_rows`, or any other box.
    states : (rows, columns) uint8 array
        `TileState` of all tiles, read once: a run in progress must not change it between blocks.
    within : Within, optional
        Region outside of which all is background.

    Returns
    -------
    (box.height, box.width) uint8 array
    """
    region = result.record.parameters.region
    measured = box if region is None else box.intersect(result.box_to_fine(region))
    labels = np.zeros(box.shape, np.uint8)
    if within is not None and within.cover(box) == "none":
        return labels
    if measured.area and is_near_tissue(result, box, states):
        place = measured.shift(-box.top, -box.left)
        labels[place.slices] = result.read_labels(measured, level=0)
        if within is not None:
            labels[~within.mask(box)] = 0
    return labels
