"""Messages between workers and the owner of a run: tasks, reports, and shared pixels by file.

Workers write pixels directly to the result folder. Chunks that several partitions share, those of
the coarsest levels of the label pyramid, are written by the owner alone. Workers save their part
of these levels in a small file beside them, so no pixel passes through the scheduler.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_twostage.errors import BusyFileError
from napari_twostage.io.files import rename
from napari_twostage.io.paths import load_arrays, locate, remove_file, remove_tree, save_arrays
from napari_twostage.result.result_files import HANDOVER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.steps import Partition, Worker
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.tile_scores import WindowScores

MARKER = "goes-on"
"""File that exists for as long as a run's owner wants its tasks done."""
Levels = dict[int, "NDArray[np.uint8]"]
"""Labels of a partition at levels of the label pyramid; the key is fine pixels per pixel."""


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """Run on a cluster; active while its marker file exists in the result folder."""

    folder: str
    """Path or URL of the result, valid in every process."""
    token: str
    """Unique identifier of the run."""
    device: str
    """Device of the workers; as for `load_model`."""
    precision: str
    """Precision of the workers; as for `load_model`."""

    def begin(self) -> None:
        """Begin this run; end earlier runs that were killed, whose tasks may still be executing."""
        self.end()
        self._place.mkdir(parents=True)
        self._mark.write_bytes(b"")

    def end(self) -> None:
        """End the run; tasks that are still executing fail at their next check."""
        folder = self._place.parent
        with suppress(FileNotFoundError):
            if isinstance(folder, Path):
                # Rename first: tasks could add files to a folder that is being removed.
                away = folder.with_name(f"{HANDOVER}-{self.token}")
                try:
                    rename(folder, away)
                except BusyFileError:  # on Windows, while a task writes: without its marker it ends
                    for run in folder.iterdir():
                        remove_file(run / MARKER)
                else:
                    folder = away
            remove_tree(folder)

    @property
    def active(self) -> bool:
        """True while the owner of the run still accepts results."""
        return self._mark.exists()

    def put_levels(self, stage: str, partition: Partition, levels: Levels) -> None:
        """Save a partition's part of the shared levels for the owner."""
        if levels:
            named = {str(step): pixels for step, pixels in levels.items()}
            save_arrays(self._file(stage, partition), **named)

    def take_levels(self, stage: str, partition: Partition) -> Levels:
        """Load and delete a partition's part of the shared levels; empty if it shares none."""
        file = self._file(stage, partition)
        try:
            levels = load_arrays(file)
        except FileNotFoundError:
            return {}
        remove_file(file)
        return {int(step): pixels for step, pixels in levels.items()}

    @property
    def _place(self) -> Location:
        return locate(self.folder) / HANDOVER / self.token

    @property
    def _mark(self) -> Location:
        return self._place / MARKER

    def _file(self, stage: str, partition: Partition) -> Location:
        return self._place / f"{stage}-{partition[0]}-{partition[1]}.npz"


class WindowReport(NamedTuple):
    """Coarse window whose pixels are on disk."""

    core: Box
    """Pixels that the window owns, on the coarse grid, inside the slide."""
    scores: WindowScores
    unreadable: dict[Tile, str]
    """Tiles that could not be read, with the reason."""


@dataclass(frozen=True, slots=True)
class SegmentedPartition:
    """Report of a worker on stage 1 in a partition."""

    partition: Partition
    worker: Worker
    windows: list[WindowReport]


@dataclass(frozen=True, slots=True)
class RefinedPartition:
    """Report of a worker on stage 2 in a partition."""

    partition: Partition
    worker: Worker
    refined: list[Tile]
    """Tiles whose pixels are on disk."""
    failed: list[tuple[tuple[Tile, ...], str]]
    """Tiles of each chip that could not be read, with the reason."""
