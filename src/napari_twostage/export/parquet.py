"""Objects as GeoParquet 1.1, for geopandas, QGIS and DuckDB: compact, and read by columns."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_twostage.errors import ExportError
from napari_twostage.export.object_ids import object_ids
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.object_outlines import outline_objects
from napari_twostage.measure.objects import ObjectScan, left_out_note
from napari_twostage.measure.outlines import at_level_0, simplified

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.regions import Regions
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
    result: Result, path: Path, progress: ProgressCallback, *, least_object_um2: float | None = None
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

    Raises
    ------
    ExportError
        If pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise ExportError(
            f"{path.name.removeprefix('.').removesuffix('.partial')} needs pyarrow, which is not "
            "installed; pip install 'napari-twostage[parquet]', or export .geojson.gz"
        )
    import pyarrow as pa
    from pyarrow import parquet

    scan = ObjectScan(result, least_object_um2, members=True)
    names = {kind.value: kind.name for kind in result.classes}
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("class", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("area_um2", pa.float64(), nullable=False),
            pa.field("refined_fraction", pa.float32(), nullable=False),
            pa.field("geometry", pa.binary(), nullable=False),
        ],
        metadata={"geo": json.dumps(GEO)},
    )
    waiting: list[pa.Table] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in outline_objects(
            scan,
            lambda objects, outlines: _table(result, objects, outlines, names, schema),
            progress,
        ):
            waiting.append(table)
            if sum(map(len, waiting)) >= ROWS:
                writer.write_table(pa.concat_tables(waiting), ROWS)
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), ROWS)
        note = {**left_out_note(scan), **unfinished_note(result)}
        if note:
            writer.add_key_value_metadata({MEMBER: json.dumps(note)})


def _table(
    result: Result,
    objects: Regions,
    outlines: NDArray[np.object_],
    names: dict[int, str],
    schema: pa.Schema,
) -> pa.Table:
    """Rows of some objects."""
    import pyarrow as pa
    import shapely

    placed = at_level_0(simplified(outlines), result.grid.downsample)
    kinds = pa.array([names[value] for value in objects.value.tolist()]).dictionary_encode()
    return pa.table(
        [
            pa.array(object_ids(result, objects)),
            kinds,
            pa.array(objects.pixels * result.grid.pixel_area_um2),
            pa.array((objects.refined / objects.pixels).astype("float32")),
            pa.array(shapely.to_wkb(placed).tolist(), pa.binary()),
        ],
        schema=schema,
    )
