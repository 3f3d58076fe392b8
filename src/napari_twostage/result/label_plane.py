"""Labels over the fine grid in one array, of which only what is recorded counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.result.layout import UNSET

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_twostage.method.tiling import TileGrid
    from napari_twostage.result.zarr_chunks import ChunkFiles


class LabelPlane:
    """Labels over the fine grid, one chunk per tile; chunks that are not marked are not read.

    A crash may leave chunks that nothing records; they are never shown. Besides, looking up a
    missing chunk costs as much as reading one.

    Parameters
    ----------
    array : ChunkFiles
        Array with a chunk for each tile.
    tiles : TileGrid
        The tiles.
    """

    def __init__(self, array: ChunkFiles, tiles: TileGrid) -> None:
        self.array = array
        self._tiles = tiles
        self.written = np.zeros(tiles.shape, bool)
        """(rows, columns): tiles that count."""

    def write(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Write whole tiles."""
        self.array[box.slices] = labels
        self._mark(box)

    def write_together(self, parts: Collection[tuple[Box, NDArray[np.uint8]]]) -> None:
        """Write whole tiles, which another process may write at the same time."""
        self.array.write_together((box.slices, labels) for box, labels in parts)
        for box, _ in parts:
            self._mark(box)

    def _mark(self, box: Box) -> None:
        # after the pixels: readers may come at any moment
        self.written[self._cells(box).slices] = True

    def any_in(self, box: Box) -> bool:
        """Whether any tile that touches a box is marked."""
        return bool(self.written[self._cells(box).slices].any())

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Labels of a box inside the plane; `UNSET` where there are none."""
        labels = np.full(box.shape, UNSET, np.uint8)
        self.lay_over(labels, box)
        return labels

    def lay_over(self, labels: NDArray[np.uint8], box: Box) -> None:
        """Replace the labels of a box by those that were written here."""
        if not box.area:
            return
        cells = self._cells(box)
        written = self.written[cells.slices]
        if not written.any():
            return
        held = Box.around(written).shift(cells.top, cells.left)
        part = held.scaled(self._tiles.tile_px).intersect(box)
        over = np.asarray(self.array.read(part.slices, self.written, self.written), np.uint8)
        place = labels[part.shift(-box.top, -box.left).slices]
        np.copyto(place, over, where=over != UNSET)

    def _cells(self, box: Box) -> Box:
        return box.scaled(1 / self._tiles.tile_px)


class EditPlane(LabelPlane):
    """Labels that the user painted: those of edits that stand, and no other pixel.

    Parameters
    ----------
    array, tiles
        See `LabelPlane`.
    """

    def __init__(self, array: ChunkFiles, tiles: TileGrid) -> None:
        super().__init__(array, tiles)
        self._shown: tuple[tuple[Box, ...], tuple[tuple[Box, NDArray[np.uint8]], ...]] = (), ()
        self.stored = np.zeros(tiles.shape, bool)
        """(rows, columns): tiles that the array must have."""

    def show(
        self,
        boxes: Iterable[Box],
        waiting: Iterable[tuple[Box, NDArray[np.uint8]]] = (),
        stored: Iterable[Box] = (),
    ) -> None:
        """Show these edits from now on.

        Parameters
        ----------
        boxes : iterable of Box
            Boxes of the edits that stand.
        waiting : iterable of (Box, (height, width) uint8 array)
            Painted labels of boxes that the array may not have yet, the latest last.
        stored : iterable of Box
            Boxes that the array must have.
        """
        boxes, waiting = tuple(boxes), tuple(waiting)
        marked = np.zeros(self._tiles.shape, bool)
        for box in (*boxes, *(box for box, _ in waiting)):
            marked[self._cells(box).slices] = True
        must_be = np.zeros(self._tiles.shape, bool)
        for box in stored:
            must_be[self._cells(box).slices] = True
        self.written, self.stored = marked, must_be
        self._shown = boxes, waiting

    def lay_over(self, labels: NDArray[np.uint8], box: Box) -> None:
        """Replace the labels of a box by those that were painted."""
        if not box.area or not self.any_in(box):
            return
        over = self.read(box)
        np.copyto(labels, over, where=over != UNSET)

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Painted labels of a box inside the plane; `UNSET` elsewhere."""
        boxes, waiting = self._shown
        painted = np.full(box.shape, UNSET, np.uint8)
        if not box.area or not self.any_in(box):
            return painted
        stored = np.asarray(self.array.read(box.slices, self.written, self.stored), np.uint8)
        for one in boxes:
            part = one.intersect(box)
            if part.area:
                place = part.shift(-box.top, -box.left).slices
                painted[place] = stored[place]
        for one, labels in waiting:
            part = one.intersect(box)
            if part.area:
                inside = labels[part.shift(-one.top, -one.left).slices]
                painted[part.shift(-box.top, -box.left).slices] = inside
        return painted
