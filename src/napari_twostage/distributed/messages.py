"""Messages between the owner of a run and its workers: tasks, reports, and pixels by file.

Pixels go straight from workers to the result folder. Chunks that partitions share, those of the
coarsest levels of the label pyramid, have one writer, the owner: workers leave their part of them
in a small file beside them, so that no pixel passes the scheduler or the owner's connection.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_twostage.errors import BusyFileError
from napari_twostage.io.files import rename
from napari_twostage.io.paths import load_arrays, locate, remove_file, remove_tree, save_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.steps import Partition, Worker
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.tile_scores import WindowScores

FOLDER = "handover"
MARKER = "goes-on"
Levels = dict[int, "NDArray[np.uint8]"]
"""Labels of a partition at levels of the label pyramid, by fine pixels per pixel."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that processes take part in, for as long as its marker file is in the result."""

    folder: str
    """Folder of the result: a path or URL that all of them know."""
    run: str
    """Identifier of the run, which no other run has."""
    device: str
    precision: str
    """Device and precision that workers compute with; as for `load_model`."""

    def begin(self) -> None:
        """End runs that were killed before, whose tasks may still be at work, and begin this."""
        self.end()
        self._place.mkdir(parents=True)
        self._mark.write_bytes(b"")

    def end(self) -> None:
        """Make tasks that are still at work drop their work."""
        folder = self._place.parent
        with suppress(FileNotFoundError):
            if isinstance(folder, Path):
                # in one step: a task may still add to a folder that is removed file by file
                away = folder.with_name(f"{FOLDER}-{self.run}")
                try:
                    rename(folder, away)
                except BusyFileError:  # Windows, a task writes: without its marker it ends
                    for run in folder.iterdir():
                        remove_file(run / MARKER)
                else:
                    folder = away
            remove_tree(folder)

    @property
    def goes_on(self) -> bool:
        """Whether the owner of the run still waits for its tasks."""
        return self._mark.exists()

    def leave(self, stage: str, partition: Partition, levels: Levels) -> None:
        """Leave a partition's part of the shared levels for the owner."""
        if levels:
            named = {str(step): pixels for step, pixels in levels.items()}
            save_arrays(self._file(stage, partition), **named)

    def take(self, stage: str, partition: Partition) -> Levels:
        """Take over the levels that `leave` left; empty where the partition shares none."""
        file = self._file(stage, partition)
        try:
            levels = load_arrays(file)
        except FileNotFoundError:
            return {}
        remove_file(file)
        return {int(step): pixels for step, pixels in levels.items()}

    @property
    def _place(self) -> Location:
        return locate(self.folder) / FOLDER / self.run

    @property
    def _mark(self) -> Location:
        return self._place / MARKER

    def _file(self, stage: str, partition: Partition) -> Location:
        return self._place / f"{stage}-{partition[0]}-{partition[1]}.npz"


class WindowReport(NamedTuple):
    """A coarse window whose pixels are on disk."""

    core: Box
    scores: WindowScores
    unreadable: dict[Tile, str]


@dataclass(frozen=True, slots=True)
class SegmentedPartition:
    """A worker's report of stage 1 in a partition."""

    partition: Partition
    worker: Worker
    windows: list[WindowReport]


@dataclass(frozen=True, slots=True)
class RefinedPartition:
    """A worker's report of stage 2 in a partition."""

    partition: Partition
    worker: Worker
    refined: list[Tile]
    """Tiles whose pixels are on disk."""
    failed: list[tuple[tuple[Tile, ...], str]]
    """Tiles that could not be read, and why."""
