"""Parts of a result folder, opened together."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_twostage.errors import SegmentationError, StorageError, TwoStageError, storage_error
from napari_twostage.io.durable import DirtyFiles
from napari_twostage.io.files import (
    ASIDE,
    is_own_aside,
    name_aside,
    remove_file,
    remove_folder,
    rename,
)
from napari_twostage.io.paths import atomic_folder, remove_tree
from napari_twostage.io.url import Url
from napari_twostage.method.tiling import TileGrid
from napari_twostage.result.edits import Edits
from napari_twostage.result.journal import FILE as JOURNAL
from napari_twostage.result.journal import Journal
from napari_twostage.result.journal_events import (
    Created,
    PixelsLost,
    PyramidFlushed,
    RecordGrown,
    RefinementUndone,
    WindowDone,
)
from napari_twostage.result.label_arrays import create_arrays
from napari_twostage.result.label_store import LabelStore
from napari_twostage.result.layout import Layout
from napari_twostage.result.record import FILE as RECORD
from napari_twostage.result.record import Record, polygons_from, read_record, write_record
from napari_twostage.result.tally_files import TallyFiles
from napari_twostage.result.tile_log import TileLog
from napari_twostage.result.tile_scores import TileScores
from napari_twostage.result.writer_lock import FILE as LOCK
from napari_twostage.result.writer_lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_twostage.io.paths import Location

    _T = TypeVar("_T")

log = logging.getLogger(__name__)

HANDOVER = "handover"
"""Folder in which the processes of a cluster exchange pixels for as long as a run goes on."""
_MOST_READS = 100
"""Times that a read is repeated because an edit came in between."""


class ResultFiles:
    """Record, pixels, journal, scores, edits and lock of one result folder.

    Parameters
    ----------
    path : Path or Url
        The folder, which must exist.
    record : Record
        Content of its `record.json`.

    Raises
    ------
    DamagedFileError
        If a part cannot be read.
    """

    def __init__(self, path: Location, record: Record) -> None:
        self.path = path
        self.record = record
        self.layout = layout_of(record)
        dirty = None if isinstance(path, Url) else DirtyFiles(path)
        self.store = LabelStore(path, self.layout, dirty)
        self.log = TileLog(Journal(path / JOURNAL), self.layout.tiles, dirty, self.layout.is_window)
        measure = record.parameters.uncertainty
        self.scores = TileScores(path, self.store, self.log, measure, dirty)
        self.scores.set_scope(record.scope)
        self.log.expect_lines(record.journal_lines)
        self._show_log()
        self.edits = Edits(path / "undo", self.store, self.log)
        self.tallies = TallyFiles(path, self.log, self.layout)
        self.store.mark_stale(self.log.stale_tiles, self.log.stale_windows)
        self.lock = WriterLock(path)
        self._tidied = False

    def tell_damage(self) -> None:
        """Name what the journal lacks, as far as opening the folder has shown it; show edits."""
        if self.log.damaged_lines:
            log.warning(
                "%s: %d lines of the journal are damaged or missing; what they recorded is "
                "computed again by segment or refine, edits come back by info --check --repair",
                self.path,
                self.log.damaged_lines,
            )
        if self.lock.other is None:  # otherwise an edit may be being saved at this moment
            kept = self.edits.show_unrecorded()
            self.store.mark_stale(self.log.stale_tiles, ())
            if kept:
                log.warning(
                    "%s: %d edits were saved as the program ended; they are kept", self.path, kept
                )

    def name_of(self, file: Location) -> str:
        """Name of a file in the folder, with slashes."""
        return str(file)[len(str(self.path)) + 1 :].replace("\\", "/")

    def write_record(self, record: Record) -> None:
        """Replace the record, on disk first; the journal gets a copy of what is new."""
        if self.log.created is None:  # of version 0.1, or lost
            record = replace(record, journal_version=2)
            self.log.record(Created(record.as_dict()))
        elif record != self.record:
            before, now = self.record.as_dict(), record.as_dict()
            runs = tuple(run for run in now["runs"] if run not in before["runs"])
            tissue, least, domain = map(now.get, ("tissue", "least_object_um2", "domain"))
            scope = None if record.scope == self.record.scope else now.get("scope", [])
            self.log.record(RecordGrown(tissue, runs, least, domain, scope))
        self.log.commit()
        record = replace(record, journal_lines=self.log.lines)
        write_record(self.path, record)
        self._take_record(record)

    def _take_record(self, record: Record) -> None:
        self.record = record
        self.scores.set_scope(record.scope)

    def flush(self) -> None:
        """Write the buffered levels of the label pyramid, and record that they are written."""
        with self.store.lock:  # otherwise the event could cover a tile that came in between
            if self.store.pyramid.stale:
                self.store.pyramid.flush()
                self.log.record(PyramidFlushed())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer of the folder; what is recorded is on disk when the block ends.

        Raises
        ------
        LockedError
            If another process or window is writing.
        SegmentationError
            If another result has taken the place of this one.
        StorageError
            If the disk is full, gone or refuses.
        """
        with storage(self.path), self.lock.hold() as first:
            if first:
                self._refresh_record()
                self.follow(writing=True)
                self._tidy()
            try:
                yield
            except BaseException:
                try:
                    self.log.commit()
                except (OSError, TwoStageError):
                    log.debug("%s: what waits stays uncommitted", self.path, exc_info=True)
                raise
            self.log.commit()

    def _refresh_record(self) -> None:
        """Take in runs of other processes; refuse another result that has taken the place."""
        found = read_record(self.path)
        if (found.created, found.model, found.grid) != (
            self.record.created,
            self.record.model,
            self.record.grid,
        ):
            raise SegmentationError(
                f"{self.path} was replaced by another result since it was opened; open it again"
            )
        self._take_record(found)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Be the one writer for an edit or undo, which the block commits; errors as `writing`.

        Once it is committed it stands. What follows from it is written as far as the disk lets,
        and otherwise by the next writer.
        """
        committed = False
        try:
            with self.writing(), self.store.lock:  # threads edit one after the other
                yield
                committed = True
                self.edits.settle()
                self.flush()
        except StorageError as error:
            if not committed:
                raise
            log.warning(
                "%s: the change is kept, but the disk refuses the rest: %s", self.path, error
            )

    def _tidy(self) -> None:
        """Finish what a crash left half done, and stop workers of a run whose owner was killed."""
        if isinstance(self.path, Path) or not self._tidied:
            with suppress(FileNotFoundError):
                remove_tree(self.path / HANDOVER)
        self.edits.recover()
        self.edits.settle()
        if not self._tidied:
            self._remove_unfinished()
            if not self.log.damaged_lines:
                self.edits.remove_strays()
        self._tidied = True

    def _remove_unfinished(self) -> None:
        """Remove small files that a writer was killed over before they took their names."""
        if isinstance(self.path, Path):
            for folder in (self.path, self.path / "undo"):
                for file in folder.glob(f"*{ASIDE}"):
                    # others who want to write have the lock's; threads of ours may be at work
                    if not file.name.startswith(LOCK) and not is_own_aside(file):
                        remove_file(file)

    def follow(self, *, writing: bool = False) -> None:
        """Take in what another process has recorded."""
        if not writing and (self.lock.held or not self.log.grown):
            return
        events = self.log.follow()
        if not events:
            return
        for event in events:
            if isinstance(event, PixelsLost):
                self.store.unmark(event.tiles, event.windows)
            elif isinstance(event, RefinementUndone):
                self.store.unmark(event.tiles, ())
            if isinstance(event, RecordGrown) and event.scope is not None:
                self._take_record(replace(self.record, scope=polygons_from(event.scope)))
        self._show_log()
        self.edits.follow()
        self.store.mark_stale(self.log.stale_tiles, self.log.stale_windows)
        if any(isinstance(event, WindowDone | PixelsLost) for event in events):
            self.scores.forget_windows()

    def read(self, read: Callable[[], _T]) -> _T:
        """Read pixels as they were at one moment: no half of an edit."""
        for _ in range(_MOST_READS):
            self.follow()
            version = self.store.version
            pixels = read()
            if version == self.store.version and (self.lock.held or not self.log.grown):
                break
        return pixels

    def _show_log(self) -> None:
        windows = self.log.windows
        self.store.mark_written(
            self.log.refined, windows, windows - self.log.unreadable_windows.keys()
        )
        flushed = windows - self.log.stale_windows
        self.store.pyramid.expect(map(self.layout.fine_box, flushed))


@contextmanager
def storage(path: Location) -> Iterator[None]:
    """Explain in one line what the disk refuses below a folder, or that the folder is gone."""
    was_there = isinstance(path, Path) and path.exists()
    try:
        yield
    except TwoStageError as error:
        if was_there and isinstance(error, SegmentationError) and not path.exists():
            gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            raise storage_error(gone) from error
        raise
    except OSError as error:
        raise storage_error(error, path) from error


def make_folder(path: Location, record: Record) -> None:
    """Write an empty result folder; a crash leaves none.

    Raises
    ------
    OSError
        FileExistsError or ENOTEMPTY if another process made one meanwhile.
    """
    with atomic_folder(path) as folder:
        create_arrays(folder, layout_of(record))
        write_record(folder, record)
        Journal(folder / JOURNAL).append(Created(record.as_dict()).as_json())


def is_result(folder: Location) -> bool:
    """Whether a folder is a result, perhaps a damaged one."""
    return any((folder / name).exists() for name in (RECORD, JOURNAL))


def remove_result(path: Location) -> None:
    """Remove a result folder, and nothing else.

    Raises
    ------
    SegmentationError
        If it is no result folder.
    LockedError
        If another process or window is writing it.
    """
    if not is_result(path):
        raise SegmentationError(
            f"{path} is no result folder, so it is not overwritten; name another"
        )
    with WriterLock(path).hold():
        if isinstance(path, Url):
            remove_tree(path)
            return
        aside = name_aside(path.with_name(f".{path.name}"))
        rename(path, aside)  # in one step: no reader meets half of it
    remove_folder(aside)


def layout_of(record: Record) -> Layout:
    """Grids and sizes that follow from a record."""
    card, fine = record.card, record.grid
    return Layout(fine, card, TileGrid(fine.shape, card.tile_px, card.halo_px))
