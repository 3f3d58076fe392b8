"""Events of a journal, and the JSON objects that represent them on disk.

An edit is committed by its line alone: its labels wait in a file of their own, and are laid over
what is read, until the arrays have them and `EditStored` says so. Version 0.1 wrote the arrays
first and the line last; its lines say nothing of labels that wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SegmentationError
from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.method.tiling import Tile


@dataclass(frozen=True, slots=True)
class WindowDone:
    """Stage 1 has seen a coarse window; its pixels are on disk."""

    core: Box
    """The window's own coarse pixels, inside the slide."""
    unreadable: dict[Tile, str]
    """Tiles whose pixels could not be read, and why."""
    in_pyramid: bool = True
    """Whether the label pyramid on disk has the window, too."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        unreadable = [[*tile, reason] for tile, reason in self.unreadable.items()]
        values = {"event": "window", "core": self.core.as_list(), "unreadable": unreadable}
        return values if self.in_pyramid else {**values, "shown": False}


@dataclass(frozen=True, slots=True)
class TilesRefined:
    """Stage 2 has seen tiles; their pixels are on disk."""

    tiles: tuple[Tile, ...]
    token: str | None = None
    """Token of the run whose tiles are brought back after `RefinementUndone`, "" if it has none;
    None for tiles that were computed now."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        values = {"event": "refined", "tiles": [list(tile) for tile in self.tiles]}
        return values if self.token is None else {**values, "again": self.token}


@dataclass(frozen=True, slots=True)
class TilesFailed:
    """Tiles could not be refined."""

    tiles: tuple[Tile, ...]
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        tiles = [list(tile) for tile in self.tiles]
        return {"event": "failed", "tiles": tiles, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class TilesAccepted:
    """The user looked at tiles and left their labels as they are, or took that back."""

    tiles: tuple[Tile, ...]
    taken_back: bool = False

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        values = {"event": "accepted", "tiles": [list(tile) for tile in self.tiles]}
        return {**values, "taken_back": True} if self.taken_back else values


@dataclass(frozen=True, slots=True)
class PyramidFlushed:
    """The label pyramid on disk has all that was recorded so far."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {"event": "overview"}


@dataclass(frozen=True, slots=True)
class EditMade:
    """The user painted in a box of the fine grid."""

    number: int
    box: Box
    waits: bool = True
    """Whether its labels wait in its file; see `EditStored`."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        values = {"event": "edit", "number": self.number, "box": self.box.as_list()}
        return {**values, "waits": True} if self.waits else values


@dataclass(frozen=True, slots=True)
class EditUndone:
    """An edit was taken back."""

    number: int
    waits: bool = True
    """Whether the labels from before wait in the edit's file; see `EditStored`."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        values = {"event": "undo", "number": self.number}
        return {**values, "waits": True} if self.waits else values


@dataclass(frozen=True, slots=True)
class EditStored:
    """The arrays on disk have an edit, or no longer have one that was taken back."""

    number: int

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {"event": "stored", "number": self.number}


@dataclass(frozen=True, slots=True)
class PixelsLost:
    """Pixels that were recorded are damaged: windows and tiles that must be computed again."""

    windows: tuple[Box, ...] = ()
    """Cores of coarse windows."""
    tiles: tuple[Tile, ...] = ()
    """Refined tiles."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        cores = [core.as_list() for core in self.windows]
        return {"event": "lost", "windows": cores, "tiles": [list(tile) for tile in self.tiles]}


@dataclass(frozen=True, slots=True)
class RefinementUndone:
    """The user took refined tiles back: coarse labels count there again.

    Their pixels stay on disk until they are refined anew. Written as a kind of `PixelsLost`, which
    earlier versions understand, too.
    """

    tiles: tuple[Tile, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {**PixelsLost(tiles=self.tiles).as_json(), "undone": True}


@dataclass(frozen=True, slots=True)
class Created:
    """The folder was made; the record as it was then, for when its file is damaged."""

    record: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {"event": "created", "record": self.record}


@dataclass(frozen=True, slots=True)
class RecordGrown:
    """The record has more than when the folder was made; a copy, as `Created`."""

    tissue: dict[str, Any] | None = None
    runs: tuple[dict[str, Any], ...] = ()
    """Runs that began or ended, the oldest first."""
    least_object_um2: float | None = None
    """Least area of objects that was asked for."""
    domain: dict[str, Any] | None = None
    """Comparison with the training images."""
    scope: list[list[list[float]]] | None = None
    """`Record.scope`, if it has changed; it may have become empty."""

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        values = {"event": "record", "tissue": self.tissue, "runs": list(self.runs)}
        return {**values, **self._changed}

    @property
    def _changed(self) -> dict[str, Any]:
        later = {
            "least_object_um2": self.least_object_um2,
            "domain": self.domain,
            "scope": self.scope,
        }
        return {name: value for name, value in later.items() if value is not None}

    def applied_to(self, record: dict[str, Any]) -> dict[str, Any]:
        """The copy of the record, as it is now."""
        tissue = {} if self.tissue is None else {"tissue": self.tissue}
        changed = {**tissue, **self._changed}
        runs = list(record["runs"])
        for run in self.runs:
            tokens = [one.get("token") for one in runs]
            if run.get("token") is not None and run["token"] in tokens:
                runs[tokens.index(run["token"])] = run  # it has ended, or was taken back
            else:
                runs.append(run)
        return {**record, **changed, "runs": runs}


Event = (
    WindowDone
    | TilesRefined
    | TilesFailed
    | TilesAccepted
    | PyramidFlushed
    | EditMade
    | EditUndone
    | EditStored
    | PixelsLost
    | RefinementUndone
    | Created
    | RecordGrown
)


def parse(values: dict[str, Any]) -> Event | None:
    """Read an event; None for a kind that only later versions know.

    Raises
    ------
    SegmentationError
        If an entry is missing or of another kind.
    """
    try:
        read = _READERS.get(values["event"])
        return None if read is None else read(values)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise SegmentationError(
            f"the journal holds an event that cannot be read: {values!r} ({error!r})"
        ) from error


def _window(values: dict[str, Any]) -> WindowDone:
    unreadable = {(int(row), int(column)): str(why) for row, column, why in values["unreadable"]}
    # earlier results do not say: their windows are in the pyramid
    return WindowDone(_box(values["core"]), unreadable, bool(values.get("shown", True)))


def _refined(values: dict[str, Any]) -> TilesRefined:
    token = values.get("again")
    return TilesRefined(_tiles(values["tiles"]), None if token is None else str(token))


def _lost(values: dict[str, Any]) -> PixelsLost | RefinementUndone:
    if values.get("undone"):
        return RefinementUndone(_tiles(values["tiles"]))
    return PixelsLost(tuple(map(_box, values["windows"])), _tiles(values["tiles"]))


_READERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "window": _window,
    "refined": _refined,
    "failed": lambda values: TilesFailed(_tiles(values["tiles"]), str(values["reason"])),
    "accepted": lambda values: TilesAccepted(
        _tiles(values["tiles"]), bool(values.get("taken_back", False))
    ),
    "overview": lambda _: PyramidFlushed(),
    "edit": lambda values: EditMade(_number(values), _box(values["box"]), _waits(values)),
    "undo": lambda values: EditUndone(_number(values), _waits(values)),
    "stored": lambda values: EditStored(_number(values)),
    "lost": _lost,
    "created": lambda values: Created(dict(values["record"])),
    "record": lambda values: RecordGrown(
        values["tissue"],
        tuple(map(dict, values["runs"])),
        values.get("least_object_um2"),
        values.get("domain"),
        values.get("scope"),
    ),
}


def _tiles(pairs: list[list[int]]) -> tuple[Tile, ...]:
    return tuple((int(row), int(column)) for row, column in pairs)


def _box(sides: list[int]) -> Box:
    return Box(*map(int, sides))


def _number(values: dict[str, Any]) -> int:
    return int(values["number"])


def _waits(values: dict[str, Any]) -> bool:
    return bool(values.get("waits", False))
