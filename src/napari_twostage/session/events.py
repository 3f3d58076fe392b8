"""What jobs tell their session, beside the pipeline's steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from napari_twostage.method.selection import describe_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.measure.areas import ClassArea

Kind = Literal["info", "busy", "error"]


class RunState(Enum):
    """What a session's run is doing."""

    IDLE = "idle"
    COARSE = "coarse"
    REFINING = "refining"
    PAUSED = "paused"
    CANCELLING = "cancelling"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is."""

    stage: str
    """``pyramid``, ``coarse``, ``refine``, ``export`` or ``measure``."""
    done: float
    total: float
    unit: str = ""
    """What is counted; empty where `done` is a share of `total`."""
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.done / self.total if self.total else 1.0

    def describe(self) -> str:
        """In words: ``refine 120 of 400 tiles · 12 s left``."""
        text = f"{self.stage} {self.share:.0%}"
        if self.unit:
            text = f"{self.stage} {self.done:,.0f} of {self.total:,.0f} {self.unit}"
        return (
            text
            if self.seconds_left is None
            else f"{text} · {describe_seconds(self.seconds_left)} left"
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the user."""

    text: str
    kind: Kind = "info"


@dataclass(frozen=True, slots=True)
class Patch:
    """A place that is being edited."""

    box: Box
    """On the fine grid."""
    labels: NDArray[np.uint8]
    """(box.height, box.width) as they stood."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands where results of this slide and model go."""

    out: Location
    seg: Segmentation | None


@dataclass(frozen=True, slots=True)
class Edited:
    """Edits in a box of the fine grid came or went."""

    box: Box
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of each class."""

    classes: list[ClassArea]


@dataclass(frozen=True, slots=True)
class Exported:
    """A file was written."""

    path: Location
