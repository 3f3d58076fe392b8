"""Events of a journal, and the JSON objects that represent them on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SegmentationError
from napari_twostage.geometry import Box

if TYPE_CHECKING:
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

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {"event": "refined", "tiles": [list(tile) for tile in self.tiles]}


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

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {"event": "edit", "number": self.number, "box": self.box.as_list()}


@dataclass(frozen=True, slots=True)
class EditUndone:
    """An edit was taken back."""

    number: int

    def as_json(self) -> dict[str, Any]:
        """The object that `parse` reads."""
        return {"event": "undo", "number": self.number}


Event = WindowDone | TilesRefined | TilesFailed | PyramidFlushed | EditMade | EditUndone


def parse(values: dict[str, Any]) -> Event | None:
    """Read an event; None for a kind that only later versions know.

    Raises
    ------
    SegmentationError
        If an entry is missing or of another kind.
    """
    try:
        match values["event"]:
            case "window":
                unreadable = {(row, column): str(why) for row, column, why in values["unreadable"]}
                # earlier results do not say: their windows are in the pyramid
                return WindowDone(Box(*values["core"]), unreadable, values.get("shown", True))
            case "refined":
                return TilesRefined(_tiles(values["tiles"]))
            case "failed":
                return TilesFailed(_tiles(values["tiles"]), str(values["reason"]))
            case "overview":
                return PyramidFlushed()
            case "edit":
                return EditMade(int(values["number"]), Box(*values["box"]))
            case "undo":
                return EditUndone(int(values["number"]))
            case _:
                return None
    except (KeyError, TypeError, ValueError) as error:
        raise SegmentationError(
            f"the journal holds an event that cannot be read: {values!r} ({error!r})"
        ) from error


def _tiles(pairs: list[list[int]]) -> tuple[Tile, ...]:
    return tuple((row, column) for row, column in pairs)
