"""What a worker and the owner of a run tell each other: tasks, reports, and pixels by file.

Pixels go straight from workers to the result folder. Chunks that partitions share, those of the
coarsest levels of the overview, have one writer, the owner: workers leave their part of them in
a small file beside them, so that no pixel passes the scheduler or the owner's connection.
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
"""Labels of a partition at levels of the overview, by fine pixels per pixel."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that processes take part in, for as long as its mark lies in the result."""

    folder: str
    """Of the result: a path or URL that all of them know."""
    run: str
    """What tells the run from all others."""
    device: str
    precision: str
    """What workers compute on; as for `load_model`."""

    def begin(self) -> None:
        """End runs that were killed before, whose tasks may still be at work, and begin this."""
        self.end()
        self._place.mkdir(parents=True)
        self._mark.write_bytes(b"")

    def end(self) -> None:
        """Let tasks that are still at work drop what they do."""
        folder = self._place.parent
        with suppress(FileNotFoundError):
            if isinstance(folder, Path):
                # at once: what is removed file by file, a task may still add to
                away = folder.with_name(f"{FOLDER}-{self.run}")
                try:
                    rename(folder, away)
                except BusyFileError:  # on Windows, while a task writes: it ends without its mark
                    for run in folder.iterdir():
                        remove_file(run / MARKER)
                else:
                    folder = away
            remove_tree(folder)

    @property
    def goes_on(self) -> bool:
        """Whether the owner of the run still wants what tasks do."""
        return self._mark.exists()

    def leave(self, stage: str, partition: Partition, levels: Levels) -> None:
        """Leave a partition's part of the shared levels for the owner."""
        if levels:
            named = {str(step): pixels for step, pixels in levels.items()}
            save_arrays(self._file(stage, partition), **named)

    def take(self, stage: str, partition: Partition) -> Levels:
        """Take over what was left for a partition; empty where it shares no level."""
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
    """What a worker reports of stage 1 in a partition."""

    partition: Partition
    worker: Worker
    windows: list[WindowReport]


@dataclass(frozen=True, slots=True)
class RefinedPartition:
    """What a worker reports of stage 2 in a partition."""

    partition: Partition
    worker: Worker
    refined: list[Tile]
    """Tiles whose pixels are on disk."""
    failed: list[tuple[tuple[Tile, ...], str]]
    """Tiles that could not be read, and why."""
