"""Verification and repair of a result folder.

Everything but the user's edits follows from the slide and the model: what is damaged of that is
computed again. Edits are kept twice, in the array and in a file of their own, and the record is
kept twice as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from napari_twostage.errors import DamagedFileError
from napari_twostage.io.files import read_file, rename
from napari_twostage.io.url import Url
from napari_twostage.result.edits import SavedEdit
from napari_twostage.result.journal import FILE as JOURNAL
from napari_twostage.result.journal import Journal
from napari_twostage.result.journal_events import Created, EditMade, PixelsLost
from napari_twostage.result.label_arrays import (
    EDITS,
    LOGITS,
    METADATA,
    REFINED,
    create_arrays,
    open_array,
    plan_arrays,
)
from napari_twostage.result.record import FILE as RECORD
from napari_twostage.result.record import Record, read_record, write_record
from napari_twostage.result.result_files import layout_of, storage
from napari_twostage.result.writer_lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.layout import Layout
    from napari_twostage.result.result_files import ResultFiles

DAMAGED = "damaged"
"""Folder, in a result, of files that were set aside."""
Verdict = Literal["computed again", "restored", "lost"]


class Finding(NamedTuple):
    """A damaged part of a result."""

    file: str
    """Path in the folder."""
    verdict: Verdict
    """``computed again`` by the next `segment` or `refine`, ``restored`` from a second copy by a
    repair, or ``lost``."""
    what: str
    """What is affected."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.verdict}"


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
    for _, finding in _lost_windows(files):
        yield finding
    for _, finding in _lost_tiles(files):
        yield finding
    for _, finding in _damaged_levels(files):
        yield finding
    yield from _check_edits(files)


def repair(files: ResultFiles) -> list[Finding]:
    """Restore what can be, and have the rest computed again by the next run.

    Raises
    ------
    LockedError
        If another process or window is writing.
    StorageError
        If the disk is full, gone or refuses.
    """
    findings = list(check(files))
    if not findings:
        return []
    with files.writing():
        _restore_edits(files)
        if any(finding.file == JOURNAL and finding.verdict != "lost" for finding in findings):
            files.log.drop_damaged_lines(Created(files.record.as_dict()))
        windows = tuple(core for core, _ in _lost_windows(files))
        tiles = tuple(tile for tile, _ in _lost_tiles(files))
        if windows or tiles:
            lost = PixelsLost(windows, tiles)
            files.log.record(lost, at_once=True)
            files.store.unmark(lost.tiles, lost.windows)
            files.scores.forget_windows()
        for name in ("tissue.npz", "statistics.npz"):
            if any(finding.file == name for finding in findings):
                set_aside(files.path, name)
        files.scores.forget_tissue()
        if any(finding.file == "heat" for finding in findings):
            files.scores.uncertainty_map.rewrite()
        for level, _ in _damaged_levels(files):
            files.store.pyramid.mend(level)
        files.flush()
    return findings


def set_aside(folder: Location, name: str) -> None:
    """Move a damaged file out of the way, so that nothing is deleted; nothing where none is."""
    file = folder / name
    if isinstance(folder, Url) or isinstance(file, Url) or not file.exists():
        return  # an object is replaced as a whole
    away = folder / DAMAGED
    away.mkdir(exist_ok=True)
    target = away / name.replace("/", "-")
    for number in range(1, 1000):
        if not target.exists():
            break
        target = away / f"{name.replace('/', '-')}.{number}"
    rename(file, target)


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
    for line in Journal(folder / JOURNAL).events():
        if line is not None and line.get("event") == "created":
            try:
                return Record.from_dict(line["record"], str(folder / JOURNAL))
            except (KeyError, DamagedFileError):
                return None
    return None


def _damaged_arrays(folder: Location, layout: Layout) -> Iterator[tuple[str, Finding]]:
    """Arrays whose metadata are damaged, and the group of all as a name without letters."""
    for name, plan in plan_arrays(layout, sharded=not isinstance(folder, Url)).items():
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
    lines = files.log.damaged_lines
    if lines:
        yield Finding(JOURNAL, "computed again", f"{lines} damaged lines: what they recorded")
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


def _lost_windows(files: ResultFiles) -> Iterator[tuple[Box, Finding]]:
    """Recorded windows whose logits are damaged or missing."""
    array = files.store.arrays[LOGITS]
    tissue = _tissue(files)
    for core in sorted(files.log.windows):
        index = (0, *files.layout.window_index(core))
        if not _is_whole(files, LOGITS, index, must_be=_has_readable_tissue(files, core, tissue)):
            where = array.path_of(index)
            name = LOGITS if where is None else _relative(files, where)
            yield core, Finding(name, "computed again", f"coarse window {core.as_list()}")


def _lost_tiles(files: ResultFiles) -> Iterator[tuple[Tile, Finding]]:
    """Recorded tiles whose labels are damaged or missing."""
    array = files.store.arrays[REFINED]
    for row, column in zip(*np.nonzero(files.log.refined), strict=True):
        tile = int(row), int(column)
        if not _is_whole(files, REFINED, tile, must_be=True):
            where = array.path_of(tile)
            name = REFINED if where is None else _relative(files, where)
            yield tile, Finding(name, "computed again", f"refined tile {list(tile)}")


def _damaged_levels(files: ResultFiles) -> Iterator[tuple[int, Finding]]:
    """Levels of the label pyramid with damaged chunks; each once."""
    for step, index in files.store.pyramid.damaged():
        name = f"overview/{step}"
        where = files.store.arrays[name].path_of(index)
        found = name if where is None else _relative(files, where)
        yield step, Finding(found, "computed again", "the overview of the labels")


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
    return any(tissue[tile] and tile not in files.log.failed for tile in tiles)


def _is_whole(files: ResultFiles, name: str, index: tuple[int, ...], *, must_be: bool) -> bool:
    try:
        return files.store.arrays[name].read_chunk(index) is not None or not must_be
    except DamagedFileError:
        return False


# -- edits ------------------------------------------------------------------------------------


def _check_edits(files: ResultFiles) -> Iterator[Finding]:
    standing = {edit.number for edit in files.log.edits}
    for number in _unrecorded(files):
        yield Finding(f"undo/{number}.npz", "restored", "an edit that the journal lost")
    broken = {edit.number for edit in files.log.edits if _saved(files, edit.number) is None}
    for tile in sorted(_damaged_edit_tiles(files)):
        over = [edit for edit in files.log.edits if tile in files.layout.tiles.touching(edit.box)]
        saved = [_saved(files, edit.number) for edit in over]
        whole = all(one is not None and one.after is not None for one in saved)
        where = files.store.arrays[EDITS].path_of(tile)
        name = EDITS if where is None else _relative(files, where)
        yield Finding(name, "restored" if whole else "lost", f"painted labels of tile {list(tile)}")
    for number in sorted(broken & standing):
        yield Finding(
            f"undo/{number}.npz", "lost", f"the way back from edit {number}, which stands"
        )


def _unrecorded(files: ResultFiles) -> list[int]:
    """Edits with a whole file whose lines the journal has lost."""
    if not files.log.damaged_lines and (files.log.created is not None or not _is_newer(files)):
        return []
    known = {edit.number for edit in files.log.edits} | set(files.log.undone_boxes)
    numbers = sorted(files.edits.numbers_on_disk() - known)
    return [number for number in numbers if _edit_of(files, number) is not None]


def _edit_of(files: ResultFiles, number: int) -> EditMade | None:
    """The event of an edit, from its file."""
    saved = _saved(files, number)
    if saved is None or saved.box is None or saved.after is None:
        return None
    return EditMade(number, saved.box) if files.layout.fine.box.contains(saved.box) else None


def _saved(files: ResultFiles, number: int) -> SavedEdit | None:
    try:
        return SavedEdit.load(files.edits.file(number))
    except DamagedFileError:
        return None


def _damaged_edit_tiles(files: ResultFiles) -> set[Tile]:
    tiles = {tile for edit in files.log.edits for tile in files.layout.tiles.touching(edit.box)}
    return {tile for tile in tiles if not _is_whole(files, EDITS, tile, must_be=False)}


def _restore_edits(files: ResultFiles) -> None:
    """Record edits that the journal lost, and paint damaged tiles anew from the edits' files."""
    for number in _unrecorded(files):
        event = _edit_of(files, number)
        if event is not None:
            files.log.record(event, at_once=True)
    files.edits.follow()
    damaged = _damaged_edit_tiles(files)
    for tile in damaged:
        where = files.store.arrays[EDITS].path_of(tile)
        if where is not None:
            set_aside(files.path, _relative(files, where))
    files.edits.paint_again(map(files.layout.tiles.box, damaged))
    files.edits.settle()


def _relative(files: ResultFiles, file: Location) -> str:
    return str(file)[len(str(files.path)) + 1 :].replace("\\", "/")
