"""Labels of a result as napari shows them: in blocks that stay in memory and change in place."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.resample_labels import thin
from napari_twostage.viewer.lazy_levels import LazyLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.method.steps import ChipRefined, CoarseWindowDone

BLOCK_PX = 512
"""Side of a block on its own level: a screen shows about six."""
CACHE_BYTES = 64 << 20
"""Blocks kept in memory: 256 of them, some forty screens."""

Key = tuple[int, int, int]
"""Level, row and column of a block."""


class LabelBlocks:
    """What a multiscale Labels layer shows of a result, kept current while a run goes on.

    Slicing a layer happens in the thread of the window, which must not wait for the disk each
    time a tile is done: blocks that were shown are kept, and refined tiles are painted into them.
    All calls come from that one thread.

    Parameters
    ----------
    seg : Segmentation
        Whose labels.
    """

    def __init__(self, seg: Segmentation) -> None:
        self._seg = seg
        self._blocks: OrderedDict[Key, NDArray[np.uint8]] = OrderedDict()
        *finer, self._last = range(len(seg.level_shapes))
        self._side = max(1, BLOCK_PX // seg.card.tile_px) * seg.card.tile_px
        shapes = seg.level_shapes
        self._coarsest = seg.read_labels(Box(0, 0, *shapes[self._last]), self._last)
        self.levels: list[LazyLevel | NDArray[np.uint8]] = [
            *(
                LazyLevel(partial(self._read, level), shapes[level], np.dtype(np.uint8), (512, 512))
                for level in finer
            ),
            self._coarsest,  # napari keeps the coarsest level: it must be this very array
        ]

    def window_done(self, step: CoarseWindowDone) -> None:
        """Show the labels of a coarse window."""
        self.changed(self._seg.layout.fine_box(step.core))

    def chip_refined(self, step: ChipRefined) -> None:
        """Show the labels of a refined chip, without going to the disk."""
        box = step.chip.core.clip(self._seg.grid.shape)
        if any(edit.intersect(box).area for edit in self._seg.edit_boxes):
            self.changed(box)  # the user's edits lie above
            return
        labels = step.labels[: box.height, : box.width]
        for level, size in enumerate(self._seg.layout.steps):
            self._paint(level, box.scaled(1 / size), thin(labels, size))

    def changed(self, box: Box) -> None:
        """Read a box of the fine grid again when it is next shown."""
        for level, size in enumerate(self._seg.layout.steps):
            place = box.scaled(1 / size)
            if level == self._last:
                # a pixel more: upsampled logits reach beyond their window
                part = place.grow(1).clip(self._coarsest.shape)
                self._coarsest[part.slices] = self._seg.read_labels(part, level)
            else:
                for key in self._keys(level, place.grow(self._seg.card.ratio)):
                    self._blocks.pop(key, None)

    def _paint(self, level: int, place: Box, labels: NDArray[np.uint8]) -> None:
        if level == self._last:
            self._coarsest[place.slices] = labels
            return
        for key in self._keys(level, place):
            block = self._blocks.get(key)
            if block is not None:
                box = self._box(key)
                part = box.intersect(place)
                block[part.shift(-box.top, -box.left).slices] = labels[
                    part.shift(-place.top, -place.left).slices
                ]

    def _read(self, level: int, box: Box) -> NDArray[np.uint8]:
        pixels = np.empty(box.shape, np.uint8)
        for key in self._keys(level, box):
            own = self._box(key)
            part = own.intersect(box)
            pixels[part.shift(-box.top, -box.left).slices] = self._block(key)[
                part.shift(-own.top, -own.left).slices
            ]
        return pixels

    def _block(self, key: Key) -> NDArray[np.uint8]:
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = self._seg.read_labels(self._box(key), key[0])
            while len(self._blocks) * self._side**2 > CACHE_BYTES:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return block

    def _keys(self, level: int, box: Box) -> Iterator[Key]:
        shape = self._seg.level_shapes[level]
        inside = box.clip(shape)
        if inside.area:
            cells = inside.scaled(1 / self._side)
            for row in range(cells.top, cells.bottom):
                for column in range(cells.left, cells.right):
                    yield level, row, column

    def _box(self, key: Key) -> Box:
        level, row, column = key
        side = self._side
        return Box.at(row * side, column * side, side, side).clip(self._seg.level_shapes[level])
