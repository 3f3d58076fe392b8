"""Verification and repair of the user's edits, which are kept twice.

The array has what all of them painted; a file of its own has each edit, with what it covered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import DamagedFileError
from napari_twostage.result.edits import SavedEdit
from napari_twostage.result.findings import Finding, set_aside
from napari_twostage.result.label_arrays import EDITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.journal_events import EditMade
    from napari_twostage.result.result_files import ResultFiles


def check_edits(files: ResultFiles) -> Iterator[Finding]:
    """Verify both copies of all edits."""
    for edit in files.edits.unrecorded():
        yield Finding(f"undo/{edit.number}.npz", "restored", "an edit that the journal lacks")
    damaged = _damaged_tiles(files)
    for tile in sorted(damaged):
        whole = all(_has_labels(files, edit) for edit in _edits_of(files, tile))
        where = files.store.arrays[EDITS].path_of(tile)
        name = EDITS if where is None else files.name_of(where)
        yield Finding(name, "restored" if whole else "lost", f"painted labels of tile {list(tile)}")
    for edit in _without_file(files):
        found = f"the way back from edit {edit.number}, which stands"
        whole = _can_be_saved_again(files, edit, damaged)
        yield Finding(f"undo/{edit.number}.npz", "restored" if whole else "lost", found)


def restore_edits(files: ResultFiles) -> None:
    """Restore each copy from the other."""
    files.edits.recover()
    damaged = _damaged_tiles(files)
    lacking = [e for e in _without_file(files) if _can_be_saved_again(files, e, damaged)]
    for tile in damaged:
        where = files.store.arrays[EDITS].path_of(tile)
        if where is not None:
            set_aside(files.path, files.name_of(where))
    files.edits.paint_again(map(files.layout.tiles.box, damaged))
    for edit in lacking:
        set_aside(files.path, f"undo/{edit.number}.npz")
        files.edits.save_again(edit)


def _damaged_tiles(files: ResultFiles) -> set[Tile]:
    """Tiles with edits whose painted labels are damaged or missing."""
    behind = {event.number for event in files.log.unstored}
    found = set()
    for edit in files.log.edits:
        must_be = edit.waits and edit.number not in behind
        for tile in files.layout.tiles.touching(edit.box):
            if not files.store.is_whole(EDITS, tile, must_be=must_be):
                found.add(tile)
    return found


def _edits_of(files: ResultFiles, tile: Tile) -> list[EditMade]:
    box = files.layout.tiles.box(tile)
    return [edit for edit in files.log.edits if edit.box.intersect(box).area]


def _has_labels(files: ResultFiles, edit: EditMade) -> bool:
    saved = _saved(files, edit)
    return saved is not None and saved.after is not None


def _without_file(files: ResultFiles) -> list[EditMade]:
    return [edit for edit in files.log.edits if _saved(files, edit) is None]


def _can_be_saved_again(files: ResultFiles, edit: EditMade, damaged: set[Tile]) -> bool:
    """Whether the labels from before and after an edit follow from the array and other edits."""
    if any(tile in damaged for tile in files.layout.tiles.touching(edit.box)):
        return False
    under = [one for one in files.log.edits if one.number < edit.number]
    return all(_has_labels(files, one) for one in under if one.box.intersect(edit.box).area)


def _saved(files: ResultFiles, edit: EditMade) -> SavedEdit | None:
    """The file of an edit; None if it is missing, damaged, or of another edit."""
    try:
        saved = SavedEdit.load(files.edits.file(edit.number))
    except DamagedFileError:
        return None
    is_its_own = saved.before.shape == edit.box.shape and saved.box in (None, edit.box)
    return saved if is_its_own else None
