"""Lines between touching objects, found in a thread for the blocks of labels on display."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.measure.blocks import read_pixels
from napari_twostage.method.instances import lines_between

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.result.result import Result

    Lines = NDArray[np.bool_]

log = logging.getLogger(__name__)

BlockKey = tuple[int, int, int]
"""Level, row and column of a block."""


class ObjectLines:
    """Finder of the lines between touching objects; call it from one thread.

    Telling objects apart takes some 50 ms a block, which a window must not wait for. The block
    that was asked for last is done first: it is the one that is looked at.

    Parameters
    ----------
    result : Result
        A result that tells objects apart.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._worker = ThreadPoolExecutor(1, "object-lines")
        self._lock = Lock()
        self._waiting: dict[BlockKey, tuple[int, Box]] = {}
        self._asked: dict[BlockKey, int] = {}
        """How often each block was asked for: an answer to an earlier question is of no use."""
        self._found: SimpleQueue[tuple[BlockKey, int, Lines]] = SimpleQueue()

    def ask(self, key: BlockKey, box: Box) -> None:
        """Ask for the lines of a box of the fine grid, as its labels are now."""
        self._asked[key] = number = self._asked.get(key, 0) + 1
        with self._lock:
            self._waiting.pop(key, None)
            self._waiting[key] = number, box
        self._worker.submit(self._find)

    def take(self) -> list[tuple[BlockKey, Lines]]:
        """Lines that were found since the last call, by key: (height, width) masks."""
        taken: list[tuple[BlockKey, Lines]] = []
        while True:
            try:
                key, number, lines = self._found.get_nowait()
            except Empty:
                return taken
            if self._asked[key] == number:
                taken.append((key, lines))

    def close(self) -> None:
        """Drop what was asked for."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _find(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            key, (number, box) = self._waiting.popitem()
        try:
            pixels = read_pixels(self._result, box, self._result.states)
        except (OSError, TwoStageError):  # said where the labels themselves are read
            log.debug("%s: objects in %s are not told apart", self._result.path, box, exc_info=True)
            return
        self._found.put((key, number, lines_between(pixels.labels, pixels.items)))
