"""Steps of a run, as the pipeline and a cluster yield them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.method.domain import DomainCheck
    from napari_twostage.method.selection import Plan
    from napari_twostage.method.tiling import Chip, Tile

Partition = tuple[int, int]
"""Row and column of a partition in its grid."""


@dataclass(frozen=True, slots=True)
class PyramidGrown:
    """Progress of building coarse levels for a slide that has none; precedes all other steps."""

    fraction: float
    """Share completed, in (0, 1]."""


@dataclass(frozen=True, slots=True)
class DomainChecked:
    """Slide compared with the training images, once; precedes the coarse pass."""

    check: DomainCheck


@dataclass(frozen=True, slots=True)
class CoarsePassStarted:
    """Tissue is known; the coarse pass begins."""

    windows: int
    """Number of coarse windows left to do."""


@dataclass(frozen=True, slots=True)
class CoarseWindowDone:
    """Output of stage 1 for one window."""

    core: Box
    """Pixels that the window owns, on the coarse grid, inside the slide."""
    logits: NDArray[np.float16]
    """Calibrated logits of the core: (K, height, width)."""
    unreadable: dict[Tile, str]
    """Tiles of the core whose pixels could not be read, with the reason."""
    depth: NDArray[np.uint8] | None = None
    """Depth inside objects, as `instances` takes it: (height, width); None if there is none."""
    gain: NDArray[np.float16] | None = None
    """Logits of the probability that refinement corrects a pixel: (height, width); None if the
    model does not give them."""


@dataclass(frozen=True, slots=True)
class TilesSelected:
    """Coarse pass complete; refinement begins."""

    plan: Plan
    """Tiles to refine, in order."""


@dataclass(frozen=True, slots=True)
class ChipRefined:
    """Output of stage 2 for one chip."""

    chip: Chip
    labels: NDArray[np.uint8]
    """Class values of the whole core, also beyond the slide's edge: (height, width)."""
    depth: NDArray[np.uint8] | None = None
    """Depth inside objects; as in `CoarseWindowDone`."""


@dataclass(frozen=True, slots=True)
class ChipFailed:
    """Chip that could not be read; its tiles keep their coarse labels."""

    chip: Chip
    reason: str
    """Message of the read error."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Process of a cluster, and its compute backend."""

    machine: str
    """Host name."""
    process: int
    """Process id on that host."""
    compute: str
    """Backend, device and precision; see `models.backends.Compute`."""
    threads: int
    """Threads of the model."""


@dataclass(frozen=True, slots=True)
class PartitionSegmented:
    """Partition whose coarse windows another process has finished."""

    partition: Partition
    windows: int
    """Number of coarse windows done."""
    worker: Worker


@dataclass(frozen=True, slots=True)
class PartitionRefined:
    """Partition whose selected tiles another process has refined."""

    partition: Partition
    tiles: int
    """Number of tiles that were refined or could not be read."""
    worker: Worker


PartitionStep = PartitionSegmented | PartitionRefined
"""Step of a run on a cluster; it carries no pixels."""

Step = (
    PyramidGrown
    | DomainChecked
    | CoarsePassStarted
    | CoarseWindowDone
    | TilesSelected
    | ChipRefined
    | ChipFailed
    | PartitionStep
)
"""Step of any run."""
