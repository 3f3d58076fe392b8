"""Pixels of a result on disk, as a zarr group.

======================  ==========================================================
``coarse/logits``       (C, H, W) float16 on the coarse grid: K logits, depth inside
                        objects if the model tells them apart, and the gain's logit if
                        it gives one; NaN outside the tissue
``refined``             (H, W) uint8 on the fine grid; a chunk is a tile, and on disk a
                        shard is a coarse window
``depth``               the same for depth inside objects, if the model tells them apart
``edits``               the same for the labels that the user painted
``overview/2`` ...      label pyramid: composed labels with 2, 4, ... fine pixels per pixel,
                        from the ratio up
======================  ==========================================================

Labels finer than the coarse grid are composed when they are read. From the coarse grid up they
are kept, and new ones are buffered in memory for a while (see `label_pyramid`). A chunk is written
to a new file that then replaces the old one, and a refined tile is appended to its shard before
the shard's index names it, so a reader finds no half a chunk. What nothing records is not read.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import DamagedFileError
from napari_twostage.geometry import Box
from napari_twostage.method.resample_labels import thin, upsample
from napari_twostage.method.uncertainty import labels as likeliest
from napari_twostage.result.label_arrays import (
    DEPTH,
    EDITS,
    LOGITS,
    REFINED,
    open_array,
    plan_arrays,
    pyramid_array,
)
from napari_twostage.result.label_plane import EditPlane, LabelPlane
from napari_twostage.result.label_pyramid import LabelPyramid, Thinned
from napari_twostage.result.layout import UNSET
from napari_twostage.result.zarr_chunks import ChunkFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_twostage.io.durable import DirtyFiles
    from napari_twostage.io.paths import Location
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.layout import Layout

STRIP_PX = 64
"""Rows that are upsampled at once: their logits stay in the processor's cache."""
SURE = 16.0
"""Logit of a certain label."""


def sure_background(outputs: int) -> NDArray[np.float16]:
    """Logits of a pixel that is background for certain: (outputs, 1, 1)."""
    logits = np.zeros((outputs, 1, 1), np.float16)
    logits[0] = -SURE if outputs == 1 else SURE
    return logits


class LabelStore:
    """Pixels of one result: written chunk by chunk, composed on reading.

    Every method may be called from any thread. Writers wait for each other, readers never wait;
    every level shows a tile or an edit from the moment that writing it returns.

    Parameters
    ----------
    path : Path or Url
        Folder of the zarr group.
    layout : Layout
        Grids and sizes.
    dirty : DirtyFiles, optional
        Is told of the files that are written, to be synced later.
    """

    def __init__(self, path: Location, layout: Layout, dirty: DirtyFiles | None = None) -> None:
        self.layout = layout
        self.lock = RLock()
        """Write lock; hold it to group several writes into one."""
        self.arrays = {
            name: ChunkFiles(
                open_array(path, name, plan),
                dirty,
                sync=name == EDITS,  # they cannot be computed again
                tagged=True,
                keep_empty=name not in (LOGITS, REFINED, DEPTH),
            )
            for name, plan in plan_arrays(layout, sharded=True).items()
        }
        """Arrays by name."""
        self._windows: NDArray[np.bool_] = np.zeros((1, *layout.window_shape), bool)
        self._there = np.zeros_like(self._windows)
        """Windows whose logits must be on disk."""
        self._refined = LabelPlane(self.arrays[REFINED], layout.tiles)
        self._depth: LabelPlane | None = None
        if DEPTH in self.arrays:
            self._depth = LabelPlane(self.arrays[DEPTH], layout.tiles)
            self._depth.written = self._refined.written  # a tile counts with its labels
        self._edits = EditPlane(self.arrays[EDITS], layout.tiles)
        levels = {
            step: self.arrays[pyramid_array(step)]
            for step in layout.steps
            if step >= layout.card.ratio
        }
        self.pyramid = LabelPyramid(
            levels, layout.card.coarse_core_px, layout.fine.shape, self._thinned, self.lock
        )
        self.version = 0
        """Number of times that edits changed; a read during which it changes may mix both."""

    # -- writing ------------------------------------------------------------------------------

    def mark_written(
        self, refined: NDArray[np.bool_], windows: Iterable[Box], readable: Iterable[Box] = ()
    ) -> None:
        """Mark what is recorded; other marks stay.

        Parameters
        ----------
        refined : (rows, columns) bool array
            Refined tiles.
        windows : iterable of Box
            Cores of windows.
        readable : iterable of Box
            Those of them whose every tile could be read, so that there are logits.
        """
        self._refined.written |= refined
        for core in windows:
            self.mark_window(core)
        for core in readable:
            self._there[0, *self.layout.window_index(core)] = True

    def unmark(self, tiles: Iterable[Tile], windows: Iterable[Box]) -> None:
        """Take back the marks of pixels that are lost, and rebuild what was made of them."""
        for tile in tiles:
            self._refined.written[tile] = False
        for core in windows:
            index = 0, *self.layout.window_index(core)
            self._windows[index] = self._there[index] = False
        self.mark_stale(tiles, windows)

    def mark_window(self, core: Box) -> None:
        """Mark a window that is written."""
        self._windows[0, *self.layout.window_index(core)] = True

    @property
    def windows(self) -> NDArray[np.bool_]:
        """Coarse windows that are written: (rows, columns)."""
        rows: NDArray[np.bool_] = self._windows[0]
        return rows

    def mark_stale(self, tiles: Iterable[Tile], cores: Iterable[Box]) -> None:
        """Mark tiles and windows that the pyramid on disk may lack, as after a killed run."""
        self.pyramid.mark_stale(map(self.layout.tiles.box, tiles))
        self.pyramid.mark_stale(map(self.layout.fine_box, cores))

    @property
    def has_depth(self) -> bool:
        """Whether the model tells touching objects apart."""
        return self._depth is not None

    def write_window(
        self,
        core: Box,
        logits: NDArray[np.float16],
        depth: NDArray[np.uint8] | None = None,
        gain: NDArray[np.float16] | None = None,
    ) -> None:
        """Write what stage 1 gave for a window, and show its labels in the pyramid."""
        place = self.layout.fine_box(core)
        beside = [
            np.where(np.isnan(logits[:1]), np.nan, plane).astype(np.float16)
            for plane in (depth, gain)
            if plane is not None
        ]
        with self.lock:
            self.arrays[LOGITS][:, *core.slices] = np.concatenate([logits, *beside])
            self.mark_window(core)
            self.pyramid.show_window(place, self._thinned(place, likeliest(logits)))

    def write_tile(
        self, tile: Tile, labels: NDArray[np.uint8], depth: NDArray[np.uint8] | None = None
    ) -> None:
        """Write the refined pixels of a tile's full square; those beyond the slide are dropped."""
        box, inside = self._inside(tile, labels)
        with self.lock:
            if depth is not None:  # before the labels, with which it counts
                self.arrays[DEPTH][box.slices] = self._inside(tile, depth)[1]
            self._refined.write(box, inside)
            self._show_tile(box, inside)

    def write_tiles(
        self,
        squares: Mapping[Tile, NDArray[np.uint8]],
        depths: Mapping[Tile, NDArray[np.uint8]] | None = None,
    ) -> None:
        """Write several tiles, also while another process writes the same ones."""
        parts = [self._inside(tile, labels) for tile, labels in squares.items()]
        with self.lock:
            if depths:
                squared = (self._inside(tile, depth) for tile, depth in depths.items())
                self.arrays[DEPTH].write_together((box.slices, depth) for box, depth in squared)
            self._refined.write_together(parts)
            for box, inside in parts:
                self._show_tile(box, inside)

    def _inside(self, tile: Tile, labels: NDArray[np.uint8]) -> tuple[Box, NDArray[np.uint8]]:
        box = self.layout.tiles.box(tile)
        return box, labels[: box.height, : box.width]

    def _show_tile(self, box: Box, refined: NDArray[np.uint8]) -> None:
        shown = refined.copy()
        self._edits.lay_over(shown, box)
        self.pyramid.show(box, {step: thin(shown, step) for step in self.pyramid.steps})

    def read_edits(self, box: Box) -> NDArray[np.uint8]:
        """Labels that the user painted; `UNSET` elsewhere."""
        return self._edits.read(box)

    def show_edits(
        self,
        boxes: Iterable[Box],
        waiting: Iterable[tuple[Box, NDArray[np.uint8]]],
        stored: Iterable[Box] = (),
    ) -> None:
        """Show these edits from now on; see `EditPlane.show`."""
        with self.lock:
            self._edits.show(boxes, waiting, stored)
            self.version += 1  # after it: a read that began before sees the change

    def store_edit(self, box: Box) -> None:
        """Write the painted labels of a box, as they are shown, to the array and the pyramid."""
        size = self.layout.card.tile_px
        whole = box.scaled(1 / size).scaled(size).clip(self.layout.fine.shape)
        with self.lock:
            self.arrays[EDITS][whole.slices] = self._edits.read(whole)
            places = map(self.layout.tiles.box, self.layout.tiles.touching(box))
            self.pyramid.show_together({place: self._thinned(place) for place in places})

    def remove_empty_edits(self, box: Box) -> None:
        """Remove the painted tiles that touch a box and that no edit touches any more."""
        with self.lock:
            for tile in self.layout.tiles.touching(box):
                if not self._edits.any_in(self.layout.tiles.box(tile)):
                    self.arrays[EDITS].remove_chunk(tile)

    def is_whole(self, name: str, index: tuple[int, ...], *, must_be: bool) -> bool:
        """Whether a chunk of an array can be read; `must_be` if a missing one is damage."""
        try:
            return self.arrays[name].read_chunk(index) is not None or not must_be
        except DamagedFileError:
            return False

    # -- reading ------------------------------------------------------------------------------

    def read_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits (K, height, width) of a box of the coarse grid; NaN where there are none."""
        return self._read_coarse(slice(0, self.layout.card.outputs), box)

    def read_gain(self, box: Box) -> NDArray[np.float16]:
        """Logits (height, width) of what refinement corrects, for a model with that output."""
        card = self.layout.card
        planes = self._read_coarse(slice(card.channels, card.coarse_channels), box)
        return np.asarray(planes[0])

    def _read_coarse(self, channels: slice, box: Box) -> NDArray[np.float16]:
        place = channels, *box.slices
        return np.asarray(self.arrays[LOGITS].read(place, self._windows, self._there), np.float16)

    def read_depth(self, box: Box, *, refined: bool = True) -> NDArray[np.uint8]:
        """Depth inside objects of a box of the fine grid: refined, else upsampled; 0 if unknown.

        `refined` as for `read_labels`.

        Raises
        ------
        ValueError
            If the model tells no objects apart; see `has_depth`.
        """
        if self._depth is None:
            raise ValueError("the model tells no objects apart, so there is no depth")
        depth = np.full(box.shape, UNSET, np.uint8)
        if refined:
            self._depth.lay_over(depth, box)
        missing = depth == UNSET
        if missing.any():
            part = Box.around(missing)
            coarse = self._coarse_depth(part.shift(box.top, box.left))
            np.copyto(depth[part.slices], coarse, where=missing[part.slices])
        return depth

    def _coarse_depth(self, box: Box) -> NDArray[np.uint8]:
        card, shape = self.layout.card, self.layout.coarse.shape
        channel = slice(card.outputs, card.channels)

        def read(part: Box) -> NDArray[np.float16]:
            return np.nan_to_num(self._read_coarse(channel, part))

        depth: NDArray[np.uint8] = np.rint(upsample(read, shape, box, card.ratio)[0])
        return depth.astype(np.uint8)

    def read_labels(self, box: Box, level: int = 0, *, refined: bool = True) -> NDArray[np.uint8]:
        """Labels of a box of a level: edited, else refined, else the coarse ones.

        With `refined` False they are as if no tile had been refined.
        """
        step, ratio = self.layout.steps[level], self.layout.card.ratio
        if step >= ratio:
            kept = self.pyramid.read(box, step)
            return kept if refined else self._coarse_again(kept, box, step)
        fine = box.scaled(step).clip(self.layout.fine.shape)
        if not ((refined and self._refined.any_in(fine)) or self._edits.any_in(fine)):
            return thin(self._coarse_labels(fine), step)
        labels = np.full(fine.shape, UNSET, np.uint8)
        if refined:
            self._refined.lay_over(labels, fine)
        self._edits.lay_over(labels, fine)
        missing = labels == UNSET
        if missing.any():
            part = Box.around(missing)
            coarse = self._coarse_labels(part.shift(fine.top, fine.left))
            np.copyto(labels[part.slices], coarse, where=missing[part.slices])
        return thin(labels, step)

    def _coarse_again(self, labels: NDArray[np.uint8], box: Box, step: int) -> NDArray[np.uint8]:
        """Labels of a box of a pyramid level, the windows with refined tiles made from logits."""
        side = self.layout.card.coarse_core_px * self.layout.card.ratio
        fine = box.scaled(step).clip(self.layout.fine.shape)
        for window in fine.scaled(1 / side).scaled(side).blocks(side):
            place = window.clip(self.layout.fine.shape)
            if self._refined.any_in(place):
                coarse = self._thinned(place, refined=False)[step]
                own = Box.at(place.top // step, place.left // step, *coarse.shape)
                part = own.intersect(box)
                inside = coarse[part.shift(-own.top, -own.left).slices]
                labels[part.shift(-box.top, -box.left).slices] = inside
        return labels

    def _coarse_labels(self, box: Box) -> NDArray[np.uint8]:
        """Upsampled labels of stage 1 of a box of the fine grid."""
        shape, ratio = self.layout.coarse.shape, self.layout.card.ratio
        near = box.scaled(1 / ratio).grow(1).clip(shape)
        logits = self._known_logits(near)

        def read(part: Box) -> NDArray[np.float16]:
            return logits[:, *part.shift(-near.top, -near.left).slices]

        labels = np.empty(box.shape, np.uint8)
        for strip in box.blocks((STRIP_PX, box.right)):
            place = strip.shift(-box.top, -box.left).slices
            labels[place] = likeliest(upsample(read, shape, strip, ratio))
        return labels

    def _known_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits, with certain background where there are none."""
        logits = self.read_logits(box)
        missing = np.isnan(logits)
        if missing.any():
            logits = np.where(missing, sure_background(len(logits)), logits)
        return logits

    def _thinned(
        self, place: Box, coarse: NDArray[np.uint8] | None = None, *, refined: bool = True
    ) -> Thinned:
        """Labels of a tile or a window at every pyramid level; its coarse labels may be given."""
        ratio = self.layout.card.ratio
        if coarse is None:
            coarse = likeliest(self.read_logits(place.scaled(1 / ratio)))
        thinned = {step: thin(coarse, step // ratio) for step in self.pyramid.steps}
        refined = refined and self._refined.any_in(place)
        if refined or self._edits.any_in(place):
            over = self._refined.read(place) if refined else np.full(place.shape, UNSET, np.uint8)
            self._edits.lay_over(over, place)
            for step, labels in thinned.items():
                above = thin(over, step)
                thinned[step] = np.where(above == UNSET, labels, above)
        return thinned
