"""Blocks of a result's labels: the whole slide, a bounded part at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_twostage.result.result import Result

ProgressCallback = Callable[[float], None]
"""Callback with the share done, in [0, 1]."""

BLOCK_PX = 1024
"""Approximate side of a block, in pixels; a block holds whole tiles, and a few megabytes."""


class Block(NamedTuple):
    """Whole tiles of the finest labels."""

    box: Box
    """Pixels of the block, on the fine grid."""
    labels: NDArray[np.uint8]
    """Class values, 0 for the background: (height, width)."""
    states: NDArray[np.uint8]
    """`TileState` of each pixel's tile: (height, width)."""

    @property
    def refined(self) -> NDArray[np.bool_]:
        """True where the label comes from stage 2: (height, width)."""
        return np.equal(self.states, TileState.REFINED)


def blocks(result: Result, progress: ProgressCallback) -> Iterator[Block]:
    """Read the finest labels block by block, row by row; each pixel is in exactly one block.

    Blocks away from the tissue are background and not read. Blocks next to it are read, since
    upsampled labels may extend a few pixels beyond their tile. In a result of a region, whose tiles
    reach beyond it, all outside the region is background: areas, counts and objects are the
    region's.

    Parameters
    ----------
    result : Result
        Result to read.
    progress : callable
        Called with the share done, in [0, 1], after each block.

    Yields
    ------
    Block
    """
    tile_px = result.tiles.tile_px
    size = tile_px * max(1, BLOCK_PX // tile_px)
    region = result.record.parameters.region
    measured = result.grid.box if region is None else result.box_to_fine(region)
    known = result.states  # read once: a run in progress must not change it between blocks
    done = 0
    for box in result.grid.box.blocks(size):
        tiles = Box(
            box.top // tile_px, box.left // tile_px, -(-box.bottom // tile_px),
            -(-box.right // tile_px),
        )  # fmt: skip
        states = known[tiles.slices].repeat(tile_px, 0).repeat(tile_px, 1)
        near = known[tiles.grow(1).clip(known.shape).slices].any()
        labels = np.zeros(box.shape, np.uint8)
        inside = box.intersect(measured)
        if near and inside.area:
            place = inside.shift(-box.top, -box.left)
            labels[place.slices] = result.read_labels(inside, level=0)
        yield Block(box, labels, states[: box.height, : box.width])
        done += box.area
        progress(done / result.grid.box.area)
