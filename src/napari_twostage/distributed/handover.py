"""What a worker and the owner of a run tell each other: tasks, reports, and pixels by file.

Pixels go straight from workers to the result folder. Chunks that fields share, those of the
coarsest levels of the overview, have one writer, the owner: workers leave their part of them in
a small file beside them, so that no pixel passes the scheduler or the owner's connection.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.fields import Field, Worker
    from napari_twostage.findings import WindowFindings
    from napari_twostage.geometry import Box
    from napari_twostage.tiling import Tile

FOLDER = "handover"
Levels = dict[int, "NDArray[np.uint8]"]
"""Labels of a field at levels of the overview, by fine pixels per pixel."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that processes take part in: as long as its folder for what is handed over is there."""

    folder: str
    """Of the result, under a path that all of them know."""
    run: str
    """What tells the run from all others."""
    device: str
    precision: str
    """What workers compute on; as for `load_model`."""

    def begin(self) -> None:
        """End runs that were killed before, whose tasks may still be at work, and begin this."""
        self.end()
        self._place.mkdir(parents=True)

    def end(self) -> None:
        """Let tasks that are still at work drop what they do."""
        folder = self._place.parent
        ended = folder.with_name(f"{FOLDER}-{self.run}")
        with suppress(FileNotFoundError):
            folder.rename(ended)  # at once: what is removed file by file, a task may still add to
            shutil.rmtree(ended)

    @property
    def goes_on(self) -> bool:
        """Whether the owner of the run still wants what tasks do."""
        return self._place.exists()

    def leave(self, stage: str, field: Field, levels: Levels) -> None:
        """Leave a field's part of the shared levels for the owner."""
        if levels:
            path = self._file(stage, field)
            unfinished = path.with_suffix(".partial.npz")
            named = {str(step): pixels for step, pixels in levels.items()}
            np.savez(unfinished, allow_pickle=False, **named)
            unfinished.replace(path)

    def take(self, stage: str, field: Field) -> Levels:
        """Take over what was left for a field; empty where it shares no level."""
        path = self._file(stage, field)
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as saved:
            levels = {int(step): saved[step] for step in saved.files}
        path.unlink()
        return levels

    @property
    def _place(self) -> Path:
        return Path(self.folder) / FOLDER / self.run

    def _file(self, stage: str, field: Field) -> Path:
        return self._place / f"{stage}-{field[0]}-{field[1]}.npz"


class WindowReport(NamedTuple):
    """A coarse window whose pixels are on disk."""

    core: Box
    found: WindowFindings
    unreadable: dict[Tile, str]


@dataclass(frozen=True, slots=True)
class SegmentedField:
    """What a worker reports of stage 1 in a field."""

    field: Field
    worker: Worker
    windows: list[WindowReport]


@dataclass(frozen=True, slots=True)
class RefinedField:
    """What a worker reports of stage 2 in a field."""

    field: Field
    worker: Worker
    refined: list[Tile]
    """Tiles whose pixels are on disk."""
    failed: list[tuple[tuple[Tile, ...], str]]
    """Tiles that could not be read, and why."""
