"""What one slide costs: processor seconds, bytes and requests, from what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the parts of a slide cost; the defaults were measured as docs/scale.md tells."""

    tissue_mpx: float = 1500.0
    """Megapixels of tissue at the fine pixel size: half of 60,000 × 50,000."""
    fraction: float = 0.05
    """Tiles refined."""
    tile_px: int = 128
    halo_px: int = 16
    ratio: int = 2
    coarse_core_px: int = 448
    field_px: int = 3584
    """Side of a field, the task of a worker: some thousand pixels, whole coarse windows."""
    core_s_per_window: float = 0.144
    core_s_per_tile: float = 0.0194
    core_s_per_read: float = 0.0011
    """Decoding a tile of the file."""
    core_s_per_chunk: float = 0.001
    """Compressing and writing a chunk."""
    file_tile_px: int = 512
    file_tile_bytes: float = 60_000.0
    logits_bytes_per_window: float = 250_000.0
    chunk_bytes_per_tile: float = 600.0
    overview_bytes_per_window: float = 8_000.0
    requests_per_window: int = 14
    """Whole chunks of logits and of the finest overview, then six coarser levels read and put."""
    owner_s_per_field: float = 1e-4
    """Appending a field's line to the journal."""
    owner_s_per_slide: float = 1.5
    """Opening a slide, finding its tissue, making the result's arrays, selecting tiles."""


class Task(NamedTuple):
    """What a field costs in one of the stages."""

    core_s: float
    reads: int
    read_bytes: float
    writes: int
    written_bytes: float

    def times(self, number: float) -> Task:
        """So many of them."""
        return Task(*(number * part for part in self))

    def plus(self, other: Task) -> Task:
        """Both."""
        return Task(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Work:
    """What one slide costs.

    Examples
    --------
    >>> work = Work(Costs(tissue_mpx=2 * 3.584**2, fraction=0.5))
    >>> work.fields, work.tiles_per_field, work.windows_per_field
    (2, 784, 16)
    >>> work.refine.writes  # half of the field's tiles, a chunk each
    392
    """

    costs: Costs

    @property
    def fields(self) -> int:
        """Tasks of each stage."""
        return math.ceil(round(self.costs.tissue_mpx * 1e6 / self.costs.field_px**2, 6))

    @property
    def tiles_per_field(self) -> int:
        """Tiles of a field that is all tissue."""
        return (self.costs.field_px // self.costs.tile_px) ** 2

    @property
    def windows_per_field(self) -> int:
        """Coarse windows of a field."""
        return (self.costs.field_px // (self.costs.coarse_core_px * self.costs.ratio)) ** 2

    @property
    def coarse(self) -> Task:
        """Stage 1 over a field: every tile of the file once, and each window's chunks."""
        costs, windows = self.costs, self.windows_per_field
        reads = math.ceil(costs.field_px / costs.file_tile_px) ** 2
        writes = windows * costs.requests_per_window
        written = windows * (costs.logits_bytes_per_window + costs.overview_bytes_per_window)
        computed = windows * costs.core_s_per_window
        return self._task(computed, reads, writes, written)

    @property
    def refine(self) -> Task:
        """Stage 2 over the chosen tiles of a field: a file tile is read once for all that need it.

        A window touches file tiles on average (1 + side / file tile) ** 2 times; with many windows
        in a field each file tile is read once at most.
        """
        costs = self.costs
        chosen = round(costs.fraction * self.tiles_per_field)
        side = costs.tile_px + 2 * costs.halo_px
        touched = chosen * (1 + side / costs.file_tile_px) ** 2
        everything = math.ceil(costs.field_px / costs.file_tile_px) ** 2
        reads = round(everything * (1 - math.exp(-touched / everything)))
        computed = chosen * costs.core_s_per_tile
        return self._task(computed, reads, chosen, chosen * costs.chunk_bytes_per_tile)

    @property
    def slide(self) -> Task:
        """All fields, both stages."""
        return self.coarse.plus(self.refine).times(self.fields)

    def _task(self, computed: float, reads: int, writes: int, written: float) -> Task:
        costs = self.costs
        core_s = computed + reads * costs.core_s_per_read + writes * costs.core_s_per_chunk
        return Task(core_s, reads, reads * costs.file_tile_bytes, writes, written)
