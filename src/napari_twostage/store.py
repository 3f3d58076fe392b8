"""The pixels of a result on disk, as a zarr group.

======================  ==========================================================
``coarse/logits``       (K, H, W) float16 on the coarse grid; NaN outside the tissue
``refined``             (H, W) uint8 on the fine grid; a chunk is a tile
``edits``               the same, what the user painted
``overview/2`` ...      composed labels, 2, 4, ... fine pixels a pixel, from the ratio up
======================  ==========================================================

Labels finer than the coarse grid are composed when they are read. From the coarse grid up they
are kept, so that looking at a whole slide does not read all of its logits. A chunk is written to
a new file that then takes the old one's place, so a reader or a crash never meets half a chunk.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from napari_twostage.compose import thin, upsample
from napari_twostage.geometry import Box
from napari_twostage.uncertainty import labels as likeliest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid, Shape
    from napari_twostage.models.card import ModelCard
    from napari_twostage.tiling import Tile, TileGrid

UNSET = 255
"""In ``refined`` and ``edits``: nothing here."""
SURE = 16.0
"""A logit that leaves no doubt."""
SMALL_PX = 512
"""Levels are added until both sides are at most this, or a tile is one pixel."""


@dataclass(frozen=True)
class Layout:
    """What follows from the slide's grid and the model's card."""

    fine: Grid
    card: ModelCard
    tiles: TileGrid

    @cached_property
    def coarse(self) -> Grid:
        """The grid of stage 1."""
        return self.fine.coarser(self.card.ratio)

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Fine pixels per pixel of each level of labels: 1, 2, 4, ..."""
        steps = [1]
        while max(self.fine.shape) > SMALL_PX * steps[-1] and not self.card.tile_px % (
            2 * steps[-1]
        ):
            steps.append(2 * steps[-1])
        # the overview starts at the coarse grid, so that grid is always there
        while steps[-1] < self.card.ratio:
            steps.append(2 * steps[-1])
        return tuple(steps)

    @property
    def level_shapes(self) -> list[Shape]:
        """Rows and columns of each level of labels."""
        return [self.fine.coarser(step).shape for step in self.steps]

    def coarse_box(self, tile: Tile) -> Box:
        """The coarse pixels of a tile, inside the slide."""
        size = self.card.coarse_tile_px
        return Box.at(tile[0] * size, tile[1] * size, size, size).clip(self.coarse.shape)


class Store:
    """Pixels of one result: written chunk by chunk, composed on reading.

    Writing is for one thread at a time; reading is for any.

    Parameters
    ----------
    path : Path
        Folder of the zarr group.
    layout : Layout
        Grids and sizes.
    create : bool
        Make the arrays, empty; else they must be there.
    """

    def __init__(self, path: Path, layout: Layout, *, create: bool = False) -> None:
        self.layout = layout
        self._stale: set[Tile] = set()
        if create:
            self._create(path)
        group = zarr.open_group(path, mode="r+")
        self._logits = _array(group, "coarse/logits")
        self._refined = _array(group, "refined")
        self._edits = _array(group, "edits")
        self._overview = {
            step: _array(group, f"overview/{step}")
            for step in layout.steps
            if step >= layout.card.ratio
        }

    def _create(self, path: Path) -> None:
        layout, card = self.layout, self.layout.card
        group = zarr.open_group(path, mode="a")
        core, tile = card.coarse_core_px, card.tile_px
        plan: list[tuple[str, tuple[int, ...], tuple[int, ...], str, Any]] = [
            (
                "coarse/logits",
                (card.outputs, *layout.coarse.shape),
                (card.outputs, core, core),
                "float16",
                np.nan,
            ),
            ("refined", layout.fine.shape, (tile, tile), "uint8", UNSET),
            ("edits", layout.fine.shape, (tile, tile), "uint8", UNSET),
        ]
        plan += [
            (f"overview/{step}", layout.level_shapes[level], (core, core), "uint8", 0)
            for level, step in enumerate(layout.steps)
            if step >= card.ratio
        ]
        for name, shape, chunks, dtype, fill in plan:
            group.create_array(
                name,
                shape=shape,
                chunks=chunks,
                dtype=dtype,
                fill_value=fill,
                compressors=ZstdCodec(level=1),
            )

    def write_window(self, core: Box, logits: NDArray[np.float16]) -> None:
        """Keep the logits of a coarse window, and show their labels in the overview."""
        self._logits[:, *core.slices] = logits
        labels = likeliest(logits)
        for step, array in self._overview.items():
            factor = step // self.layout.card.ratio
            part = thin(labels, factor)
            array[Box.at(core.top // factor, core.left // factor, *part.shape).slices] = part

    def write_tile(self, tile: Tile, labels: NDArray[np.uint8]) -> None:
        """Keep the refined labels of a tile: its full square, what is beyond the slide unused."""
        box = self.layout.tiles.box(tile)
        self._refined[box.slices] = labels[: box.height, : box.width]
        self._stale.add(tile)

    def read_edits(self, box: Box) -> NDArray[np.uint8]:
        """What the user painted; `UNSET` where nothing."""
        return _read(self._edits, box)

    def write_edits(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Replace what the user painted in a box of the fine grid."""
        self._edits[box.slices] = labels
        self._stale.update(self.layout.tiles.touching(box))

    def read_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits (K, height, width) of a box of the coarse grid; NaN where there are none."""
        return np.asarray(self._logits[:, *box.slices], np.float16)

    def read_labels(self, box: Box, level: int = 0) -> NDArray[np.uint8]:
        """Labels of a box of a level: edited, else refined, else the coarse ones."""
        step, ratio = self.layout.steps[level], self.layout.card.ratio
        if step >= ratio:
            return _read(self._overview[step], box)
        shape = self.layout.fine.shape
        fine = box.scaled(step).clip(shape)
        logits = upsample(self._known_logits, self.layout.coarse.shape, fine, ratio)
        labels = self._overlay(likeliest(logits), fine)
        return thin(labels, step)

    def _overlay(self, labels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        for array in (self._refined, self._edits):
            over = _read(array, box)
            np.copyto(labels, over, where=over != UNSET)
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

    @property
    def stale(self) -> bool:
        """Whether the overview lags behind what was written."""
        return bool(self._stale)

    def mark_stale(self, tiles: Iterable[Tile]) -> None:
        """Say that these tiles changed without the overview: in a run that was killed, say."""
        self._stale.update(tiles)

    def refresh_overview(self) -> None:
        """Bring the overview up to date with refined tiles and edits."""
        for step, array in self._overview.items():
            side = self.layout.card.tile_px // step
            for group in self._by_chunk(array, side):
                self._paste(array, step, group)
        self._stale.clear()

    def _by_chunk(self, array: zarr.Array[Any], side: int) -> Iterable[list[Tile]]:
        """Group stale tiles by the chunk their first pixel is in, to write each chunk once."""
        groups: defaultdict[Tile, list[Tile]] = defaultdict(list)
        chunk = array.chunks[0]
        for row, column in sorted(self._stale):
            groups[row * side // chunk, column * side // chunk].append((row, column))
        return groups.values()

    def _paste(self, array: zarr.Array[Any], step: int, tiles: list[Tile]) -> None:
        boxes = [self.layout.tiles.box(tile).scaled(1 / step) for tile in tiles]
        frame = Box(
            min(box.top for box in boxes),
            min(box.left for box in boxes),
            max(box.bottom for box in boxes),
            max(box.right for box in boxes),
        )
        pixels = _read(array, frame)
        for tile, box in zip(tiles, boxes, strict=True):
            pixels[box.shift(-frame.top, -frame.left).slices] = self._thin_tile(tile, step)
        array[frame.slices] = pixels

    def _thin_tile(self, tile: Tile, step: int) -> NDArray[np.uint8]:
        """A tile's labels at a level of the overview."""
        logits = self.read_logits(self.layout.coarse_box(tile))
        labels = thin(likeliest(logits), step // self.layout.card.ratio)
        box = self.layout.tiles.box(tile)
        for array in (self._refined, self._edits):
            over = thin(_read(array, box), step)
            np.copyto(labels, over, where=over != UNSET)
        return labels


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return array


def _read(array: zarr.Array[Any], box: Box) -> NDArray[np.uint8]:
    return np.array(array[box.slices], np.uint8)
