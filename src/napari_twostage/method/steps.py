"""The steps of a run, as the pipeline and a cluster yield them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.method.selection import Plan
    from napari_twostage.method.tiling import Chip, Tile

Partition = tuple[int, int]
"""Row and column of a partition in its grid."""


@dataclass(frozen=True, slots=True)
class PyramidGrown:
    """A slide without coarse levels is given some; that comes before all else."""

    fraction: float
    """Done of it, in (0, 1]."""


@dataclass(frozen=True, slots=True)
class CoarsePassStarted:
    """The tissue is known."""

    windows: int
    """Coarse windows left to do."""


@dataclass(frozen=True, slots=True)
class CoarseWindowDone:
    """Stage 1 has seen a window."""

    core: Box
    """What the window owns, in coarse pixels, inside the slide."""
    logits: NDArray[np.float16]
    """(K, height, width) of the core, calibrated."""
    unreadable: dict[Tile, str]
    """Tiles of the core whose pixels could not be read, and why."""


@dataclass(frozen=True, slots=True)
class TilesSelected:
    """The coarse pass is complete; these tiles come next."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class ChipRefined:
    """Stage 2 has seen a chip."""

    chip: Chip
    labels: NDArray[np.uint8]
    """(height, width) of the chip's core, beyond the slide's edge as well."""


@dataclass(frozen=True, slots=True)
class ChipFailed:
    """A chip could not be read; its tiles keep their coarse labels."""

    chip: Chip
    reason: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a cluster, and what it computes with."""

    machine: str
    process: int
    compute: str
    """What it computes with; see `models.backends.Compute`."""
    threads: int


@dataclass(frozen=True, slots=True)
class PartitionSegmented:
    """Stage 1 has seen what was left of a partition, in another process."""

    partition: Partition
    windows: int
    """Coarse windows that were done."""
    worker: Worker


@dataclass(frozen=True, slots=True)
class PartitionRefined:
    """Stage 2 has seen the chosen tiles of a partition, in another process."""

    partition: Partition
    tiles: int
    """Tiles that were refined, or could not be read."""
    worker: Worker


PartitionStep = PartitionSegmented | PartitionRefined
"""Steps of a run on a cluster, which carry no pixels."""
Step = (
    PyramidGrown
    | CoarsePassStarted
    | CoarseWindowDone
    | TilesSelected
    | ChipRefined
    | ChipFailed
    | PartitionStep
)
