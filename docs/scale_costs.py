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
    coarse_core_px: int = 384
    coarse_halo_px: int = 32
    field_px: int = 1536
    """Side of a field, the task of a worker: whole coarse windows, at most 2048 fields a slide."""
    core_s_per_window: float = 0.0853
    core_s_per_tile: float = 0.0134
    core_s_per_read: float = 0.00232
    """Decoding a tile of the file."""
    core_s_per_chunk: float = 0.000356
    """Compressing and writing a chunk."""
    file_tile_px: int = 512
    file_tile_bytes: float = 84_600.0
    logits_bytes_per_window: float = 252_000.0
    chunk_bytes_per_tile: float = 1370.0
    overview_bytes_per_window: float = 19_400.0
    overview_requests: int = 6
    """Of a field: its chunks of the overview, and its part of the levels that the owner writes."""
    owner_s_per_field: float = 3.2e-5
    """Appending a field's line to the journal."""
    owner_s_per_slide: float = 0.60
    """Opening a slide and finding its tissue."""


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
    >>> work = Work(Costs(tissue_mpx=2 * 1.536**2, fraction=0.5))
    >>> work.fields, work.tiles_per_field, work.windows_per_field
    (2, 144, 4)
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
        side = costs.field_px + 2 * costs.coarse_halo_px * costs.ratio
        reads = round((1 + side / costs.file_tile_px) ** 2)
        writes = windows + costs.overview_requests
        written = windows * (costs.logits_bytes_per_window + costs.overview_bytes_per_window)
        computed = windows * costs.core_s_per_window
        return self._task(computed, reads, writes, written)

    @property
    def refine(self) -> Task:
        """Stage 2 over the chosen tiles of a field, each file tile read once at most.

        Something of side s touches (1 + s / t) ** 2 file tiles of side t on average; chosen tiles
        lie anywhere, so some touch the same ones. The overview is read and put again.
        """
        costs = self.costs
        chosen = round(costs.fraction * self.tiles_per_field)
        halo, per = 2 * costs.halo_px, costs.file_tile_px
        touched = chosen * (1 + (costs.tile_px + halo) / per) ** 2
        everything = (1 + (costs.field_px + halo) / per) ** 2
        reads = round(everything * (1 - math.exp(-touched / everything)))
        writes = chosen + 2 * costs.overview_requests
        written = chosen * costs.chunk_bytes_per_tile
        written += self.windows_per_field * costs.overview_bytes_per_window
        return self._task(chosen * costs.core_s_per_tile, reads, writes, written)

    @property
    def slide(self) -> Task:
        """All fields, both stages."""
        return self.coarse.plus(self.refine).times(self.fields)

    def _task(self, computed: float, reads: int, writes: int, written: float) -> Task:
        costs = self.costs
        core_s = computed + reads * costs.core_s_per_read + writes * costs.core_s_per_chunk
        return Task(core_s, reads, reads * costs.file_tile_bytes, writes, written)
