"""Labels of a result for display: cached blocks that a run updates in place."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.resample_labels import thin
from napari_twostage.viewer.lazy_levels import LazyLevel
from napari_twostage.viewer.object_lines import BlockKey, ObjectLines
from napari_twostage.viewer.tolerant_reader import TolerantReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.method.steps import ChipRefined, CoarseWindowDone
    from napari_twostage.result.result import Result

BLOCK_PX = 512
"""Side of a block, in pixels of its level; a screen shows about six blocks."""
CACHE_BYTES = 64 << 20
"""Cached blocks, in bytes: 256 blocks, about forty screens."""

_PIECE_PX = 64
"""Smallest side, in pixels, of the pieces that a block with a damaged place is read in."""


class LabelBlocks:
    """Levels of a multiscale Labels layer, kept up to date during a run.

    napari slices layers in the GUI thread, which must not wait for the disk after every tile.
    So displayed blocks are cached and refined tiles are written into them. All methods are called
    from the GUI thread.

    Parameters
    ----------
    result : Result
        Result to display.
    tell : callable, optional
        Called with errors of damaged files and lost disks, whose places are shown blank; they are
        raised by default.
    """

    def __init__(self, result: Result, tell: Callable[[Exception], None] | None = None) -> None:
        self._result = result
        self._reader = TolerantReader(0, np.dtype(np.uint8), (), tell or _raise)
        self._blocks: OrderedDict[BlockKey, NDArray[np.uint8]] = OrderedDict()
        self._lines = ObjectLines(result) if result.tells_objects_apart else None
        *finer, self._last = range(len(result.level_shapes))
        self._side = max(1, BLOCK_PX // result.card.tile_px) * result.card.tile_px
        shapes = result.level_shapes
        self._coarsest, _ = self._read_labels(Box(0, 0, *shapes[self._last]), self._last)
        self.levels: list[LazyLevel | NDArray[np.uint8]] = [
            *(
                LazyLevel(partial(self._read, level), shapes[level], np.dtype(np.uint8), (512, 512))
                for level in finer
            ),
            self._coarsest,  # napari holds a reference to the coarsest level: keep this array
        ]

    def window_done(self, step: CoarseWindowDone) -> None:
        """Update the labels of a coarse window."""
        self.changed(self._result.layout.fine_box(step.core))

    def chip_refined(self, step: ChipRefined) -> None:
        """Update the labels of a refined chip, without reading the disk."""
        box = step.chip.core.clip(self._result.grid.shape)
        if any(edit.intersect(box).area for edit in self._result.edit_boxes):
            self.changed(box)  # the user's edits override the chip
            return
        labels = step.labels[: box.height, : box.width]
        for level, size in enumerate(self._result.layout.steps):
            self._paint(level, box.scaled(1 / size), thin(labels, size))

    def draw_lines(self) -> bool:
        """Draw lines between touching objects, as far as they were found; whether there were any.

        They are background of a pixel's width, on the finest level only.
        """
        drawn = False
        for key, lines in self._lines.take() if self._lines is not None else ():
            if (block := self._blocks.get(key)) is not None:
                block[lines] = 0
                drawn |= bool(lines.any())
        return drawn

    def close(self) -> None:
        """Stop looking for lines."""
        if self._lines is not None:
            self._lines.close()

    def changed(self, box: Box) -> None:
        """Discard a box of the fine grid; it is read again when displayed next."""
        for level, size in enumerate(self._result.layout.steps):
            place = box.scaled(1 / size)
            if level == self._last:
                # one pixel more: upsampled logits extend beyond their window
                part = place.grow(1).clip(self._coarsest.shape)
                self._coarsest[part.slices], _ = self._read_labels(part, level)
            else:
                for key in self._keys(level, place.grow(self._result.card.ratio)):
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
                self._ask_for_lines(key)

    def _read(self, level: int, box: Box) -> NDArray[np.uint8]:
        pixels = np.empty(box.shape, np.uint8)
        for key in self._keys(level, box):
            own = self._box(key)
            part = own.intersect(box)
            pixels[part.shift(-box.top, -box.left).slices] = self._block(key)[
                part.shift(-own.top, -own.left).slices
            ]
        return pixels

    def _block(self, key: BlockKey) -> NDArray[np.uint8]:
        block = self._blocks.get(key)
        if block is None:
            block, whole = self._read_labels(self._box(key), key[0])
            if not whole:  # look again next time: a disk may come back
                return block
            self._blocks[key] = block
            self._ask_for_lines(key)
            while len(self._blocks) * self._side**2 > CACHE_BYTES:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return block

    def _ask_for_lines(self, key: BlockKey) -> None:
        if self._lines is not None and key[0] == 0:
            self._lines.ask(key, self._box(key))

    def _read_labels(self, box: Box, level: int) -> tuple[NDArray[np.uint8], bool]:
        """Labels of a box of a level, and whether all could be read."""
        side = max(_PIECE_PX, self._result.card.tile_px // self._result.layout.steps[level])
        return self._reader.read(partial(self._result.read_labels, level=level), (side, side), box)

    def _keys(self, level: int, box: Box) -> Iterator[BlockKey]:
        shape = self._result.level_shapes[level]
        inside = box.clip(shape)
        if inside.area:
            cells = inside.scaled(1 / self._side)
            for row in range(cells.top, cells.bottom):
                for column in range(cells.left, cells.right):
                    yield level, row, column

    def _box(self, key: BlockKey) -> Box:
        level, row, column = key
        side = self._side
        return Box.at(row * side, column * side, side, side).clip(self._result.level_shapes[level])


def _raise(error: Exception) -> None:
    raise error
