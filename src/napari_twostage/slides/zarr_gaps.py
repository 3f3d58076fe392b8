"""Chunks that a coarse level of a zarr pyramid lacks, while finer levels have theirs.

A conversion that was interrupted, or a copy that lost files, leaves such levels. zarr reads a
missing chunk as its fill value, which is right only where the finer levels lack theirs too: writers
leave out chunks of background.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import zarr

    from napari_twostage.geometry import Scale, Shape


class ChunkGaps:
    """Places of the chunks that should be read from a finer level.

    Parameters
    ----------
    folder : Path
        Folder of the group, on this machine: asking a server about every chunk takes too long.
    arrays : sequence of zarr.Array
        One per level, finest first.
    plane : (int, int)
        Axes of rows and columns.
    others : mapping of int to range
        Indices that are read of each other axis.
    factors : sequence of (float, float)
        Level-0 pixels per pixel (y, x) of each level.
    """

    def __init__(
        self,
        folder: Path,
        arrays: Sequence[zarr.Array[Any]],
        plane: tuple[int, int],
        others: Mapping[int, range],
        factors: Sequence[Scale],
    ) -> None:
        self._arrays = arrays
        self._plane = plane
        self._others = others
        self._factors = factors
        self._folders = [folder / array.path for array in arrays]
        self._holds = cache(self._look)

    def within(self, box: Box, level: int) -> Iterator[Box]:
        """Parts of a box of a level whose chunks are missing and whose finer pixels are there."""
        if level == 0:
            return
        rows, columns = self._stored(level)
        for row in range(box.top // rows, -(-box.bottom // rows)):
            for column in range(box.left // columns, -(-box.right // columns)):
                if not all(self._files(level, row, column)) and self._holds(level, row, column):
                    yield Box.at(row * rows, column * columns, rows, columns).intersect(box)

    def _stored(self, level: int) -> Shape:
        """Rows and columns that one file holds."""
        array = self._arrays[level]
        sides = array.shards or array.chunks
        return sides[self._plane[0]], sides[self._plane[1]]

    def _look(self, level: int, row: int, column: int) -> bool:
        """Whether a finer level has a file for pixels of this place of a file."""
        if level == 0:
            return False
        step = [a / b for a, b in zip(self._factors[level], self._factors[level - 1], strict=True)]
        rows, columns = self._stored(level)
        finer_rows, finer_columns = self._stored(level - 1)
        shape = self._arrays[level - 1].shape
        place = Box.at(row * rows, column * columns, rows, columns).scaled((step[0], step[1]))
        place = place.clip((shape[self._plane[0]], shape[self._plane[1]]))
        for y in range(place.top // finer_rows, -(-place.bottom // finer_rows)):
            for x in range(place.left // finer_columns, -(-place.right // finer_columns)):
                if any(self._files(level - 1, y, x)) or self._holds(level - 1, y, x):
                    return True
        return False

    def _files(self, level: int, row: int, column: int) -> Iterator[bool]:
        """Whether each file of a place exists: there may be one for each channel."""
        array = self._arrays[level]
        sides = array.shards or array.chunks
        at = [
            {index // sides[axis] for index in self._others.get(axis, range(1))}
            for axis in range(array.ndim)
        ]
        at[self._plane[0]], at[self._plane[1]] = {row}, {column}
        for key in product(*at):
            yield (self._folders[level] / array.metadata.encode_chunk_key(key)).exists()
