"""Columns of the table of objects: names with units, and how they are written as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Column:
    """A measurement of objects."""

    name: str
    """Name with the unit; ``_px`` is in level-0 pixels from the slide's top left."""
    form: str
    """Format of its numbers as text."""
    qupath: str = ""
    """Name in QuPath; empty for what QuPath knows by itself, such as places."""


PLACES = (
    Column("centroid_x_px", ".2f"),
    Column("centroid_y_px", ".2f"),
    Column("centroid_x_um", ".3f"),
    Column("centroid_y_um", ".3f"),
)
SIZES = (
    Column("area_um2", ".3f", "Area um^2"),
    Column("perimeter_um", ".3f", "Perimeter um"),
)
BOXES = tuple(Column(f"{side}_px", ".6g") for side in ("left", "top", "right", "bottom"))
REFINED = Column("refined_fraction", ".4f", "Refined fraction")
SHAPES = (
    Column("eccentricity", ".4f", "Eccentricity"),
    Column("solidity", ".4f", "Solidity"),
    Column("circularity", ".4f", "Circularity"),
    Column("major_axis_um", ".3f", "Major axis um"),
    Column("minor_axis_um", ".3f", "Minor axis um"),
)
MEASUREMENTS = (*SIZES, *SHAPES, REFINED)
"""Columns that say something of the object itself, and not where it lies."""


def number_texts(numbers: NDArray[np.floating], form: str) -> list[str]:
    """Numbers as text; empty for NaN.

    Examples
    --------
    >>> number_texts(np.array([1.25, np.nan]), ".1f")
    ['1.2', '']
    """
    texts = list(map(f"{{:{form}}}".format, numbers.tolist()))
    for place in np.flatnonzero(np.isnan(numbers)).tolist():
        texts[place] = ""
    return texts
