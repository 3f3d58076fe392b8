"""Objects as GeoJSON for QuPath (File > Import objects from file)."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

from napari_twostage.io.annotations import MEMBER, ORIGIN
from napari_twostage.measure.object_columns import number_texts
from napari_twostage.measure.object_table import ObjectTables
from napari_twostage.measure.outlines import at_level_0, simplified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.object_table import Extent, ObjectTable
    from napari_twostage.result.result import Result

    Polygons = NDArray[np.object_]

REGION_UM2 = 10_000.0
"""Smallest area of an annotation, in square micrometres; smaller objects are detections.

QuPath stores cells and nuclei as detections, which stay fast by the million, and tissue regions as
annotations, which can be edited. 100 µm × 100 µm separates clumps of nuclei from regions.
"""

_LEVEL = 5
"""Of deflate: the sizes of 6 in half its time."""


def write_geojson(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    crop: bool = True,
    least_object_um2: float | None = None,
    measure: Extent = "all",
) -> None:
    """Write every object as one feature, in level-0 pixels (x, y).

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    crop : bool
        Count pixels from the corner of the scanned area, if the slide states one: QuPath crops
        such slides to it. The file names the corner.
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own.
    measure : str
        Extent of the table: ``shape`` or ``all``.
    """
    tables = ObjectTables(result, least_object_um2, measure=measure)
    with path.open("wb") as file:
        for text, _ in _parts(tables, progress, crop=crop, pack=False):
            file.write(text)


def write_geojson_gz(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    crop: bool = True,
    least_object_um2: float | None = None,
    measure: Extent = "all",
) -> None:
    """Write the same as `write_geojson`, compressed; equal objects give equal bytes.

    Parts are compressed in the threads that make them, as one stream: each ends on a whole byte.
    """
    tables = ObjectTables(result, least_object_um2, measure=measure)
    checksum, size = zlib.crc32(b""), 0
    with path.open("wb") as file:
        file.write(_GZIP_HEAD)
        for text, packed in _parts(tables, progress, crop=crop, pack=True):
            checksum, size = zlib.crc32(text, checksum), size + len(text)
            file.write(packed)
        file.write(zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS).flush())
        file.write(struct.pack("<II", checksum, size & 0xFFFFFFFF))


_GZIP_HEAD = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
"""Head of a gzip file without a name or a time (RFC 1952)."""


def _packed(text: bytes) -> bytes:
    """Compress a part so that others can stand before and after it."""
    stream = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    return stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)


def _parts(
    tables: ObjectTables, progress: ProgressCallback, *, crop: bool, pack: bool
) -> Iterator[tuple[bytes, bytes]]:
    """Parts of the file while blocks are traced, as text and, if wanted, compressed.

    The collection is never in memory. Where pixels are counted from, and what it leaves out, follow
    as a member of its own.
    """
    encode = _packed if pack else bytes

    def part(text: str) -> tuple[bytes, bytes]:
        return text.encode(), encode(text.encode())

    bounds = tables.result.record.slide.bounds
    origin = (bounds.left, bounds.top) if crop and bounds is not None else (0, 0)
    features = _Features(tables, origin)
    yield part('{"type":"FeatureCollection","features":[')
    separator = part("\n")
    for made in tables.made(lambda table: part(features.text(table)), progress):
        yield separator
        yield made
        separator = part(",\n")
    counted_from = {} if bounds is None else {ORIGIN: list(origin)}
    note = {**counted_from, **tables.note}
    yield part("\n]" + (f',"{MEMBER}":{json.dumps(note)}' if note else "") + "}\n")


class _Features:
    """Text of features, many at once."""

    def __init__(self, tables: ObjectTables, origin: tuple[int, int]) -> None:
        self._downsample = tables.result.grid.downsample
        self._origin = origin
        self._columns = tables.measurements
        self._kinds = {
            kind.value: json.dumps(
                {"name": kind.name, "color": _rgb(kind.color)}, separators=(",", ":")
            )
            for kind in tables.result.classes
        }

    def text(self, table: ObjectTable) -> str:
        """Features of some objects, one a line, with a comma between two."""
        values = zip(
            table.ids,
            _geometries(simplified(table.outlines), self._downsample, self._origin),
            (table.numbers["area_um2"] >= REGION_UM2).tolist(),
            map(self._kinds.__getitem__, table.values.tolist()),
            self._measurements(table),
            strict=True,
        )
        return ",\n".join(
            f'{{"type":"Feature","id":"{name}","geometry":{geometry},"properties":'
            f'{{"objectType":"{"annotation" if large else "detection"}",'
            f'"classification":{kind},"measurements":{{{measured}}}}}}}'
            for name, geometry, large, kind, measured in values
        )

    def _measurements(self, table: ObjectTable) -> Iterator[str]:
        """Measurements of each object, without those that are unknown: JSON has no NaN."""
        columns = []
        for column in self._columns:
            texts = number_texts(table.numbers[column.name], column.form)
            key = json.dumps(column.qupath)
            columns.append([f"{key}:{text}" if text else "" for text in texts])
        return (",".join(filter(None, row)) for row in zip(*columns, strict=True))


def _geometries(outlines: Polygons, downsample: Scale, origin: tuple[int, int]) -> list[str]:
    """GeoJSON of polygons on the fine grid, in pixels of level 0 counted from `origin` (x, y)."""
    import shapely

    texts = shapely.to_geojson(at_level_0(outlines, downsample, origin)).tolist()
    # Whole numbers, the usual case, are written without ".0".
    return [text.replace(".0,", ",").replace(".0]", "]") for text in texts]


def _rgb(color: str) -> list[int]:
    """Convert ``#rrggbb`` to three integers in [0, 255]."""
    return list(bytes.fromhex(color.removeprefix("#")))
