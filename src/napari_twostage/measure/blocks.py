"""A walk over the labels of a segmentation, a bounded block at a time."""

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

Progress = Callable[[float], None]
"""Called now and then with the share that is done, from 0 to 1."""

BLOCK_PX = 1024
"""Side of a block, about: whole tiles, and a few megabytes of arrays whatever the slide's size."""


class Block(NamedTuple):
    """Some whole tiles of the finest labels."""

    box: Box
    """Where it lies on the fine grid."""
    labels: NDArray[np.uint8]
    """(height, width) class values; 0 is background."""
    states: NDArray[np.uint8]
    """(height, width) `TileState` of the tile that each pixel lies in."""

    @property
    def refined(self) -> NDArray[np.bool_]:
        """(height, width) whether stage 2 made the pixel."""
        return np.equal(self.states, TileState.REFINED)


def blocks(result: Result, progress: Progress) -> Iterator[Block]:
    """Walk over the finest labels, row by row of blocks, each pixel in exactly one block.

    Blocks far from the tissue are not read: their labels are background. Those next to it are,
    for upsampled labels may reach a few pixels beyond their tile.
    """
    tile_px = result.tiles.tile_px
    size = tile_px * max(1, BLOCK_PX // tile_px)
    known = result.states  # once: a run that goes on meanwhile must not move the borders
    done = 0
    for box in result.grid.box.blocks(size):
        tiles = Box(
            box.top // tile_px, box.left // tile_px, -(-box.bottom // tile_px),
            -(-box.right // tile_px),
        )  # fmt: skip
        states = known[tiles.slices].repeat(tile_px, 0).repeat(tile_px, 1)
        near = known[tiles.grow(1).clip(known.shape).slices].any()
        labels = result.read_labels(box, level=0) if near else np.zeros(box.shape, np.uint8)
        yield Block(box, labels, states[: box.height, : box.width])
        done += box.area
        progress(done / result.grid.box.area)
