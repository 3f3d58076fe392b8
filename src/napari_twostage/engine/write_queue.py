"""Steps on their way to the disk: another thread writes all that wait, at once."""

from __future__ import annotations

from threading import Condition
from typing import TYPE_CHECKING, TypeAlias

from napari_twostage.method.steps import ChipFailed, ChipRefined, CoarseWindowDone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.result import Result

WrittenStep: TypeAlias = CoarseWindowDone | ChipRefined | ChipFailed

WRITES_AHEAD = 32
"""Steps that may wait for the disk."""
FLUSH_BYTES = 6_000_000
"""Bytes of the label pyramid that may be buffered, about a thousand tiles; readers scan them."""


class WriteQueue:
    """Steps of a run, written in order; one thread puts and takes them.

    Once the thread that writes is free, it takes all steps that wait. Waking a thread for each
    tile, and recording each by itself, would cost as much as writing its pixels.

    Parameters
    ----------
    result : Result
        The run's result.
    thread : ThreadPoolExecutor
        Pool of the one thread that writes.
    """

    def __init__(self, result: Result, thread: ThreadPoolExecutor) -> None:
        self._writer = result.writer
        self._thread = thread
        self._changed = Condition()
        self._waiting: list[WrittenStep] = []
        self._written: list[WrittenStep] = []
        self._count = 0
        """Steps that were put and not taken."""
        self._error: BaseException | None = None

    def put(self, step: WrittenStep) -> None:
        """Have a step written."""
        with self._changed:
            if not self._waiting:  # else the thread is on its way
                self._thread.submit(self._write)
            self._waiting.append(step)
            self._count += 1

    def take(self, patience_s: float) -> Iterator[WrittenStep]:
        """Steps that are written by now, in order; waits if too many are not.

        Parameters
        ----------
        patience_s : float
            Longest time to wait for the first.

        Raises
        ------
        OSError, TwoStageError
            If a step could not be written.
        """
        with self._changed:
            if patience_s and not (self._written or self._error):
                self._changed.wait(patience_s)
            self._changed.wait_for(
                lambda: self._error or self._count - len(self._written) <= WRITES_AHEAD
            )
        yield from self._taken()

    def rest(self) -> Iterator[WrittenStep]:
        """All steps that are left, each once it is written; raises as `take` does."""
        while self._count:
            with self._changed:
                self._changed.wait_for(lambda: self._error or self._written)
            yield from self._taken()

    def _taken(self) -> Iterator[WrittenStep]:
        with self._changed:
            taken, self._written = self._written, []
            self._count -= len(taken)
            if not taken and self._error is not None:
                self._count = 0
                raise self._error
        yield from taken

    def _write(self) -> None:
        with self._changed:
            steps, self._waiting = self._waiting, []
        error = None
        try:
            self._write_all(steps)
        except BaseException as raised:  # noqa: BLE001 - raised in the thread that takes
            error = raised
        with self._changed:
            self._error = self._error or error
            self._written += [] if error else steps
            self._changed.notify_all()

    def _write_all(self, steps: Sequence[WrittenStep]) -> None:
        """Write pixels first, then the events that speak of them."""
        refined: list[Tile] = []
        try:
            for step in steps:
                refined += self._write_one(step)
                if self._writer.buffered_bytes >= FLUSH_BYTES:
                    self._record(refined)
                    self._writer.flush()
        finally:
            self._record(refined)

    def _write_one(self, step: WrittenStep) -> Sequence[Tile]:
        """Write a step; returns the tiles that are refined now, which are still to be recorded."""
        writer = self._writer
        match step:
            case CoarseWindowDone():
                writer.record_window(step.core, *writer.write_window(step))
            case ChipFailed(chip=chip, reason=reason):
                writer.record_failed(chip.tiles, reason)
            case ChipRefined(chip, labels, depth):
                depths = writer.depths(chip.core, depth)
                for tile, square in writer.squares(chip.core, labels).items():
                    writer.write_tile(tile, square, depths.get(tile))
                return chip.tiles
        return ()

    def _record(self, refined: list[Tile]) -> None:
        if refined:
            self._writer.record_refined(refined)
            refined.clear()
