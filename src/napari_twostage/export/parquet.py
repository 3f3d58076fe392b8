"""Objects as GeoParquet 1.1, for geopandas, QGIS and DuckDB: compact, and read by columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from napari_twostage.export.extras import require
from napari_twostage.measure.object_columns import BOXES, PLACES
from napari_twostage.measure.object_table import ObjectTables
from napari_twostage.measure.outlines import at_level_0, simplified

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from napari_twostage.geometry import Scale
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.object_table import Extent, ObjectTable
    from napari_twostage.result.result import Result

ROWS = 65_536
"""Objects of a row group: the part that readers take at once."""

MEMBER = "napari-twostage"
"""Key of our note in the file's metadata: what is left out."""
GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": None,  # pixels are nowhere on the earth; without this entry they would be
            "edges": "planar",
        }
    },
}
"""Metadata of the file, as GeoParquet 1.1 wants them."""


def write_parquet(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    least_object_um2: float | None = None,
    measure: Extent = "all",
) -> None:
    """Write one row per object, with its outline in level-0 pixels (x, y) as WKB.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own.
    measure : str
        Extent of the table: ``shape`` or ``all``.

    Raises
    ------
    ExportError
        If pyarrow is not installed.
    """
    require(path, "pyarrow", "parquet")
    import pyarrow as pa
    from pyarrow import parquet

    tables = ObjectTables(result, least_object_um2, measure=measure)
    names = {kind.value: kind.name for kind in result.classes}
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("class", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            *(pa.field(name, kind, nullable=kind == pa.float32()) for name, kind in _kinds(tables)),
            pa.field("geometry", pa.binary(), nullable=False),
        ],
        metadata={"geo": json.dumps(GEO)},
    )
    waiting: list[pa.Table] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables.made(
            lambda table: _table(table, result.grid.downsample, names, schema), progress
        ):
            waiting.append(table)
            if sum(map(len, waiting)) >= ROWS:
                writer.write_table(pa.concat_tables(waiting), ROWS)
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), ROWS)
        if note := tables.note:
            writer.add_key_value_metadata({MEMBER: json.dumps(note)})


def _kinds(tables: ObjectTables) -> list[tuple[str, pa.DataType]]:
    """Names and types of the columns of numbers: places and areas exact, all others in short."""
    import pyarrow as pa

    exact = {column.name for column in (*PLACES, *BOXES)} | {"area_um2"}
    return [
        (column.name, pa.float64() if column.name in exact else pa.float32())
        for column in tables.columns
    ]


def _table(
    table: ObjectTable, downsample: Scale, names: dict[int, str], schema: pa.Schema
) -> pa.Table:
    """Rows of some objects."""
    import pyarrow as pa
    import shapely

    placed = at_level_0(simplified(table.outlines), downsample)
    kinds = pa.array([names[value] for value in table.values.tolist()]).dictionary_encode()
    numbers = [
        pa.array(table.numbers[field.name], pa.float64(), from_pandas=True).cast(field.type)
        for field in schema
        if field.name in table.numbers
    ]
    outlines = pa.array(shapely.to_wkb(placed).tolist(), pa.binary())
    return pa.table([pa.array(table.ids), kinds, *numbers, outlines], schema=schema)
