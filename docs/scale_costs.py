"""Processor seconds, bytes and requests of one slide, added up from measured parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Cost of each part of a slide; docs/scale.md says how the defaults were measured."""

    tissue_mpx: float = 1500.0
    """Megapixels of tissue at the fine pixel size: half of 60,000 × 50,000."""
    fraction: float = 0.05
    """Share of the tiles that is refined."""
    tile_px: int = 128
    halo_px: int = 16
    ratio: int = 2
    coarse_core_px: int = 384
    coarse_halo_px: int = 32
    partition_px: int = 1536
    """Side of a partition, one task of a worker: whole coarse windows, at most 2048 a slide."""
    core_s_per_window: float = 0.0853
    core_s_per_tile: float = 0.0134
    core_s_per_read: float = 0.00232
    """Seconds to decode a tile of the file."""
    core_s_per_chunk: float = 0.000356
    """Seconds to compress and write a chunk."""
    file_tile_px: int = 512
    file_tile_bytes: float = 84_600.0
    logits_bytes_per_window: float = 252_000.0
    chunk_bytes_per_tile: float = 1370.0
    overview_bytes_per_window: float = 19_400.0
    """Bytes of the label pyramid, which is ``overview`` in a result folder."""
    overview_requests: int = 6
    """Requests of a partition: its chunks of the label pyramid, and its part of shared levels."""
    owner_s_per_partition: float = 3.2e-5
    """Seconds to append a partition's line to the journal."""
    owner_s_per_slide: float = 0.60
    """Seconds to open a slide and find its tissue."""


class TaskCost(NamedTuple):
    """Cost of a partition in one of the stages."""

    core_s: float
    reads: int
    read_bytes: float
    writes: int
    written_bytes: float

    def times(self, number: float) -> TaskCost:
        """Cost of `number` such tasks."""
        return TaskCost(*(number * part for part in self))

    def plus(self, other: TaskCost) -> TaskCost:
        """Cost of both tasks."""
        return TaskCost(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True)
class SlideCost:
    """Cost of one slide.

    Examples
    --------
    >>> slide = SlideCost(Costs(tissue_mpx=2 * 1.536**2, fraction=0.5))
    >>> slide.partitions, slide.tiles_per_partition, slide.windows_per_partition
    (2, 144, 4)
    """

    costs: Costs

    @property
    def partitions(self) -> int:
        """Number of tasks of each stage."""
        return math.ceil(round(self.costs.tissue_mpx * 1e6 / self.costs.partition_px**2, 6))

    @property
    def tiles_per_partition(self) -> int:
        """Number of tiles of a partition that is all tissue."""
        return (self.costs.partition_px // self.costs.tile_px) ** 2

    @property
    def windows_per_partition(self) -> int:
        """Number of coarse windows of a partition."""
        return (self.costs.partition_px // (self.costs.coarse_core_px * self.costs.ratio)) ** 2

    @property
    def coarse(self) -> TaskCost:
        """Stage 1 over a partition: every tile of the file once, and each window's chunks."""
        costs, windows = self.costs, self.windows_per_partition
        side = costs.partition_px + 2 * costs.coarse_halo_px * costs.ratio
        reads = round((1 + side / costs.file_tile_px) ** 2)
        writes = windows + costs.overview_requests
        written = windows * (costs.logits_bytes_per_window + costs.overview_bytes_per_window)
        computed = windows * costs.core_s_per_window
        return self._task(computed, reads, writes, written)

    @property
    def refine(self) -> TaskCost:
        """Stage 2 over the chosen tiles of a partition, each file tile read once at most.

        A box of side s touches (1 + s / t) ** 2 file tiles of side t on average; chosen tiles are
        anywhere, so some touch the same ones. The label pyramid is read and written again.
        """
        costs = self.costs
        chosen = round(costs.fraction * self.tiles_per_partition)
        halo, per = 2 * costs.halo_px, costs.file_tile_px
        touched = chosen * (1 + (costs.tile_px + halo) / per) ** 2
        everything = (1 + (costs.partition_px + halo) / per) ** 2
        reads = round(everything * (1 - math.exp(-touched / everything)))
        writes = chosen + 2 * costs.overview_requests
        written = chosen * costs.chunk_bytes_per_tile
        written += self.windows_per_partition * costs.overview_bytes_per_window
        return self._task(chosen * costs.core_s_per_tile, reads, writes, written)

    @property
    def total(self) -> TaskCost:
        """All partitions, both stages."""
        return self.coarse.plus(self.refine).times(self.partitions)

    def _task(self, computed: float, reads: int, writes: int, written: float) -> TaskCost:
        costs = self.costs
        core_s = computed + reads * costs.core_s_per_read + writes * costs.core_s_per_chunk
        return TaskCost(core_s, reads, reads * costs.file_tile_bytes, writes, written)
