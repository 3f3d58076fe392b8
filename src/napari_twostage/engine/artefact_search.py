"""Search for areas out of focus while a run goes on: no step of the run waits for it."""

from __future__ import annotations

import logging
from threading import Event
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.method.artefacts import IN_TISSUE, find_in_tissue, kinds_shown_by
from napari_twostage.method.steps import CoarseWindowDone, PartitionSegmented, TilesSelected
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.method.artefacts import Artefact
    from napari_twostage.method.steps import Step
    from napari_twostage.result.result import Result

log = logging.getLogger(__name__)


class ArtefactSearch:
    """Finds artefacts in the tissue in a thread, and keeps them; a context around a run.

    It begins after the first labels, which come as soon as without it. What is found is kept by
    the run's own thread, with one of its steps or in `finish`. A run that is stopped before lacks
    it, and the next one looks again.

    Parameters
    ----------
    result : Result
        Result that the run writes.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._stopped = Event()
        self._pool: AbstractContextManager[ThreadPoolExecutor] = pool(
            1, "artefacts", drop_waiting=True
        )
        self._found: Future[NDArray[np.uint8] | None] | None = None
        self._begun = False

    def __enter__(self) -> Self:
        self._worker = self._pool.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._pool.__exit__(kind, error, trace)

    def take(self, step: Step) -> None:
        """Begin after the first labels; keep what is found by now."""
        if self._found is not None and self._found.done():
            self.finish()
        if not self._begun and isinstance(
            step, CoarseWindowDone | PartitionSegmented | TilesSelected
        ):
            self._begun = True
            if self._is_due():
                self._found = self._worker.submit(self._find)

    def finish(self) -> None:
        """Wait for what is not found yet, and keep it."""
        if self._found is None:
            return
        found, self._found = self._found.result(), None
        if found is not None:
            self._result.writer.save_artefacts(found, self._kinds)

    @property
    def _kinds(self) -> tuple[Artefact, ...]:
        """Artefacts in tissue that the slide can show."""
        return tuple(kind for kind in kinds_shown_by(self._result.slide) if kind in IN_TISSUE)

    def _is_due(self) -> bool:
        """Whether the tissue was looked for on bright glass, and some artefacts were not."""
        known = self._result.record.tissue
        if known is None or not (known.searched and known.bright_field):
            return False
        # version 0.1 looked for none, and its tissue has the margin
        kept = known.artefacts_mm2
        return kept is not None and any(kind.words not in kept for kind in self._kinds)

    def _find(self) -> NDArray[np.uint8] | None:
        """Artefacts on the overview; None if they cannot be found, or the run has ended."""
        try:
            tissue, grid = self._result.tissue_mask
            found = find_in_tissue(
                self._result.slide, tissue, grid, is_wanted=lambda: not self._stopped.is_set()
            )
        except (OSError, TwoStageError):  # the run meets what matters to it
            log.debug("%s: artefacts are not looked for", self._result.path, exc_info=True)
            return None
        return None if self._stopped.is_set() else found
