"""Labels from the coarse grid up, kept so that looking at a whole slide reads no logits.

Every window and every tile changes a chunk of each level, and those of the coarser levels are
shared by many. So what is new there is held in memory, laid over what is read, and written for
many places at once; what a killed run still held is made again from the finer pixels.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from threading import RLock

    from numpy.typing import NDArray

    from napari_twostage.result.zarr_chunks import ChunkFiles

Thinned = dict[int, "NDArray[np.uint8]"]
"""Labels of a place at several levels, by fine pixels per pixel."""


class LabelPyramid:
    """The levels of labels of one result; may be called from any thread.

    Places are boxes of the fine grid: of tiles, or of coarse windows, inside the slide.

    Parameters
    ----------
    levels : mapping of int to ChunkFiles
        By fine pixels per pixel, the finest first; in its chunks a coarse window has one.
    chunk_px : int
        Side of a chunk of every level.
    make : callable
        Gives what every level is to show of a place, from the pixels on disk.
    lock : RLock
        Held by whoever writes what `make` reads.
    """

    def __init__(
        self,
        levels: Mapping[int, ChunkFiles],
        chunk_px: int,
        make: Callable[[Box], Thinned],
        lock: RLock,
    ) -> None:
        self._levels = dict(levels)
        self._arrays: dict[int, ChunkFiles | _Patch] = {**levels}
        self._finest = min(levels)
        self._chunk_px = chunk_px
        self._make = make
        self._lock = lock
        self._lagging: set[Box] = set()
        self._held: dict[Box, Thinned] = {}
        self.buffered_bytes = 0
        """Of what the levels on disk lack and memory holds."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Fine pixels per pixel of each level, the finest first."""
        return tuple(self._levels)

    @property
    def stale(self) -> bool:
        """Whether the levels on disk lag behind what was shown."""
        return bool(self._lagging or self._held)

    def mark_stale(self, places: Iterable[Box]) -> None:
        """Say that these changed without the levels on disk: in a run that was killed, say."""
        self._lagging.update(places)

    def update(self) -> None:
        """Make again what lags, and hold it; reading does it too, in the reader's thread."""
        if self._lagging:
            with self._lock:
                for place in self._lagging:  # on top of what is held, which was on disk before
                    self.show(place, self._make(place))
                self._lagging.clear()

    def show(self, place: Box, labels: Thinned) -> None:
        """Show a place from now on; the last one shown is on top."""
        with self._lock:
            held = self._held
            self.buffered_bytes += _size(labels) - _size(held.get(place, {}))
            if place in held:  # readers are to meet the old labels or the new ones
                held = {other: held[other] for other in held if other != place}
            held[place] = labels
            self._held = held

    def show_window(self, place: Box, labels: Thinned) -> None:
        """Show a coarse window: at the finest level it has a chunk, which is written at once."""
        finest = labels.pop(self._finest)
        with self._lock:
            self._arrays[self._finest][_at(place, self._finest, finest).slices] = finest
            self.show(place, labels)

    def read(self, box: Box, step: int) -> NDArray[np.uint8]:
        """Labels of a box of the level that has so many fine pixels per pixel."""
        self.update()
        # taken before the read: what the level takes in meanwhile is in one of both
        held = list(self._held.items())
        labels = read_box(self._arrays[step], box)
        for place, thinned in held:
            _paste(labels, box, place, step, thinned)
        return labels

    def flush(self) -> None:
        """Bring the levels on disk up to date."""
        with self._lock:
            self.update()
            for step, array in self._arrays.items():
                for places in self._by_chunk(step):
                    self._write(array, step, places)
            self._held.clear()
            self.buffered_bytes = 0

    def detach(self, box: Box, step: int) -> Thinned:
        """Write a box only from now on, and nothing of it to chunks that others share.

        Parameters
        ----------
        box : Box
            Of the fine grid; whole chunks of every level up to `step`.
        step : int
            Fine pixels per pixel of the coarsest level that may be written.

        Returns
        -------
        dict of int to (height, width) array
            The box at the levels beyond: `flush` changes them, for `attach` of whoever owns
            the shared chunks.
        """
        with self._lock:
            self._lagging.clear()  # what others left behind is theirs
            self._held.clear()
            self.buffered_bytes = 0
            patches = {
                beyond: _Patch(array, box.scaled(1 / beyond))
                for beyond, array in self._levels.items()
                if beyond > step
            }
            self._arrays = {**self._levels, **patches}
        return {beyond: patch.pixels for beyond, patch in patches.items()}

    def attach(self, box: Box, levels: Thinned) -> None:
        """Take over what `detach` returned, from a process that is done with the box."""
        with self._lock:
            for step, pixels in levels.items():
                self._levels[step][box.scaled(1 / step).slices] = pixels

    def _by_chunk(self, step: int) -> Iterable[list[Box]]:
        """What is held of a level, by the chunk it is in, to write each chunk once."""
        groups: defaultdict[tuple[int, int], list[Box]] = defaultdict(list)
        side = self._chunk_px * step
        for place, labels in self._held.items():
            if step in labels:
                groups[place.top // side, place.left // side].append(place)
        return groups.values()

    def _write(self, array: ChunkFiles | _Patch, step: int, places: list[Box]) -> None:
        boxes = [_at(place, step, self._held[place][step]) for place in places]
        frame = Box(
            min(box.top for box in boxes),
            min(box.left for box in boxes),
            max(box.bottom for box in boxes),
            max(box.right for box in boxes),
        )
        pixels = read_box(array, frame)
        for place in places:
            _paste(pixels, frame, place, step, self._held[place])
        array[frame.slices] = pixels


class _Patch:
    """A box of an array in memory, read and written as if it were the array."""

    def __init__(self, array: ChunkFiles, box: Box) -> None:
        self.pixels = read_box(array, box)
        self._box = box

    def __getitem__(self, place: tuple[slice, slice]) -> NDArray[np.uint8]:
        return self.pixels[self._inside(place)]

    def __setitem__(self, place: tuple[slice, slice], pixels: NDArray[np.uint8]) -> None:
        self.pixels[self._inside(place)] = pixels

    def _inside(self, place: tuple[slice, slice]) -> tuple[slice, slice]:
        rows, columns = place
        top, left = self._box.top, self._box.left
        return slice(rows.start - top, rows.stop - top), slice(
            columns.start - left, columns.stop - left
        )


def read_box(array: ChunkFiles | _Patch, box: Box) -> NDArray[np.uint8]:
    """A box of an array of labels, for the caller to change."""
    return np.array(array[box.slices], np.uint8)


def _at(place: Box, step: int, labels: NDArray[np.uint8]) -> Box:
    """Where the labels of a place lie in a level."""
    return Box.at(place.top // step, place.left // step, *labels.shape)


def _paste(labels: NDArray[np.uint8], frame: Box, place: Box, step: int, thinned: Thinned) -> None:
    """Lay what a level shows of a place over the labels of a frame."""
    part = thinned.get(step)
    if part is None:
        return
    top, left = place.top // step - frame.top, place.left // step - frame.left
    (height, width), (tall, wide) = labels.shape, part.shape
    if -tall < top < height and -wide < left < width:
        inside = labels[max(top, 0) : top + tall, max(left, 0) : left + wide]
        inside[:] = part[max(-top, 0) : height - top, max(-left, 0) : width - left]


def _size(labels: Thinned) -> int:
    return sum(part.nbytes for part in labels.values())
