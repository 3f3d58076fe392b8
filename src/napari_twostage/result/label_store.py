"""Pixels of a result on disk, as a zarr group.

======================  ==========================================================
``coarse/logits``       (K, H, W) float16 on the coarse grid; NaN outside the tissue
``refined``             (H, W) uint8 on the fine grid; a chunk is a tile, and on disk a
                        shard is a coarse window
``edits``               the same for the labels that the user painted
``overview/2`` ...      label pyramid: composed labels with 2, 4, ... fine pixels per pixel,
                        from the ratio up
======================  ==========================================================

Labels finer than the coarse grid are composed when they are read. From the coarse grid up they
are kept, and new ones are buffered in memory for a while (see `label_pyramid`). A chunk is written
to a new file that then replaces the old one, and a refined tile is appended to its shard before
the shard's index names it, so neither a reader nor a crash leaves half a chunk.
"""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_twostage.geometry import Box
from napari_twostage.io.zarr_store import store_at
from napari_twostage.method.resample_labels import thin, upsample
from napari_twostage.method.uncertainty import labels as likeliest
from napari_twostage.result.label_pyramid import LabelPyramid, Thinned, read_box
from napari_twostage.result.layout import UNSET
from napari_twostage.result.zarr_chunks import ChunkFiles, compression

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from napari_twostage.io.paths import Location
    from napari_twostage.method.tiling import Tile, TileGrid
    from napari_twostage.result.layout import Layout

SURE = 16.0
"""Logit of a certain label."""


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
    create : bool
        Make empty arrays; otherwise they must exist.
    """

    def __init__(self, path: Location, layout: Layout, *, create: bool = False) -> None:
        self.layout = layout
        self.lock = RLock()
        """Write lock; hold it to group several writes into one."""
        if create:
            self._create(path)
        group = zarr.open_group(store_at(path), mode="r+")
        self._logits = _array(group, "coarse/logits")
        self._refined = _Plane(_array(group, "refined"), layout.tiles)
        self._edits = _Plane(_array(group, "edits"), layout.tiles)
        levels = {
            step: _array(group, f"overview/{step}")
            for step in layout.steps
            if step >= layout.card.ratio
        }
        self.pyramid = LabelPyramid(levels, layout.card.coarse_core_px, self._thinned, self.lock)

    def _create(self, path: Location) -> None:
        layout, card = self.layout, self.layout.card
        group = zarr.open_group(store_at(path), mode="a")
        core, tile = card.coarse_core_px, card.tile_px
        labels = layout.fine.shape, (tile, tile), "uint8", UNSET
        plan: dict[str, tuple[tuple[int, ...], tuple[int, ...], str, Any]] = {
            "coarse/logits": (
                (card.outputs, *layout.coarse.shape),
                (card.outputs, core, core),
                "float16",
                np.nan,
            ),
            "refined": labels,
            "edits": labels,
        }
        plan |= {
            f"overview/{step}": (layout.level_shapes[level], (core, core), "uint8", 0)
            for level, step in enumerate(layout.steps)
            if step >= card.ratio
        }
        for name, (shape, chunks, dtype, fill) in plan.items():
            options = compression(chunks)
            if name == "refined" and isinstance(path, Path):  # object stores cannot append
                side = core * card.ratio
                options = compression(chunks, shards=(side, side))
            group.create_array(name, shape=shape, dtype=dtype, fill_value=fill, **options)

    # -- writing ------------------------------------------------------------------------------

    def mark_written(
        self, refined: NDArray[np.bool_], edited: NDArray[np.bool_] | None = None
    ) -> None:
        """Mark tiles, (rows, columns), of earlier runs; no others are looked up on disk."""
        self._refined.written |= refined
        if edited is not None:
            self._edits.written |= edited

    def mark_stale(self, tiles: Iterable[Tile], cores: Iterable[Box]) -> None:
        """Mark tiles and windows that the pyramid on disk may lack, as after a killed run."""
        self.pyramid.mark_stale(map(self.layout.tiles.box, tiles))
        self.pyramid.mark_stale(map(self.layout.fine_box, cores))

    def write_window(self, core: Box, logits: NDArray[np.float16]) -> None:
        """Write the logits of a coarse window, and show their labels in the pyramid."""
        place = self.layout.fine_box(core)
        with self.lock:
            self._logits[:, *core.slices] = logits
            self.pyramid.show_window(place, self._thinned(place, likeliest(logits)))

    def write_tile(self, tile: Tile, labels: NDArray[np.uint8]) -> None:
        """Write the refined labels of a tile's full square; pixels beyond the slide are dropped."""
        box, inside = self._inside(tile, labels)
        with self.lock:
            self._refined.write(box, inside)
            self._show_tile(box, inside)

    def write_tiles(self, squares: Mapping[Tile, NDArray[np.uint8]]) -> None:
        """Write several tiles, also while another process writes the same ones."""
        parts = [self._inside(tile, labels) for tile, labels in squares.items()]
        with self.lock:
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

    def write_edits(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Replace the painted labels in a box of the fine grid."""
        size = self.layout.card.tile_px
        whole = box.scaled(1 / size).scaled(size).clip(self.layout.fine.shape)
        with self.lock:
            # whole tiles, so that pixels of an edit that a crash left unrecorded are dropped
            painted = self._edits.read(whole)
            painted[box.shift(-whole.top, -whole.left).slices] = labels
            self._edits.write(whole, painted)
            for tile in self.layout.tiles.touching(box):
                place = self.layout.tiles.box(tile)
                self.pyramid.show(place, self._thinned(place))

    # -- reading ------------------------------------------------------------------------------

    def read_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits (K, height, width) of a box of the coarse grid; NaN where there are none."""
        return np.asarray(self._logits[:, *box.slices], np.float16)

    def read_labels(self, box: Box, level: int = 0) -> NDArray[np.uint8]:
        """Labels of a box of a level: edited, else refined, else the coarse ones."""
        step, ratio = self.layout.steps[level], self.layout.card.ratio
        if step >= ratio:
            return self.pyramid.read(box, step)
        fine = box.scaled(step).clip(self.layout.fine.shape)
        labels = np.full(fine.shape, UNSET, np.uint8)
        self._refined.lay_over(labels, fine)
        self._edits.lay_over(labels, fine)
        missing = labels == UNSET
        if missing.any():
            part = Box.around(missing)
            box = part.shift(fine.top, fine.left)
            logits = upsample(self._known_logits, self.layout.coarse.shape, box, ratio)
            np.copyto(labels[part.slices], likeliest(logits), where=missing[part.slices])
        return thin(labels, step)

    def _known_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits, with certain background where there are none."""
        logits = self.read_logits(box)
        missing = np.isnan(logits)
        if missing.any():
            background = np.zeros((len(logits), 1, 1), np.float16)
            background[0] = -SURE if len(logits) == 1 else SURE
            logits = np.where(missing, background, logits)
        return logits

    def _thinned(self, place: Box, coarse: NDArray[np.uint8] | None = None) -> Thinned:
        """Labels of a tile or a window at every pyramid level; its coarse labels may be given."""
        ratio = self.layout.card.ratio
        if coarse is None:
            coarse = likeliest(self.read_logits(place.scaled(1 / ratio)))
        thinned = {step: thin(coarse, step // ratio) for step in self.pyramid.steps}
        if self._refined.any_in(place) or self._edits.any_in(place):
            over = self._refined.read(place)
            self._edits.lay_over(over, place)
            for step, labels in thinned.items():
                above = thin(over, step)
                thinned[step] = np.where(above == UNSET, labels, above)
        return thinned


class _Plane:
    """Labels over the fine grid, one chunk per tile; chunks that were never written are not read.

    Looking up a missing chunk costs as much as reading one.
    """

    def __init__(self, array: ChunkFiles, tiles: TileGrid) -> None:
        self._array = array
        self._tile_px = tiles.tile_px
        self.written = np.zeros(tiles.shape, bool)

    def write(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Write whole tiles."""
        self._array[box.slices] = labels
        self._mark(box)

    def write_together(self, parts: Collection[tuple[Box, NDArray[np.uint8]]]) -> None:
        """Write whole tiles, which another process may write at the same time."""
        self._array.write_together((box.slices, labels) for box, labels in parts)
        for box, _ in parts:
            self._mark(box)

    def _mark(self, box: Box) -> None:
        # after the pixels: readers may come at any moment
        self.written[box.scaled(1 / self._tile_px).slices] = True

    def any_in(self, box: Box) -> bool:
        """Whether any tile that touches a box was written."""
        return bool(self.written[box.scaled(1 / self._tile_px).slices].any())

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Labels of a box inside the plane; `UNSET` where there are none."""
        labels = np.full(box.shape, UNSET, np.uint8)
        self.lay_over(labels, box)
        return labels

    def lay_over(self, labels: NDArray[np.uint8], box: Box) -> None:
        """Replace the labels of a box by those that were written here."""
        if not box.area:
            return
        cells = box.scaled(1 / self._tile_px)
        written = self.written[cells.slices]
        if not written.any():
            return
        held = Box.around(written).shift(cells.top, cells.left)
        part = held.scaled(self._tile_px).intersect(box)
        over = read_box(self._array, part)
        place = labels[part.shift(-box.top, -box.left).slices]
        np.copyto(place, over, where=over != UNSET)


def _array(group: zarr.Group, name: str) -> ChunkFiles:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return ChunkFiles(array)
