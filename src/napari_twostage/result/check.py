"""Verification and repair of a result folder.

Everything but the user's edits follows from the slide and the model: what is damaged of that is
computed again. Edits are kept twice, in the array and in a file of their own, and the record is
kept twice as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import DamagedFileError, SegmentationError
from napari_twostage.io.files import read_file
from napari_twostage.io.url import Url
from napari_twostage.result.check_edits import check_edits, restore_edits
from napari_twostage.result.findings import Finding, set_aside, set_aside_unreadable
from napari_twostage.result.journal import FILE as JOURNAL
from napari_twostage.result.journal import Journal
from napari_twostage.result.journal_events import Created, PixelsLost, RecordGrown, parse
from napari_twostage.result.label_arrays import (
    DEPTH,
    LOGITS,
    METADATA,
    REFINED,
    create_arrays,
    open_array,
    plan_arrays,
    pyramid_array,
)
from napari_twostage.result.record import FILE as RECORD
from napari_twostage.result.record import Record, read_record, write_record
from napari_twostage.result.result_files import layout_of, storage
from napari_twostage.result.writer_lock import WriterLock
from napari_twostage.slides.pyramid_check import MARKER, damaged_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.journal import Line
    from napari_twostage.result.journal_events import Event
    from napari_twostage.result.layout import Layout
    from napari_twostage.result.result_files import ResultFiles


PYRAMID = "pyramid"
"""Folder of the coarse levels made for a slide that has none."""


def check_metadata(folder: Location) -> list[Finding]:
    """Verify the files without which a result cannot be opened.

    Raises
    ------
    SegmentationError
        If the folder is no result, or of a newer format.
    DamagedFileError
        If the record is damaged and so is its copy.
    """
    record, findings = _readable_record(folder)
    if not _is_readable_journal(folder):
        findings.append(Finding(JOURNAL, "computed again", "the journal cannot be read"))
    return [*findings, *(finding for _, finding in _damaged_arrays(folder, layout_of(record)))]


def repair_metadata(folder: Location) -> list[Finding]:
    """Restore the files without which a result cannot be opened; errors as `check_metadata`."""
    findings = check_metadata(folder)
    if not findings:
        return []
    with storage(folder), WriterLock(folder).hold():
        record, damaged_record = _readable_record(folder)
        if damaged_record:
            set_aside(folder, RECORD)
            write_record(folder, record)
        if not _is_readable_journal(folder):
            set_aside(folder, JOURNAL)
        layout = layout_of(record)
        names = [name for name, _ in _damaged_arrays(folder, layout)]
        for name in names:
            set_aside(folder, f"{name}/{METADATA}" if name else METADATA)
        create_arrays(folder, layout, [name for name in names if name])
    return findings


def check(files: ResultFiles) -> Iterator[Finding]:
    """Verify all pixels, tables and edits of an opened result."""
    yield from _check_journal(files)
    yield from _check_tables(files)
    lost = _lost_windows(files)
    for core in lost:
        chunk = (0, *files.layout.window_index(core))
        yield _found_chunk(files, LOGITS, chunk, f"coarse window {core.as_list()}")
    for array, tile in _lost_chunks(files):
        yield _found_chunk(files, array, tile, f"refined tile {list(tile)}")
    for step, index in sorted(files.store.pyramid.damaged()):
        yield _found_chunk(files, pyramid_array(step), index, "the overview of the labels")
    if (name := damaged_file(files.path / PYRAMID)) is not None:
        yield Finding(f"{PYRAMID}/{name}", "computed again", "the coarse levels of the slide")
    yield from check_edits(files)


def repair(files: ResultFiles) -> list[Finding]:
    """Restore what can be, and have the rest computed again by the next run.

    Raises
    ------
    LockedError
        If another process or window is writing.
    StorageError
        If the disk is full, gone or refuses.
    """
    if not any(True for _ in check(files)):
        return []
    with files.writing():
        findings = list(check(files))
        restore_edits(files)
        lost = PixelsLost(tuple(_lost_windows(files)), tuple(_lost_tiles(files)))
        levels = files.store.pyramid.damaged()
        for name in dict.fromkeys(finding.file for finding in findings):
            set_aside_unreadable(files.path, name)
        if any(finding.file == JOURNAL and finding.verdict != "lost" for finding in findings):
            files.log.drop_damaged_lines(Created(files.record.as_dict()))
            files.write_record(files.record)  # which says how long the journal is
        if lost != PixelsLost():
            files.log.record(lost, at_once=True)
            files.store.unmark(lost.tiles, lost.windows)
            files.scores.forget_windows()
        _repair_tables(files, {finding.file for finding in findings})
        files.store.pyramid.mend(levels)
        files.flush()
    return findings


def _repair_tables(files: ResultFiles, damaged: set[str]) -> None:
    """Set small files aside that a run writes anew, and write the uncertainty map."""
    for name in ("tissue.npz", "statistics.npz"):
        if name in damaged:
            set_aside(files.path, name)
    files.scores.forget_tissue()
    if "heat" in damaged:
        files.scores.uncertainty_map.rewrite()
    if any(name.startswith(f"{PYRAMID}/") for name in damaged):
        set_aside(files.path, f"{PYRAMID}/{MARKER}")  # the next run makes the pyramid again


def _readable_record(folder: Location) -> tuple[Record, list[Finding]]:
    """The record, from the journal if its own file is damaged."""
    try:
        return read_record(folder), []
    except DamagedFileError as error:
        copy = _copy_of_record(folder)
        if copy is None:
            raise
        return copy, [Finding(RECORD, "restored", f"the record of slide and model ({error.why})")]


def _copy_of_record(folder: Location) -> Record | None:
    """The record as it was when the folder was made."""
    copy = None
    try:
        for line in Journal(folder / JOURNAL).events():
            event = None if line is None else _parsed(line)
            if isinstance(event, Created):
                copy = event.record
            elif isinstance(event, RecordGrown) and copy is not None:
                copy = event.applied_to(copy)
        return None if copy is None else Record.from_dict(copy, str(folder / JOURNAL))
    except (KeyError, TypeError, DamagedFileError):
        return None


def _parsed(line: Line) -> Event | None:
    try:
        return parse(line)
    except SegmentationError:
        return None


def _is_readable_journal(folder: Location) -> bool:
    try:
        next(Journal(folder / JOURNAL).events(), None)
    except DamagedFileError:
        return False
    return True


def _damaged_arrays(folder: Location, layout: Layout) -> Iterator[tuple[str, Finding]]:
    """Arrays whose metadata are damaged, and the group of all as a name without letters."""
    for name, plan in plan_arrays(layout, sharded=True).items():
        try:
            open_array(folder, name, plan)
        except DamagedFileError as error:
            found = f"the description of an array{f' ({error.why})' if error.why else ''}"
            yield name, Finding(f"{name}/{METADATA}", "restored", found)
    if not isinstance(folder, Url) and not _is_json(folder / METADATA):
        yield "", Finding(METADATA, "restored", "the description of the arrays' group")


def _is_json(file: Location) -> bool:
    if isinstance(file, Url):
        return True
    try:
        return isinstance(json.loads(read_file(file)), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _check_journal(files: ResultFiles) -> Iterator[Finding]:
    lines, empty = files.log.damaged_lines, not files.log.lines
    if lines or (empty and any(run.finished or run.refined for run in files.record.runs)):
        found = "all" if empty else str(lines)
        found = f"{found} lines are damaged or missing: what they recorded"
        yield Finding(JOURNAL, "computed again", found)
        if not _is_newer(files):
            yield Finding(JOURNAL, "lost", "edits, if the lines recorded any: 0.1 has no copy")
    if files.log.created is None and _is_newer(files):
        yield Finding(JOURNAL, "computed again", "its beginning is missing: what it recorded")
    for kind in sorted(files.log.unknown_events):
        yield Finding(JOURNAL, "lost", f"events '{kind}' that only a later version knows")


def _is_newer(files: ResultFiles) -> bool:
    """Whether the result was begun by a version that begins journals with a copy of the record."""
    return files.record.journal_version > 1


def _check_tables(files: ResultFiles) -> Iterator[Finding]:
    scores = files.scores
    if scores.tissue_known:
        try:
            _ = scores.tissue, scores.tissue_mask
        except DamagedFileError:
            yield Finding("tissue.npz", "computed again", "where the tissue is")
            return
    elif files.log.windows:
        yield Finding("tissue.npz", "computed again", "where the tissue is (missing)")
        return
    if scores.complete and not scores.statistics_sound:
        yield Finding("statistics.npz", "computed again", "scores of the tiles")
    if files.log.windows and not scores.uncertainty_map.is_sound:
        yield Finding("heat", "computed again", "the uncertainty map")


def _lost_windows(files: ResultFiles) -> list[Box]:
    """Recorded windows whose logits are damaged or missing."""
    tissue, lost = _tissue(files), []
    for core in sorted(files.log.windows):
        index = (0, *files.layout.window_index(core))
        must_be = _has_readable_tissue(files, core, tissue)
        if not files.store.is_whole(LOGITS, index, must_be=must_be):
            lost.append(core)
    return lost


def _lost_tiles(files: ResultFiles) -> list[Tile]:
    """Recorded tiles whose pixels are damaged or missing."""
    return sorted({tile for _, tile in _lost_chunks(files)})


def _lost_chunks(files: ResultFiles) -> Iterator[tuple[str, Tile]]:
    """Array and tile of every chunk of a recorded tile that is damaged or missing."""
    names = [name for name in (REFINED, DEPTH) if name in files.store.arrays]
    for row, column in zip(*np.nonzero(files.log.refined), strict=True):
        tile = int(row), int(column)
        for name in names:
            if not files.store.is_whole(name, tile, must_be=True):
                yield name, tile


def _found_chunk(files: ResultFiles, name: str, index: tuple[int, ...], what: str) -> Finding:
    """A chunk that is computed again, named by its file."""
    where = files.store.arrays[name].path_of(index)
    return Finding(name if where is None else files.name_of(where), "computed again", what)


def _tissue(files: ResultFiles) -> np.ndarray | None:
    try:
        return files.scores.tissue if files.scores.tissue_known else None
    except DamagedFileError:
        return None


def _has_readable_tissue(files: ResultFiles, core: Box, tissue: np.ndarray | None) -> bool:
    """Whether a window must have logits: those of a tile with tissue that could be read."""
    if tissue is None:
        return False
    tiles = files.layout.tiles.touching(files.layout.fine_box(core))
    unreadable = files.log.unreadable_windows.get(core, frozenset())
    return any(tissue[tile] and tile not in unreadable for tile in tiles)
