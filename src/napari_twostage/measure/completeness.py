"""How much of a result is there: windows of the coarse pass, tiles of the last run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_twostage.result.result import Result

GO_ON = "repeat the command that was stopped to go on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Share of its last run that a result holds."""

    tissue_known: bool
    """Whether tissue detection has run; before it nothing can be counted."""
    windows_done: int
    """Coarse windows that are done."""
    windows_needed: int
    """Coarse windows that hold tissue; 0 before tissue detection."""
    coarse_complete: bool
    """Whether stage 1 has seen all tissue, and all tiles have their scores."""
    run_finished: bool
    """Whether the last run came to its end."""
    tiles_selected: int | None
    """Tiles that the last run was to refine; None if it was stopped before it recorded them."""
    tiles_left: int | None
    """Those of them that it did not refine; None if `tiles_selected` is."""
    tiles_failed: int
    """Tiles that could not be read or computed."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.coarse_complete and self.run_finished and not self.tiles_failed

    def missing(self) -> dict[str, Any]:
        """Missing parts, in types that JSON holds; empty if nothing is."""
        found: dict[str, Any] = {}
        if not self.tissue_known:
            found["tissue"] = "not searched"
        elif not self.coarse_complete:
            found["coarse_windows"] = {"done": self.windows_done, "needed": self.windows_needed}
        if not self.run_finished:
            found["selected_tiles"] = self.tiles_left
        if self.tiles_failed:
            found["failed_tiles"] = self.tiles_failed
        return found

    def describe(self) -> str:
        """Missing parts, in one line that says what to do; empty if nothing is.

        Examples
        --------
        >>> found = Completeness(
        ...     tissue_known=True, windows_done=41, windows_needed=120, coarse_complete=False,
        ...     run_finished=False, tiles_selected=None, tiles_left=None, tiles_failed=0,
        ... )
        >>> found.describe().partition(";")[0]
        'coarse pass 41 of 120 windows, nothing can be said beyond'
        """
        parts = self._parts()
        return f"{', '.join(parts)}; {GO_ON}" if parts else ""

    def _parts(self) -> list[str]:
        if not self.tissue_known:
            return ["stopped before the tissue was found, so nothing is there yet"]
        parts = []
        if not self.coarse_complete:
            done = f"coarse pass {self.windows_done:,} of {self.windows_needed:,} windows"
            parts.append(f"{done}, nothing can be said beyond")
        elif not self.run_finished and self.tiles_left is None:
            parts.append("the last run was stopped, and which tiles it selected is not recorded")
        elif not self.run_finished:
            parts.append(
                f"{self.tiles_left:,} of {self.tiles_selected:,} selected tiles not refined"
            )
        if self.tiles_failed:
            parts.append(f"{self.tiles_failed:,} tile{'s' * (self.tiles_failed > 1)} failed")
        return parts


def completeness(result: Result) -> Completeness:
    """Measure what a result holds of what its last run was to compute; reads no pixels."""
    known = result.tissue_known
    needed = int(result.windows_needed.sum()) if known else 0
    left = int(result.windows_left.sum()) if known else 0
    last = result.record.last_run
    selected = None if last is None or last.plan is None else last.planned_tiles
    return Completeness(
        tissue_known=known,
        windows_done=needed - left,
        windows_needed=needed,
        coarse_complete=known and not left,
        run_finished=bool(result.record.runs) if last is None else last.finished,
        tiles_selected=selected,
        tiles_left=None if last is None or selected is None else max(0, selected - last.refined),
        tiles_failed=len(result.failures),
    )


def unfinished_note(result: Result) -> dict[str, Any]:
    """Missing parts of a result, for a file that is exported; empty if nothing is."""
    there = completeness(result)
    if there.complete:
        return {}
    return {"complete": False, "missing": there.missing(), "unfinished": there.describe()}
