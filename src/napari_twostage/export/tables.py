"""Areas and objects as CSV tables."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from napari_twostage.io.csv_table import TableWriter
from napari_twostage.measure.areas import areas
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.object_columns import BOXES, PLACES, SIZES, number_texts
from napari_twostage.measure.object_table import ObjectTables
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.object_table import Extent, ObjectTable
    from napari_twostage.result.result import Result

AREA_COLUMNS = (
    "class",
    "pixels",
    "area_mm2",
    "percent_of_tissue",
    "objects",
    "percent_refined",
    "least_object_um2",
    "left_out",
    "left_out_mm2",
    "tissue_mm2",
)
"""Columns of the table of areas; ``left_out`` are the regions below the least area, and
``percent_of_tissue`` is of ``tissue_mm2``.

A result whose run was stopped has one more: ``unfinished``.
"""

_TEXTS = ("id", "class", "touches_slide_edge", "tile_state")
"""Columns of the table of objects that are words."""
_ORDER = (
    "id",
    "class",
    *(column.name for column in (*PLACES, *SIZES, *BOXES)),
    "touches_slide_edge",
    "refined_fraction",
    "tile_state",
)
"""First columns of the table of objects; all others follow in the order of their table."""


def write_areas(
    result: Result, path: Path, progress: ProgressCallback, *, least_object_um2: float | None = None
) -> None:
    """Write one row per class.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        CSV file to write.
    progress : callable
        Called with the share done, in [0, 1].
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own.
    """
    measured = areas(result, least_object_um2=least_object_um2, progress=progress)
    note = unfinished_note(result)
    more = (note["unfinished"],) if note else ()
    with path.open("w", encoding="utf-8", newline="") as file:
        table = TableWriter(file)
        table.row(AREA_COLUMNS + (("unfinished",) if note else ()))
        for kind in measured:
            table.row(
                (
                    kind.name,
                    kind.pixels,
                    f"{kind.area_mm2:.6f}",
                    f"{100 * kind.tissue_fraction:.4f}",
                    kind.objects,
                    f"{100 * kind.refined_fraction:.2f}",
                    f"{kind.least_object_um2:g}",
                    kind.left_out,
                    f"{kind.left_out_mm2:.6f}",
                    f"{kind.tissue_mm2:.6f}",
                    *more,
                )
            )


def write_objects(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    least_object_um2: float | None = None,
    measure: Extent = "all",
) -> None:
    """Write one row per object.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        CSV file to write.
    progress : callable
        Called with the share done, in [0, 1].
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own.
    measure : str
        Extent of the table: ``shape`` or ``all``.
    """
    tables = ObjectTables(result, least_object_um2, measure=measure)
    forms = {column.name: column.form for column in tables.columns}
    order = [*_ORDER, *(name for name in forms if name not in _ORDER)]
    names = {kind.value: _cell(kind.name) for kind in result.classes}
    with path.open("w", encoding="utf-8", newline="") as file:
        TableWriter(file).row(order)
        for text in tables.made(lambda table: _rows(table, order, forms, names), progress):
            file.write(text)


def _cell(text: str) -> str:
    """Text as a cell, as `TableWriter` writes it."""
    written = io.StringIO()
    TableWriter(written).row([text])
    return written.getvalue().removesuffix("\r\n")


def _rows(
    table: ObjectTable, order: list[str], forms: dict[str, str], names: dict[int, str]
) -> str:
    """Rows of some objects."""
    states = {state.value: state.name.lower() for state in TileState}
    words = (
        table.ids,
        map(names.__getitem__, table.values.tolist()),
        map(("no", "yes").__getitem__, table.at_edge.tolist()),
        map(states.__getitem__, table.states.tolist()),
    )
    cells: dict[str, Iterable[str]] = dict(zip(_TEXTS, words, strict=True))
    for name, form in forms.items():
        cells[name] = number_texts(table.numbers[name], form)
    columns = [cells[name] for name in order]
    return "".join(f"{','.join(row)}\r\n" for row in zip(*columns, strict=True))
