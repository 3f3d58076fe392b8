"""The table of objects, made part by part: all that any file says of objects is taken from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from napari_twostage.errors import SelectionError, brief
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.object_columns import BOXES, MEASUREMENTS, PLACES, Column
from napari_twostage.measure.object_ids import object_ids
from napari_twostage.measure.object_numbers import centres_px, place_numbers, shape_numbers
from napari_twostage.measure.object_outlines import outline_objects
from napari_twostage.measure.objects import ObjectScan, left_out_note
from napari_twostage.measure.pixel_means import PixelMeans
from napari_twostage.measure.shapes import solidities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.object_outlines import Outlined
    from napari_twostage.result.result import Result

    Values = NDArray[np.floating]

Made = TypeVar("Made")

Extent = Literal["shape", "all"]
"""How much is measured: ``shape`` reads no pixel of the slide, ``all`` adds means."""


def checked_extent(asked: object) -> Extent:
    """Check how much somebody asked to measure; None is all.

    Raises
    ------
    SelectionError
        If it is no `Extent`.
    """
    if asked is None:
        return "all"
    for known in get_args(Extent):
        if asked == known:
            return known  # type: ignore[no-any-return]
    raise SelectionError(
        f"objects are measured by 'shape' or 'all'; found {brief(asked)}; leave it out for all"
    )


@dataclass(frozen=True, slots=True)
class ObjectTable:
    """Some objects, one to an element of each array."""

    ids: list[str]
    values: NDArray[np.int64]
    """Label value of each object's class."""
    numbers: dict[str, Values]
    """Numbers by the name of their column; NaN where a pixel could not be read."""
    at_edge: NDArray[np.bool_]
    """Whether each touches the slide's edge."""
    states: NDArray[np.uint8]
    """`TileState` of the tile in which each centre lies."""
    outlines: NDArray[np.object_]
    """Polygons in pixel edges (x, y) of the fine grid."""

    def __len__(self) -> int:
        return len(self.ids)


class ObjectTables:
    """Tables of all objects of a result.

    Parameters
    ----------
    result : Result
        Result to measure, as it is now.
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own; 0 keeps all.
    measure : str
        Extent of the table.
    """

    def __init__(
        self, result: Result, least_object_um2: float | None = None, *, measure: Extent = "all"
    ) -> None:
        self.result = result
        self._scan = ObjectScan(result, least_object_um2, members=True)
        self._means = PixelMeans(result) if measure == "all" else None
        means = () if self._means is None else self._means.columns
        self.measurements: tuple[Column, ...] = MEASUREMENTS + means
        """Columns that say something of the object itself."""
        self.columns: tuple[Column, ...] = PLACES + BOXES + self.measurements
        """All columns of numbers."""

    def made(
        self, make: Callable[[ObjectTable], Made], progress: ProgressCallback = lambda _: None
    ) -> Iterator[Made]:
        """Measure all objects and make something of each part of the table; call it once.

        Parameters
        ----------
        make : callable
            Is given some objects. Called in threads.
        progress : callable
            Called with the share done, in [0, 1], after each block.
        """
        sums = None if self._means is None else self._means.sums
        return outline_objects(self._scan, lambda found: make(self._table(found)), progress, sums)

    @property
    def least_object_um2(self) -> float:
        """Least area of objects, in square micrometres."""
        return self._scan.least_object_um2

    @property
    def note(self) -> dict[str, Any]:
        """Facts about the table for a file, once it is made: what is left out of it, and why."""
        missing = "" if self._means is None else self._means.missing
        return {
            **left_out_note(self._scan),
            **({"slide_not_measured": missing} if missing else {}),
            **unfinished_note(self.result),
        }

    def _table(self, found: Outlined) -> ObjectTable:
        result, one = self.result, found.objects.regions
        y, x = centres_px(one)
        tile_px = result.tiles.tile_px
        rows, columns = result.grid.shape
        numbers = {**place_numbers(one, result.grid), **shape_numbers(found.objects, result.grid)}
        numbers["solidity"] = solidities(found.outlines)
        if self._means is not None:
            numbers |= self._means.means(found.sums, one.pixels)
        return ObjectTable(
            ids=object_ids(result, one),
            values=one.value,
            numbers=numbers,
            at_edge=(one.top == 0)
            | (one.left == 0)
            | (one.bottom == rows)
            | (one.right == columns),
            states=self._scan.states[y.astype(int) // tile_px, x.astype(int) // tile_px],
            outlines=found.outlines,
        )
