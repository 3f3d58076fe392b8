"""Progress of a run: bars on stderr, or a function that is called with each step."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    DomainChecked,
    PartitionRefined,
    PartitionSegmented,
    PyramidGrown,
    Step,
    TilesSelected,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from napari_twostage.method.domain import DomainCheck


class Bars:
    """One bar after the other: pyramid, coarse windows, refined tiles; and the domain check."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def take(self, step: Step) -> None:
        """Show a step."""
        match step:
            case PyramidGrown(fraction=fraction):
                if self._bar is None:
                    self._start("pyramid", 100, "%")
                self._advance(round(100 * fraction) - (self._bar.n if self._bar else 0))
            case DomainChecked(check=check):
                self._tell(check)
            case CoarsePassStarted(windows=windows):
                self._start("coarse ", windows, "window")
            case TilesSelected(plan=plan):
                self._start("refine ", plan.n_tiles, "tile")
            case CoarseWindowDone():
                self._advance(1)
            case PartitionSegmented(windows=windows):
                self._advance(windows)
            case PartitionRefined(tiles=tiles):
                self._advance(tiles)
            case ChipRefined(chip=chip) | ChipFailed(chip=chip):
                self._advance(len(chip.tiles))

    def _tell(self, check: DomainCheck) -> None:
        """Write that the slide is like the training images; if it is not, the log says so."""
        self.close()
        if not check.unlike:
            sys.stderr.write(f"{check.text}\n")

    def _start(self, name: str, total: int, unit: str) -> None:
        self.close()
        self._bar = tqdm(desc=name, total=total, unit=unit, dynamic_ncols=True)

    def _advance(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        """End the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def watch(steps: Iterator[Step], progress: bool | Callable[[Step], None] | None) -> None:
    """Take all steps.

    Parameters
    ----------
    steps : iterator of Step
        A run.
    progress : bool or callable, optional
        True shows bars on stderr; a callable is given each step.
    """
    if callable(progress):
        for step in steps:
            progress(step)
        return
    if progress:
        with Bars() as bars:
            for step in steps:
                bars.take(step)
        return
    deque(steps, maxlen=0)
