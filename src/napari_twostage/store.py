"""The pixels of a result on disk, as a zarr group.

======================  ==========================================================
``coarse/logits``       (K, H, W) float16 on the coarse grid; NaN outside the tissue
``refined``             (H, W) uint8 on the fine grid; a chunk is a tile, in a folder a
                        shard a coarse window
``edits``               the same, what the user painted
``overview/2`` ...      composed labels, 2, 4, ... fine pixels a pixel, from the ratio up
======================  ==========================================================

Labels finer than the coarse grid are composed when they are read. From the coarse grid up they
are kept, so that looking at a whole slide does not read all of its logits. Writing these for every
tile would write each of their chunks many times, so what is new is held in memory, thinned, and
laid over what is read until `Store.refresh_overview` writes it. A chunk is written to a new file
that then takes the old one's place, and a refined tile is appended to its shard before the shard's
index names it, so a reader or a crash never meets half a chunk.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_twostage.chunks import ChunkFiles, compression
from napari_twostage.compose import thin, upsample
from napari_twostage.geometry import Box
from napari_twostage.layout import UNSET
from napari_twostage.uncertainty import labels as likeliest
from napari_twostage.zarr_store import store_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from napari_twostage.layout import Layout
    from napari_twostage.location import Location
    from napari_twostage.tiling import Tile, TileGrid

SURE = 16.0
"""A logit that leaves no doubt."""
Thinned = dict[int, "NDArray[np.uint8]"]
"""Labels of a tile at each level of the overview, by fine pixels per pixel."""


class Store:
    """Pixels of one result: written chunk by chunk, composed on reading.

    Everything may be called from any thread. Writers wait for each other, readers for nobody;
    every level shows a tile or an edit from the moment that writing it returns.

    Parameters
    ----------
    path : Path or Url
        Folder of the zarr group.
    layout : Layout
        Grids and sizes.
    create : bool
        Make the arrays, empty; else they must be there.
    """

    def __init__(self, path: Location, layout: Layout, *, create: bool = False) -> None:
        self.layout = layout
        self.lock = RLock()
        """Held round everything that writes; hold it to make several writes one."""
        self._stale: set[Tile] = set()
        self._pending: dict[Tile, Thinned] = {}
        if create:
            self._create(path)
        group = zarr.open_group(store_at(path), mode="r+")
        self._logits = _array(group, "coarse/logits")
        self._refined = _Plane(_array(group, "refined"), layout.tiles)
        self._edits = _Plane(_array(group, "edits"), layout.tiles)
        self._levels = {
            step: _array(group, f"overview/{step}")
            for step in layout.steps
            if step >= layout.card.ratio
        }
        self._overview: dict[int, ChunkFiles | _Patch] = {**self._levels}

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
            if name == "refined" and isinstance(path, Path):  # an object cannot be appended to
                side = core * card.ratio
                options = compression(chunks, shards=(side, side))
            group.create_array(name, shape=shape, dtype=dtype, fill_value=fill, **options)

    # -- writing ------------------------------------------------------------------------------

    def mark_written(self, refined: NDArray[np.bool_], edited: NDArray[np.bool_]) -> None:
        """Say which tiles, (rows, columns), were written before: of others nothing is read."""
        self._refined.written |= refined
        self._edits.written |= edited

    def write_window(self, core: Box, logits: NDArray[np.float16]) -> None:
        """Keep the logits of a coarse window, and show their labels in the overview."""
        ratio, tile_px = self.layout.card.ratio, self.layout.card.tile_px
        with self.lock:
            self._logits[:, *core.slices] = logits
            labels = likeliest(logits)
            covered = {  # edits are there before the coarse pass is done, say
                tile: self._thin_tile(tile)
                for tile in self.layout.tiles.touching(core.scaled(ratio))
                if self._refined.written[tile] or self._edits.written[tile]
            }
            for step, array in self._overview.items():
                part = thin(labels, step // ratio)
                box = Box.at(core.top * ratio // step, core.left * ratio // step, *part.shape)
                for tile, thinned in covered.items():
                    _paste(part, box, thinned[step], tile, tile_px // step)
                array[box.slices] = part

    def write_tile(self, tile: Tile, labels: NDArray[np.uint8]) -> None:
        """Keep the refined labels of a tile: its full square, what is beyond the slide unused."""
        box, inside = self._inside(tile, labels)
        with self.lock:
            self._refined.write(box, inside)
            self._show_tile(tile, box, inside)

    def write_tiles(self, squares: Mapping[Tile, NDArray[np.uint8]]) -> None:
        """Keep those of several tiles, also while another process writes the same ones."""
        parts = {tile: self._inside(tile, labels) for tile, labels in squares.items()}
        with self.lock:
            self._refined.write_together(parts.values())
            for tile, (box, inside) in parts.items():
                self._show_tile(tile, box, inside)

    def _inside(self, tile: Tile, labels: NDArray[np.uint8]) -> tuple[Box, NDArray[np.uint8]]:
        box = self.layout.tiles.box(tile)
        return box, labels[: box.height, : box.width]

    def _show_tile(self, tile: Tile, box: Box, refined: NDArray[np.uint8]) -> None:
        shown = refined.copy()
        self._edits.lay_over(shown, box)
        self._pending[tile] = {step: thin(shown, step) for step in self._overview}

    def read_edits(self, box: Box) -> NDArray[np.uint8]:
        """What the user painted; `UNSET` where nothing."""
        return self._edits.read(box)

    def write_edits(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Replace what the user painted in a box of the fine grid."""
        size = self.layout.card.tile_px
        whole = box.scaled(1 / size).scaled(size).clip(self.layout.fine.shape)
        with self.lock:
            # whole tiles, so that what a crash left in one that was never recorded goes
            painted = self._edits.read(whole)
            painted[box.shift(-whole.top, -whole.left).slices] = labels
            self._edits.write(whole, painted)
            for tile in self.layout.tiles.touching(box):
                self._pending[tile] = self._thin_tile(tile)

    # -- one of several processes -------------------------------------------------------------

    def set_aside(self, box: Box, step: int) -> dict[int, NDArray[np.uint8]]:
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
            The box at the levels beyond, by fine pixels per pixel: they change as the box is
            written, for `put_aside` of whoever owns the shared chunks.
        """
        with self.lock:
            self._stale.clear()  # what others left behind is theirs
            self._pending.clear()
            patches = {
                beyond: _Patch(array, box.scaled(1 / beyond))
                for beyond, array in self._levels.items()
                if beyond > step
            }
            self._overview = {**self._levels, **patches}
        return {beyond: patch.pixels for beyond, patch in patches.items()}

    def put_aside(self, box: Box, levels: dict[int, NDArray[np.uint8]]) -> None:
        """Take over what `set_aside` returned, from a process that is done with the box."""
        with self.lock:
            for step, pixels in levels.items():
                self._levels[step][box.scaled(1 / step).slices] = pixels

    # -- reading ------------------------------------------------------------------------------

    def read_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits (K, height, width) of a box of the coarse grid; NaN where there are none."""
        return np.asarray(self._logits[:, *box.slices], np.float16)

    def read_labels(self, box: Box, level: int = 0) -> NDArray[np.uint8]:
        """Labels of a box of a level: edited, else refined, else the coarse ones."""
        step, ratio = self.layout.steps[level], self.layout.card.ratio
        if step >= ratio:
            return self._read_overview(box, step)
        fine = box.scaled(step).clip(self.layout.fine.shape)
        labels = np.full(fine.shape, UNSET, np.uint8)
        self._refined.lay_over(labels, fine)
        self._edits.lay_over(labels, fine)
        missing = labels == UNSET
        if missing.any():
            part = _bounds(missing)
            box = part.shift(fine.top, fine.left)
            logits = upsample(self._known_logits, self.layout.coarse.shape, box, ratio)
            np.copyto(labels[part.slices], likeliest(logits), where=missing[part.slices])
        return thin(labels, step)

    def _read_overview(self, box: Box, step: int) -> NDArray[np.uint8]:
        # taken before the read: a tile that the overview takes in meanwhile is in one of both
        pending = list(self._pending.items())
        labels = _read(self._overview[step], box)
        side = self.layout.card.tile_px // step
        for tile, thinned in pending:
            _paste(labels, box, thinned[step], tile, side)
        return labels

    def _known_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits with a sure background where there are none."""
        logits = self.read_logits(box)
        missing = np.isnan(logits)
        if missing.any():
            background = np.zeros((len(logits), 1, 1), np.float16)
            background[0] = -SURE if len(logits) == 1 else SURE
            logits = np.where(missing, background, logits)
        return logits

    # -- the overview -------------------------------------------------------------------------

    @property
    def stale(self) -> bool:
        """Whether the overview on disk lags behind what was written."""
        return bool(self._stale or self._pending)

    @property
    def n_pending(self) -> int:
        """Tiles that the overview on disk lacks, and that are held in memory for readers."""
        return len(self._pending)

    def mark_stale(self, tiles: Iterable[Tile]) -> None:
        """Say that these tiles changed without the overview: in a run that was killed, say."""
        self._stale.update(tiles)

    def refresh_overview(self) -> None:
        """Bring the overview on disk up to date with refined tiles and edits."""
        with self.lock:
            left = {tile: self._thin_tile(tile) for tile in self._stale - self._pending.keys()}
            left |= self._pending
            for step, array in self._overview.items():
                side = self.layout.card.tile_px // step
                for tiles in _by_chunk(left, self.layout.card.coarse_core_px // side):
                    self._write_thinned(array, step, {tile: left[tile] for tile in tiles})
            self._stale.clear()
            self._pending.clear()

    def _write_thinned(
        self, array: ChunkFiles | _Patch, step: int, tiles: dict[Tile, Thinned]
    ) -> None:
        boxes = [self.layout.tiles.box(tile).scaled(1 / step) for tile in tiles]
        frame = Box(
            min(box.top for box in boxes),
            min(box.left for box in boxes),
            max(box.bottom for box in boxes),
            max(box.right for box in boxes),
        )
        pixels = _read(array, frame)
        for tile, thinned in tiles.items():
            _paste(pixels, frame, thinned[step], tile, self.layout.card.tile_px // step)
        array[frame.slices] = pixels

    def _thin_tile(self, tile: Tile) -> Thinned:
        """A tile's labels at each level of the overview."""
        box, ratio = self.layout.tiles.box(tile), self.layout.card.ratio
        over = self._refined.read(box)
        self._edits.lay_over(over, box)
        under = likeliest(self.read_logits(self.layout.coarse_box(tile)))
        thinned = {}
        for step in self._overview:
            labels, above = thin(under, step // ratio), thin(over, step)
            thinned[step] = np.where(above == UNSET, labels, above)
        return thinned


class _Plane:
    """Labels over the fine grid, a chunk a tile; never reads where nothing was written.

    Asking for a chunk that is not there costs as much as reading one.
    """

    def __init__(self, array: ChunkFiles, tiles: TileGrid) -> None:
        self._array = array
        self._tile_px = tiles.tile_px
        self.written = np.zeros(tiles.shape, bool)

    def write(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Keep whole tiles."""
        self._array[box.slices] = labels
        self._mark(box)

    def write_together(self, parts: Collection[tuple[Box, NDArray[np.uint8]]]) -> None:
        """Keep whole tiles, which another process may write at the same time."""
        self._array.write_together((box.slices, labels) for box, labels in parts)
        for box, _ in parts:
            self._mark(box)

    def _mark(self, box: Box) -> None:
        # only after the pixels: a reader may ask at any moment
        self.written[box.scaled(1 / self._tile_px).slices] = True

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Labels of a box inside the plane; `UNSET` where there are none."""
        labels = np.full(box.shape, UNSET, np.uint8)
        self.lay_over(labels, box)
        return labels

    def lay_over(self, labels: NDArray[np.uint8], box: Box) -> None:
        """Replace the labels of a box where there are any here."""
        if not box.area:
            return
        cells = box.scaled(1 / self._tile_px)
        written = self.written[cells.slices]
        if not written.any():
            return
        held = _bounds(written).shift(cells.top, cells.left)
        part = held.scaled(self._tile_px).intersect(box)
        over = _read(self._array, part)
        place = labels[part.shift(-box.top, -box.left).slices]
        np.copyto(place, over, where=over != UNSET)


class _Patch:
    """A box of an array in memory, read and written as if it were the array."""

    def __init__(self, array: ChunkFiles, box: Box) -> None:
        self.pixels = _read(array, box)
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


def _bounds(mask: NDArray[np.bool_]) -> Box:
    """The smallest box round what is True in a mask; there must be some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _paste(
    labels: NDArray[np.uint8], box: Box, part: NDArray[np.uint8], tile: Tile, side: int
) -> None:
    """Lay a thinned tile, `side` pixels long unless the edge cuts it, over labels of a box."""
    height, width = labels.shape
    top, left = tile[0] * side - box.top, tile[1] * side - box.left
    if -side < top < height and -side < left < width:
        place = labels[max(top, 0) : top + side, max(left, 0) : left + side]
        place[:] = part[max(-top, 0) : height - top, max(-left, 0) : width - left]


def _by_chunk(tiles: Iterable[Tile], per_chunk: int) -> Iterable[list[Tile]]:
    """Group tiles by the chunk of the overview they are in, to write each chunk once."""
    groups: defaultdict[Tile, list[Tile]] = defaultdict(list)
    for row, column in sorted(tiles):
        groups[row // per_chunk, column // per_chunk].append((row, column))
    return groups.values()


def _array(group: zarr.Group, name: str) -> ChunkFiles:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return ChunkFiles(array)


def _read(array: ChunkFiles | _Patch, box: Box) -> NDArray[np.uint8]:
    return np.array(array[box.slices], np.uint8)
