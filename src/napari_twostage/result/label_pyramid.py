"""Label levels from the coarse grid up, kept so that viewing a whole slide reads no logits.

Every window and every tile changes a chunk of each level, and chunks of the coarser levels are
shared by many. So new labels are buffered in memory, laid over whatever is read, and written for
many places at once. The buffer of a killed run is rebuilt from the finer pixels.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import DamagedFileError
from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from threading import RLock

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape
    from napari_twostage.result.zarr_chunks import ChunkFiles

log = logging.getLogger(__name__)

Thinned = dict[int, "NDArray[np.uint8]"]
"""Labels of a place at several levels; the key is fine pixels per pixel."""


class LabelPyramid:
    """Label pyramid of one result; may be called from any thread.

    Places are boxes of the fine grid, inside the slide: those of tiles or of coarse windows.

    Parameters
    ----------
    levels : mapping of int to ChunkFiles
        Arrays by fine pixels per pixel, the finest first. A coarse window has one chunk of the
        finest level to itself.
    chunk_px : int
        Side of a chunk, the same for every level.
    plane : (int, int)
        Rows and columns of the fine grid.
    make : callable
        Computes the labels of a place at every level from the pixels on disk.
    lock : RLock
        Held by every writer of the pixels that `make` reads.
    """

    def __init__(
        self,
        levels: Mapping[int, ChunkFiles],
        chunk_px: int,
        plane: Shape,
        make: Callable[[Box], Thinned],
        lock: RLock,
    ) -> None:
        self._levels = dict(levels)
        self._arrays: dict[int, ChunkFiles | _Patch] = {**levels}
        self._finest = min(levels)
        self._sound = {step: array.all_chunks() for step, array in levels.items()}
        self._there = {step: ~array.all_chunks() for step, array in levels.items()}
        """Chunks that must be on disk, by level."""
        self._chunk_px = chunk_px
        self._plane = plane
        self._make = make
        self._lock = lock
        self._stale_places: set[Box] = set()
        self._buffer: dict[Box, Thinned] = {}
        self.buffered_bytes = 0
        """Bytes buffered in memory, not yet flushed."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Fine pixels per pixel of each level, the finest first."""
        return tuple(self._levels)

    @property
    def stale(self) -> bool:
        """Whether the levels on disk are out of date."""
        return bool(self._stale_places or self._buffer)

    def mark_stale(self, places: Iterable[Box]) -> None:
        """Mark places whose pixels changed without the levels on disk, as in a killed run."""
        self._stale_places.update(places)

    def expect(self, places: Iterable[Box]) -> None:
        """Take chunks that are missing at these places for damage."""
        for place in places:
            for step, there in self._there.items():
                there[place.scaled(1 / (self._chunk_px * step)).slices] = True

    def update(self) -> None:
        """Rebuild stale places into the buffer; reading does it too, in the reader's thread."""
        if self._stale_places:
            with self._lock:
                for place in self._stale_places:  # on top of the buffer, which was on disk before
                    self.show(place, self._make(place))
                self._stale_places.clear()

    def show(self, place: Box, labels: Thinned) -> None:
        """Buffer the labels of a place; the last place shown is on top."""
        self.show_together({place: labels})

    def show_together(self, places: Mapping[Box, Thinned]) -> None:
        """Buffer the labels of several places; a reader sees all of them or none."""
        with self._lock:
            held = self._buffer
            before = sum(_size(held.get(place, {})) for place in places)
            self.buffered_bytes += sum(map(_size, places.values())) - before
            if len(places) == 1 and not held.keys() & places.keys():
                held.update(places)  # one step as well
            else:
                kept = {place: held[place] for place in held if place not in places}
                self._buffer = {**kept, **places}

    def show_window(self, place: Box, labels: Thinned) -> None:
        """Write a coarse window's chunk of the finest level, and buffer its other levels."""
        finest = labels.pop(self._finest)
        with self._lock:
            self._arrays[self._finest][_at(place, self._finest, finest).slices] = finest
            self.show(place, labels)

    def read(self, box: Box, step: int) -> NDArray[np.uint8]:
        """Labels of a box of the level with `step` fine pixels per pixel."""
        self.update()
        # copied before the read: labels flushed meanwhile are in the copy or in the array
        held = list(self._buffer.items())
        try:
            labels = read_box(self._arrays[step], box, self._sound[step], self._there[step])
        except DamagedFileError:
            self._mend(step, box)
            return self.read(box, step)
        for place, thinned in held:
            _paste(labels, box, place, step, thinned)
        return labels

    def damaged(self) -> set[tuple[int, tuple[int, int]]]:
        """Find chunks that are damaged on disk: fine pixels per pixel of the level, and index."""
        return {
            (step, (row, column))
            for step, sound in self._sound.items()
            for row, column in np.ndindex(*sound.shape)
            if not self._is_whole(step, (row, column))
        }

    def _chunk_of(self, place: Box, step: int) -> tuple[int, int]:
        side = self._chunk_px * step
        return place.top // side, place.left // side

    def _is_whole(self, step: int, index: tuple[int, int]) -> bool:
        try:
            chunk = self._levels[step].read_chunk(index)
            if chunk is None and self._there[step][index] and self._is_empty(step, index):
                self._there[step][index] = False  # version 0.1 wrote no empty chunks
        except DamagedFileError as error:
            log.debug("%s", error)
            return False
        return chunk is not None or not self._there[step][index]

    def _is_empty(self, step: int, index: tuple[int, int]) -> bool:
        """Whether a chunk has background only, by the finer pixels."""
        return not any(self._make(place)[step].any() for place in self._places(step, index))

    def _places(self, step: int, index: tuple[int, int]) -> Iterator[Box]:
        """Windows of a chunk of a level, inside the slide."""
        side = self._chunk_px * step
        area = Box.at(index[0] * side, index[1] * side, side, side).clip(self._plane)
        for block in area.blocks(self._chunk_px * self._finest):
            yield block.clip(self._plane)

    def mend(self, chunks: Iterable[tuple[int, tuple[int, int]]]) -> None:
        """Rebuild chunks, named as by `damaged`; `flush` writes them."""
        with self._lock:
            for step, index in chunks:
                self._mend_chunk(step, index)

    def flush(self) -> None:
        """Write the buffer: the levels on disk are up to date."""
        with self._lock:
            self.update()
            for step, array in self._arrays.items():
                for places in self._by_chunk(step):
                    if not self._write(array, step, places):
                        self.flush()  # with what was damaged in the buffer
                        return
            self._forget_buffer()

    def detach(self, box: Box, step: int) -> Thinned:
        """Write only a box from now on, and none of the chunks that other processes share.

        Parameters
        ----------
        box : Box
            Box of the fine grid: whole chunks of every level up to `step`.
        step : int
            Fine pixels per pixel of the coarsest level that may be written.

        Returns
        -------
        dict of int to (height, width) array
            The box at the coarser levels. `flush` updates these arrays; the process that owns
            the shared chunks passes them to `attach`.
        """
        with self._lock:
            self._stale_places.clear()  # stale places are the owner's to rebuild
            self._forget_buffer()
            patches = {
                beyond: _Patch(array, box.scaled(1 / beyond))
                for beyond, array in self._levels.items()
                if beyond > step
            }
            self._arrays = {**self._levels, **patches}
        return {beyond: patch.pixels for beyond, patch in patches.items()}

    def attach(self, box: Box, levels: Thinned) -> None:
        """Write the arrays that `detach` returned, from a process that has finished its box."""
        with self._lock:
            for step, pixels in levels.items():
                self._levels[step][box.scaled(1 / step).slices] = pixels

    def _forget_buffer(self) -> None:
        self._buffer.clear()
        self.buffered_bytes = 0
        for sound in self._sound.values():  # chunks rebuilt in the buffer are written
            sound[:] = True

    def _by_chunk(self, step: int) -> Iterable[list[Box]]:
        """Buffered places of a level, grouped by chunk so that each chunk is written once."""
        groups: defaultdict[tuple[int, int], list[Box]] = defaultdict(list)
        for place, labels in self._buffer.items():
            if step in labels:
                groups[self._chunk_of(place, step)].append(place)
        return groups.values()

    def _write(self, array: ChunkFiles | _Patch, step: int, places: list[Box]) -> bool:
        """Write buffered places of one chunk; False if it was damaged and had to be rebuilt."""
        boxes = [_at(place, step, self._buffer[place][step]) for place in places]
        frame = Box(
            min(box.top for box in boxes),
            min(box.left for box in boxes),
            max(box.bottom for box in boxes),
            max(box.right for box in boxes),
        )
        try:
            pixels = read_box(array, frame, self._sound[step])
        except DamagedFileError:
            self._mend(step, frame)
            return False
        for place in places:
            _paste(pixels, frame, place, step, self._buffer[place])
        array[frame.slices] = pixels
        return True

    def _mend(self, step: int, box: Box) -> None:
        """Rebuild chunks of a level that are damaged on disk, in memory until the next flush."""
        array, side = self._levels[step], self._chunk_px
        with self._lock:
            for chunk in box.scaled(1 / side).scaled(side).blocks(side):
                index = chunk.top // side, chunk.left // side
                if self._sound[step][index] and not self._is_whole(step, index):
                    log.warning("%s is damaged: it is computed again", array.path_of(index))
                    self._mend_chunk(step, index)

    def _mend_chunk(self, step: int, index: tuple[int, int]) -> None:
        """Buffer the labels of a chunk, at its level and the coarser ones."""
        for place in self._places(step, index):
            coarse = {one: labels for one, labels in self._make(place).items() if one >= step}
            self.show(place, {**self._buffer.get(place, {}), **coarse})
        self._sound[step][index] = False


class _Patch:
    """Box of an array, copied into memory, with the indexing of the whole array."""

    def __init__(self, array: ChunkFiles, box: Box) -> None:
        self.pixels = read_box(array, box)
        self._box = box

    def read(self, place: tuple[slice, slice], *_: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
        return self.pixels[self._inside(place)]

    def __setitem__(self, place: tuple[slice, slice], pixels: NDArray[np.uint8]) -> None:
        self.pixels[self._inside(place)] = pixels

    def _inside(self, place: tuple[slice, slice]) -> tuple[slice, slice]:
        rows, columns = place
        top, left = self._box.top, self._box.left
        return slice(rows.start - top, rows.stop - top), slice(
            columns.start - left, columns.stop - left
        )


def read_box(
    array: ChunkFiles | _Patch,
    box: Box,
    sound: NDArray[np.bool_] | None = None,
    there: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Labels of a box of an array, but for chunks that are not sound; a copy.

    Chunks that must be there are damaged where they are not.
    """
    return np.array(array.read(box.slices, sound, there), np.uint8)


def _at(place: Box, step: int, labels: NDArray[np.uint8]) -> Box:
    """Box of a place in a level, as large as its labels."""
    return Box.at(place.top // step, place.left // step, *labels.shape)


def _paste(labels: NDArray[np.uint8], frame: Box, place: Box, step: int, thinned: Thinned) -> None:
    """Paste the labels of a place at a level over those of a frame."""
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
