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
            labels = read_box(self._arrays[step], box, self._sound[step])
        except DamagedFileError:
            self._mend(step, box)
            return self.read(box, step)
        for place, thinned in held:
            _paste(labels, box, place, step, thinned)
        return labels

    def damaged(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Chunks that are damaged on disk: fine pixels per pixel of the level, and index."""
        for step, array in self._levels.items():
            for row, column in np.ndindex(*self._sound[step].shape):
                try:
                    array.read_chunk((row, column))
                except DamagedFileError:
                    yield step, (row, column)

    def mend(self, step: int) -> None:
        """Rebuild the chunks of a level that are damaged on disk; `flush` writes them."""
        height, width = self._plane
        self._mend(step, Box(0, 0, -(-height // step), -(-width // step)))

    def flush(self) -> None:
        """Write the buffer: the levels on disk are up to date."""
        with self._lock:
            self.update()
            for step, array in self._arrays.items():
                for chunk, places in self._by_chunk(step).items():
                    try:
                        self._write(array, step, places)
                    except DamagedFileError:  # as a power cut leaves it
                        self._mend(step, Box.at(*chunk, 1, 1).scaled(self._chunk_px))
                        self._write(array, step, self._by_chunk(step)[chunk])
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

    def _by_chunk(self, step: int) -> dict[tuple[int, int], list[Box]]:
        """Buffered places of a level by the chunk they are in: each chunk is written once."""
        groups: defaultdict[tuple[int, int], list[Box]] = defaultdict(list)
        side = self._chunk_px * step
        for place, labels in self._buffer.items():
            if step in labels:
                groups[place.top // side, place.left // side].append(place)
        return groups

    def _write(self, array: ChunkFiles | _Patch, step: int, places: list[Box]) -> None:
        boxes = [_at(place, step, self._buffer[place][step]) for place in places]
        frame = Box(
            min(box.top for box in boxes),
            min(box.left for box in boxes),
            max(box.bottom for box in boxes),
            max(box.right for box in boxes),
        )
        pixels = read_box(array, frame, self._sound[step])
        for place in places:
            _paste(pixels, frame, place, step, self._buffer[place])
        array[frame.slices] = pixels

    def _mend(self, step: int, box: Box) -> None:
        """Rebuild chunks of a level that are damaged on disk, in memory until the next flush."""
        array, side = self._levels[step], self._chunk_px
        with self._lock:
            for chunk in box.scaled(1 / side).scaled(side).blocks(side):
                index = chunk.top // side, chunk.left // side
                try:
                    array.read_chunk(index)
                except DamagedFileError as error:
                    log.warning("%s is damaged: it is computed again", error.path)
                    self._rebuild(step, chunk.scaled(step))
                    self._sound[step][index] = False

    def _rebuild(self, step: int, area: Box) -> None:
        """Buffer an area of the fine grid at a level and the coarser ones, window by window."""
        for block in area.clip(self._plane).blocks(self._chunk_px * self._finest):
            place = block.clip(self._plane)
            coarse = {one: labels for one, labels in self._make(place).items() if one >= step}
            self.show(place, {**self._buffer.get(place, {}), **coarse})


class _Patch:
    """Box of an array, copied into memory, with the indexing of the whole array."""

    def __init__(self, array: ChunkFiles, box: Box) -> None:
        self.pixels = read_box(array, box)
        self._box = box

    def read(
        self, place: tuple[slice, slice], _held: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint8]:
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
    array: ChunkFiles | _Patch, box: Box, sound: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Labels of a box of an array, but for chunks that are not sound; a copy."""
    return np.array(array.read(box.slices, sound), np.uint8)


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
