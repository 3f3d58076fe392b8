"""Classes of a data set: names, values and mask colours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """Foreground classes: entry i has mask value i + 1; empty for one class of any name."""

    names: tuple[str, ...] = ()
    colours: tuple[Colour | None, ...] = ()
    """Colour of each class in RGB masks; None if masks hold its value only."""

    @classmethod
    def parse(cls, entries: Sequence[str]) -> Classes:
        """Parse ``name`` or ``name=#rrggbb`` entries, in the order of the values.

        Raises
        ------
        DatasetError
            If a name or a colour is used twice, or an entry is neither.

        Examples
        --------
        >>> Classes.parse(["tumour=#ff0000", "stroma"]).colours
        ((255, 0, 0), None)
        """
        names, colours = [], []
        for entry in entries:
            name, equals, colour = entry.partition("=")
            if not name or (equals and not re.fullmatch("#[0-9a-fA-F]{6}", colour)):
                raise DatasetError(f"class '{entry}' is neither a name nor name=#rrggbb")
            names.append(name)
            colours.append(_rgb(colour) if colour else None)
        painted = [colour for colour in colours if colour]
        if len(set(names)) < len(names) or len(set(painted)) < len(painted):
            raise DatasetError(f"classes {', '.join(entries)}: a name or a colour is used twice")
        if (0, 0, 0) in painted:
            raise DatasetError(f"classes {', '.join(entries)}: black is the background's colour")
        return cls(tuple(names), tuple(colours))

    @property
    def count(self) -> int:
        """Number of foreground classes, at least 1."""
        return max(1, len(self.names))


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
