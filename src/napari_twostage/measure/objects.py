"""Objects of a result: connected regions of one class, of a least area.

One rule holds for the panel, the tables, GeoJSON and the record. Holes of an object that are below
the least area are filled, with whatever is in them; a region that is below it even then is no
object, but is counted as left out. The labels themselves stay as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.measure.blocks import block_rows
from napari_twostage.measure.members import Members
from napari_twostage.measure.merge import Merger
from napari_twostage.measure.tallies import tables
from napari_twostage.models.card_rules import LEAST_OBJECT_UM2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.merge import Objects
    from napari_twostage.measure.tallies import Row
    from napari_twostage.measure.within import Within
    from napari_twostage.result.result import Result


def least_pixels(least_object_um2: float, pixel_um2: float) -> int:
    """Pixels from which on a region has at least an area.

    Examples
    --------
    >>> least_pixels(8, 0.25), least_pixels(8.1, 0.25), least_pixels(0, 0.25)
    (32, 33, 0)
    """
    return math.ceil(least_object_um2 / pixel_um2 - 1e-9)


def checked_least_object(asked: object) -> float | None:
    """Check a least area that somebody asked for, in square micrometres.

    Returns
    -------
    float or None
        The area; None if none was asked for, which leaves it to the result.

    Raises
    ------
    SelectionError
        If it is no number from 0 to `LEAST_OBJECT_UM2`.
    """
    if asked is None:
        return None
    if isinstance(asked, int | float) and not isinstance(asked, bool):
        area = float(asked)
        if 0 <= area <= LEAST_OBJECT_UM2:
            return area
    raise SelectionError(
        f"the least area of objects must be 0 to {LEAST_OBJECT_UM2:g} µm²; found {asked!r}; "
        "0 keeps all"
    )


class ObjectScan:
    """Search for the objects of a result.

    Parameters
    ----------
    result : Result
        Result to measure, as it is now.
    least_object_um2 : float, optional
        Least area in square micrometres; that of the result if None, and 0 keeps all.
    members : bool
        Keep which region of each block is part of which object, for `outlines`.
    within : Within, optional
        Region to measure alone: objects are cut at its outline.
    """

    def __init__(
        self,
        result: Result,
        least_object_um2: float | None = None,
        *,
        members: bool = False,
        within: Within | None = None,
    ) -> None:
        self.result = result
        self._within = within
        self.states: NDArray[np.uint8] = result.states
        """`TileState` of every tile as the search began: (rows, columns)."""
        asked = checked_least_object(least_object_um2)
        self.least_object_um2 = result.least_object_um2 if asked is None else asked
        """Least area, in square micrometres."""
        self._members = Members() if members else None
        self._counts: list[int] = []
        least = least_pixels(self.least_object_um2, result.grid.pixel_area_um2)
        self._plane = result.grid.box if within is None else _blocks_around(result, within)
        """Part of the fine grid that is searched, in whole blocks."""
        self._merger = Merger(self._plane.shape, least, self._members)

    def objects(self, progress: ProgressCallback = lambda _: None) -> Iterator[Objects]:
        """Find all objects, each in one of the tables, as soon as it is complete; call it once.

        Parameters
        ----------
        progress : callable
            Called with the share done, in [0, 1], after each block.
        """
        return self.objects_of(tables(self.result, self.states, progress, self._within))

    def objects_of(self, rows: Iterable[Row]) -> Iterator[Objects]:
        """Find the objects of some tables of all blocks; as `objects`, call it once."""
        up, left = -self._plane.top, -self._plane.left
        for row in rows:
            self._counts += [len(table.regions) for _, table in row]
            yield self._merger.take([(box.shift(up, left), table) for box, table in row])

    @property
    def left_out(self) -> NDArray[np.int64]:
        """Regions that are no objects, by label value, once all were found: (256,)."""
        return self._merger.left_out

    @property
    def left_out_pixels(self) -> NDArray[np.int64]:
        """Pixels of the regions that are no objects, by label value: (256,)."""
        return self._merger.left_out_pixels

    @property
    def members(self) -> list[NDArray[np.int32]]:
        """Object of each region of each block, once all were found; 0 for none.

        Objects count from 1 in the order of the tables.
        """
        if self._members is None:
            raise ValueError("the search was made without members=True")
        ends = 1 + np.cumsum(self._counts)  # region 0 is the outside
        return np.split(self._members.objects(), [1, *ends.tolist()])[1:-1]


def _blocks_around(result: Result, within: Within) -> Box:
    rows = block_rows(result, within.box)
    first, last = rows[0][0], rows[-1][-1]
    return Box(first.top, first.left, last.bottom, last.right)


def left_out_note(scan: ObjectScan) -> dict[str, Any]:
    """Least area and number of what a finished search left out, for a file; empty if all is kept.

    Examples of its entries are ``least_object_um2: 8.0`` and ``left_out: {"nucleus": 6059}``.
    """
    if not scan.least_object_um2:
        return {}
    counts = {kind.name: int(scan.left_out[kind.value]) for kind in scan.result.classes}
    return {"least_object_um2": scan.least_object_um2, "left_out": counts}
