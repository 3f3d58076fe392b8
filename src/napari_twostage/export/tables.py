"""Areas and objects as CSV tables."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from napari_twostage.export.object_ids import object_ids
from napari_twostage.io.csv_table import TableWriter
from napari_twostage.measure.areas import areas
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.objects import ObjectScan, perimeters_um
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.merge import Objects
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
)
"""Columns of the table of areas; ``left_out`` are the regions below the least area.

A result whose run was stopped has one more: ``unfinished``.
"""

OBJECT_COLUMNS = (
    "id",
    "class",
    "centroid_x_px",
    "centroid_y_px",
    "centroid_x_um",
    "centroid_y_um",
    "area_um2",
    "perimeter_um",
    "left_px",
    "top_px",
    "right_px",
    "bottom_px",
    "touches_slide_edge",
    "refined_fraction",
    "tile_state",
)
"""Columns of the table of objects; ``_px`` is in level-0 pixels from the slide's top left."""


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
                    *more,
                )
            )


def write_objects(
    result: Result, path: Path, progress: ProgressCallback, *, least_object_um2: float | None = None
) -> None:
    """Write one row per object, as objects are found.

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
    scan = ObjectScan(result, least_object_um2)
    names = {kind.value: _cell(kind.name) for kind in result.classes}
    with path.open("w", encoding="utf-8", newline="") as file:
        TableWriter(file).row(OBJECT_COLUMNS)
        for found in scan.objects(progress):
            columns = _columns(result, found, names, scan.states)
            file.writelines(f"{','.join(cells)}\r\n" for cells in zip(*columns, strict=True))


def _cell(text: str) -> str:
    """Text as a cell, as `TableWriter` writes it."""
    written = io.StringIO()
    TableWriter(written).row([text])
    return written.getvalue().removesuffix("\r\n")


def _columns(
    result: Result, found: Objects, names: dict[int, str], states: NDArray[np.uint8]
) -> list[Iterable[str]]:
    """Make the cells of some objects, column by column in the order of `OBJECT_COLUMNS`."""
    one = found.regions
    down, across = result.grid.downsample
    mpp_y, mpp_x = result.grid.mpp
    # a pixel's centre is at its index plus one half
    y, x = one.row_sum / one.pixels + 0.5, one.column_sum / one.pixels + 0.5
    tile_px = result.tiles.tile_px
    state_names = {state.value: state.name.lower() for state in TileState}
    state = states[y.astype(int) // tile_px, x.astype(int) // tile_px]
    rows, columns = result.grid.shape
    at_edge = (one.top == 0) | (one.left == 0) | (one.bottom == rows) | (one.right == columns)
    perimeter = perimeters_um(found, result.grid.mpp)
    return [
        object_ids(result, one),
        map(names.__getitem__, one.value.tolist()),
        map("{:.2f}".format, (x * across).tolist()),
        map("{:.2f}".format, (y * down).tolist()),
        map("{:.3f}".format, (x * mpp_x).tolist()),
        map("{:.3f}".format, (y * mpp_y).tolist()),
        map("{:.3f}".format, (one.pixels * result.grid.pixel_area_um2).tolist()),
        map("{:.3f}".format, perimeter.tolist()),
        map("{:.6g}".format, (one.left * across).tolist()),
        map("{:.6g}".format, (one.top * down).tolist()),
        map("{:.6g}".format, (one.right * across).tolist()),
        map("{:.6g}".format, (one.bottom * down).tolist()),
        map(("no", "yes").__getitem__, at_edge.tolist()),
        map("{:.4f}".format, (one.refined / one.pixels).tolist()),
        map(state_names.__getitem__, state.tolist()),
    ]
