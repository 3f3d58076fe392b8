"""What a worker and the owner of a run tell each other: tasks, reports, and pixels by file.

Pixels go straight from workers to the result folder. Chunks that fields share, those of the
coarsest levels of the overview, have one writer, the owner: workers leave their part of them in
a small file beside them, so that no pixel passes the scheduler or the owner's connection.
"""

from __future__ import annotations

import shutil
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
    """A run that processes take part in; equal for all its tasks, and for no other run."""

    folder: str
    """Of the result, under a path that all of them know."""
    run: str
    """What tells the run from all others."""
    device: str
    """As for `load_model`."""

    def leave(self, stage: str, field: Field, levels: Levels) -> None:
        """Leave a field's part of the shared levels for the owner."""
        if levels:
            path = self._file(stage, field)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".partial.npz")
            named = {str(step): pixels for step, pixels in levels.items()}
            np.savez(unfinished, allow_pickle=False, **named)
            unfinished.replace(path)

    def take(self, stage: str, field: Field) -> Levels:
        """Take over what was left for a field; empty where its levels are all its own."""
        path = self._file(stage, field)
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as saved:
            levels = {int(step): saved[step] for step in saved.files}
        path.unlink()
        return levels

    def clear(self) -> None:
        """Remove what this run, and those killed before it, left behind."""
        shutil.rmtree(Path(self.folder) / FOLDER, ignore_errors=True)

    def _file(self, stage: str, field: Field) -> Path:
        return Path(self.folder) / FOLDER / self.run / f"{stage}-{field[0]}-{field[1]}.npz"


class WindowReport(NamedTuple):
    """A coarse window whose pixels are on disk."""

    core: Box
    unreadable: dict[Tile, str]
    found: WindowFindings


@dataclass(frozen=True, slots=True)
class SegmentedField:
    """What a worker reports of stage 1 in a field."""

    worker: Worker
    windows: list[WindowReport]


@dataclass(frozen=True, slots=True)
class RefinedField:
    """What a worker reports of stage 2 in a field."""

    worker: Worker
    refined: list[Tile]
    """Tiles whose pixels are on disk."""
    failed: list[tuple[tuple[Tile, ...], str]]
    """Tiles that could not be read, and why."""
