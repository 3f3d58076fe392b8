"""Labels before refinement, and the pixels that it changed: blocks that a thread reads.

Coarse labels are made from logits, for which the window must not wait. Until a block is there, the
labels as they are now are shown in its place, and nothing as changed.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.errors import TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.measure.blocks import read_pixels
from napari_twostage.method.instances import lines_between
from napari_twostage.result.unrefined import UnrefinedResult
from napari_twostage.viewer.colormaps import Ink
from napari_twostage.viewer.drawn_levels import enlarged_levels
from napari_twostage.viewer.label_blocks import BLOCK_PX
from napari_twostage.viewer.lazy_levels import LazyLevel
from napari_twostage.viewer.outlined_labels import grown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.result.result import Result
    from napari_twostage.viewer.label_blocks import LabelBlocks
    from napari_twostage.viewer.object_lines import BlockKey

log = logging.getLogger(__name__)

CACHED = 128
"""Blocks that are kept: twenty screens, 64 MB."""

Levels = list["LazyLevel | NDArray[np.uint8]"]


class _Block(NamedTuple):
    before: NDArray[np.uint8]
    """Labels before refinement."""
    changed: NDArray[np.bool_]
    """Pixels that had another label."""
    whole: bool
    """Whether lines between touching objects are drawn, as far as there are any."""


class ComparedBlocks:
    """Levels of layers that compare labels with those before refinement.

    All methods are called from the GUI thread.

    Parameters
    ----------
    result : Result
        Result to compare.
    now : LabelBlocks
        Its labels as they are shown.
    """

    def __init__(self, result: Result, now: LabelBlocks) -> None:
        self._result = result
        self._unrefined = UnrefinedResult(result)
        self._now = now
        self._blocks: OrderedDict[BlockKey, _Block] = OrderedDict()
        self._asked: dict[BlockKey, int] = {}
        """Turn in which each block was asked for; others are out of date."""
        self._turn = 0
        self._lock = Lock()
        self._waiting: dict[BlockKey, int] = {}
        self._plain: dict[BlockKey, tuple[int, _Block]] = {}
        """Blocks that lack lines: finding them takes longer than all else."""
        self._found: SimpleQueue[tuple[BlockKey, int, _Block]] = SimpleQueue()
        self._worker = ThreadPoolExecutor(1, "compared-blocks")
        self._last = len(result.level_shapes) - 1
        self._coarsest = np.array(now.levels[self._last])
        self._coarsest_changed = np.zeros_like(self._coarsest)
        self._coarsest_drawn = np.zeros_like(self._coarsest)
        self.before = self._levels(self._read_before, self._coarsest)
        """Labels before refinement, as levels of a multiscale Labels layer."""
        masks = self._levels(self._read_changed, self._coarsest_changed)
        self.changed: Levels = [
            *map(_drawn, (*enlarged_levels(masks[0]), *masks[:-1])), self._coarsest_drawn
        ]  # fmt: skip
        """Values of `Ink` where refinement changed labels, as levels of an Image layer, the first
        `FINER` times as fine as the grid."""
        self._ask_for((self._last, 0, 0))

    def take(self) -> bool:
        """Take in what the thread has read; whether there was anything."""
        taken = False
        while True:
            try:
                key, turn, block = self._found.get_nowait()
            except Empty:
                return taken
            if self._asked.get(key) == turn:
                self._keep(key, block)
                taken = True

    def outdate(self, box: Box) -> None:
        """Read a box of the fine grid again: its labels have changed."""
        self._turn += 1
        for level, size in enumerate(self._result.layout.steps):
            place = box.scaled(1 / size).grow(self._result.card.ratio)
            for key in self._keys(level, place):
                self._asked.pop(key, None)
        self._ask_for((self._last, 0, 0))

    def close(self) -> None:
        """Stop reading."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _levels(
        self, read: Callable[[int, Box], NDArray[np.uint8]], coarsest: NDArray[np.uint8]
    ) -> Levels:
        shapes, kind = self._result.level_shapes, np.dtype(np.uint8)
        finer = (
            LazyLevel(partial(read, level), shapes[level], kind, (BLOCK_PX, BLOCK_PX))
            for level in range(self._last)
        )
        return [*finer, coarsest]  # napari holds a reference to the last one: keep this array

    def _keep(self, key: BlockKey, block: _Block) -> None:
        if key[0] == self._last:
            self._coarsest[:] = block.before
            self._coarsest_changed[:] = block.changed
            self._coarsest_drawn[:] = inked(block.changed)
            return
        self._blocks[key] = block
        self._blocks.move_to_end(key)
        while len(self._blocks) > CACHED:
            old, _ = self._blocks.popitem(last=False)
            self._asked.pop(old, None)

    def _read_before(self, level: int, box: Box) -> NDArray[np.uint8]:
        pixels = np.array(self._now.levels[level][box.slices])
        for block, here, there in self._parts(level, box):
            pixels[here] = block.before[there]
        return pixels

    def _read_changed(self, level: int, box: Box) -> NDArray[np.uint8]:
        """1 where labels were changed, else 0."""
        changed = np.zeros(box.shape, np.uint8)
        for block, here, there in self._parts(level, box):
            changed[here] = block.changed[there]
        return changed

    def _parts(
        self, level: int, box: Box
    ) -> Iterator[tuple[_Block, tuple[slice, slice], tuple[slice, slice]]]:
        """Blocks in a box that are there, with their parts of it and of themselves; ask for all."""
        for key in self._keys(level, box):
            self._ask_for(key)
            if (block := self._blocks.get(key)) is not None:
                own = self._box(key)
                part = own.intersect(box)
                yield (
                    block,
                    part.shift(-box.top, -box.left).slices,
                    part.shift(-own.top, -own.left).slices,
                )

    def _keys(self, level: int, box: Box) -> Iterator[BlockKey]:
        cells = box.clip(self._result.level_shapes[level]).scaled(1 / BLOCK_PX)
        for row in range(cells.top, cells.bottom):
            for column in range(cells.left, cells.right):
                yield level, row, column

    def _box(self, key: BlockKey) -> Box:
        level, row, column = key
        shape = self._result.level_shapes[level]
        if level == self._last:
            return Box(0, 0, *shape)
        return Box.at(row * BLOCK_PX, column * BLOCK_PX, BLOCK_PX, BLOCK_PX).clip(shape)

    def _ask_for(self, key: BlockKey) -> None:
        """Ask the thread for a block as it is now, unless that was done."""
        if key in self._asked:
            return
        self._asked[key] = self._turn
        with self._lock:
            self._waiting.pop(key, None)
            self._plain.pop(key, None)
            self._waiting[key] = self._turn
        self._worker.submit(self._find)

    def _find(self) -> None:
        """Read the block that was asked for last, which is looked at; lines come after all."""
        with self._lock:
            if self._waiting:
                key, turn = self._waiting.popitem()
                read = partial(self._read, key)
            elif self._plain:
                key, (turn, block) = self._plain.popitem()
                read = partial(self._with_lines, key, block)
            else:
                return
        try:
            block = read()
        except (OSError, TwoStageError):  # said where the labels themselves are read
            log.debug("%s: block %s is not compared", self._result.path, key, exc_info=True)
            return
        self._found.put((key, turn, block))
        if not block.whole:
            with self._lock:
                self._plain[key] = turn, block
            with suppress(RuntimeError):  # closed meanwhile
                self._worker.submit(self._find)

    def _read(self, key: BlockKey) -> _Block:
        level, box = key[0], self._box(key)
        before = self._unrefined.read_labels(box, level)
        changed = before != self._result.read_labels(box, level)
        whole = level > 0 or not self._unrefined.tells_objects_apart
        return _Block(before, changed, whole)

    def _with_lines(self, key: BlockKey, block: _Block) -> _Block:
        apart = read_pixels(self._unrefined, self._box(key), self._unrefined.states)
        lines = lines_between(apart.labels, apart.items)
        return _Block(np.where(lines, np.uint8(0), block.before), block.changed, whole=True)


def _drawn(mask: LazyLevel | NDArray[np.uint8]) -> LazyLevel:
    """Level of `Ink` over a level of a mask; lines are as wide at every zoom."""
    shape = mask.shape[0], mask.shape[1]

    def read(box: Box) -> NDArray[np.uint8]:
        wide = box.grow(1).clip(shape)
        return inked(mask[wide.slices] > 0)[box.shift(-wide.top, -wide.left).slices]

    return LazyLevel(read, shape, np.dtype(np.uint8), (BLOCK_PX, BLOCK_PX))


def inked(changed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Values of `Ink` for changed pixels (H, W), with a rim that is seen on dark ground."""
    pixels = np.where(changed, np.uint8(Ink.CHANGED), np.uint8(Ink.NOTHING))
    pixels[grown(changed) & ~changed] = Ink.CHANGED_RIM
    return pixels
