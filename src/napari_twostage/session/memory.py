"""Memory of a window: which runs were opened, and how each was looked at."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import platformdirs

from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate, read_whole, write_whole
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.io.paths import Location

MOST_RUNS = 300
"""Runs that are remembered; those that were opened longest ago are forgotten."""


@dataclass(slots=True)
class Remembered:
    """How a run was last looked at."""

    slide: str
    """Path or URL of the slide; empty for an array."""
    model: str
    """Hash of the model."""
    threshold: float | None = None
    view: Box | None = None
    """Visible box of the slide's level 0."""
    sections: list[str] = field(default_factory=list)
    """Sections of the panel that were open."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name."""
        return {**asdict(self), "view": None if self.view is None else self.view.as_list()}


class RunMemory:
    """Runs that were opened, the last one at the end, in a file of the user.

    A file that cannot be read or written is no error: nothing is remembered then.

    Parameters
    ----------
    file : Path, optional
        By default one in the user's folder for such state.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or platformdirs.user_state_path("napari-twostage") / "runs.json"

    def recall(self, run: Location) -> Remembered | None:
        """How a run was last looked at; None if it was never opened."""
        return self._read().get(str(run))

    def runs_of(self, slide: Location | None, model: str | None = None) -> list[Location]:
        """Runs of a slide that were opened, the last one first.

        Parameters
        ----------
        slide : Path or Url, optional
            Place of the slide; there are none without.
        model : str, optional
            Hash of the model, to list its runs only.
        """
        if slide is None:
            return []
        return [
            locate(run)
            for run, how in reversed(self._read().items())
            if how.slide == slide_name(slide) and model in (None, how.model)
        ]

    def recent_slides(self, most: int) -> list[Location]:
        """Slides of the runs that were opened last and are still there, the last one first."""
        names = dict.fromkeys(how.slide for how in reversed(self._read().values()) if how.slide)
        places = (locate(name) for name in names)
        return [place for place in islice(places, most) if isinstance(place, Url) or place.exists()]

    def keep(self, run: Location, how: Remembered) -> None:
        """Remember a run as the one that was opened last."""
        known = self._read()
        known.pop(str(run), None)
        known[str(run)] = how
        kept = list(known.items())[-MOST_RUNS:]
        text = json.dumps({name: entry.as_dict() for name, entry in kept}, indent=1)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, text.encode())
        except OSError:
            return  # a full disk, or a home that cannot be written

    def _read(self) -> dict[str, Remembered]:
        try:
            entries = json.loads(read_whole(self._file)).items()
            return {run: _parse(values) for run, values in entries}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}


def slide_name(slide: Location | None) -> str:
    """Name of a slide in the memory; empty for an array."""
    return "" if slide is None else str(slide.absolute())


def _parse(values: dict[str, Any]) -> Remembered:
    view = values["view"]
    return Remembered(**{**values, "view": None if view is None else Box(*view)})
