"""Objects as AnnData (``.h5ad``), for scanpy, squidpy and others.

The file is written by its published layout, encoding 0.1.0 of anndata, a part of the table at a
time: anndata itself would need the whole table in memory.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.export.extras import require
from napari_twostage.measure.object_columns import BOXES, PLACES
from napari_twostage.measure.object_table import ObjectTables
from napari_twostage.method.tiling import TileState
from napari_twostage.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.object_table import Extent, ObjectTable
    from napari_twostage.result.result import Result

ROWS = 16_384
"""Objects of a chunk of the file, and that are written at once."""
_SPATIAL = ("centroid_x_um", "centroid_y_um")
_OF_OBS = tuple(column.name for column in (*PLACES, *BOXES) if column.name not in _SPATIAL)
"""Columns of numbers that describe where an object lies; all others are measurements."""


def write_h5ad(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    least_object_um2: float | None = None,
    measure: Extent = "all",
) -> None:
    """Write one observation per object: measurements in X, centroids in ``obsm["spatial"]``.

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
        If h5py is not installed.
    """
    require(path, "h5py", "anndata")
    import h5py

    tables = ObjectTables(result, least_object_um2, measure=measure)
    names = [column.name for column in tables.measurements]
    with h5py.File(path, "w") as file:
        _marked(file, "anndata", "0.1.0")
        growing = _Growing(file, names, result)
        for part in tables.made(lambda table: _columns(table, names), progress):
            growing.append(part)
        growing.write()
        _frame(file.create_group("var"), "name", [])
        _write_strings(file["var"], "name", names)
        for empty in ("layers", "obsp", "varm", "varp"):
            _marked(file.create_group(empty), "dict", "0.1.0")
        _write_dict(file.create_group("uns"), _about(tables))


def _about(tables: ObjectTables) -> dict[str, Any]:
    """Facts about the table that no column holds."""
    result = tables.result
    return {
        "slide": printable(result.name),
        "model": f"{result.card.name} {result.card.version}",
        "napari_twostage": version("napari-twostage"),
        "slide_mpp": np.array(result.slide_mpp),
        "least_object_um2": tables.least_object_um2,
        "note": json.dumps(tables.note),
    }


def _columns(table: ObjectTable, names: Sequence[str]) -> dict[str, Any]:
    """Parts of the file's arrays by their path, for some objects."""
    numbers = table.numbers
    return {
        "X": np.stack([numbers[name] for name in names], axis=1).astype(np.float32),
        "obsm/spatial": np.stack([numbers[name] for name in _SPATIAL], axis=1),
        "obs/id": np.array(table.ids, object),
        "obs/class/codes": table.values,
        "obs/tile_state/codes": table.states.astype(np.int8),
        "obs/touches_slide_edge": table.at_edge,
        **{f"obs/{name}": numbers[name] for name in _OF_OBS},
    }


class _Growing:
    """Arrays of the file that have an entry for each object, written part by part."""

    def __init__(self, file: h5py.File, names: Sequence[str], result: Result) -> None:
        self._file = file
        self._waiting: list[dict[str, Any]] = []
        self._codes = np.zeros(256, np.int8)
        self._codes[[kind.value for kind in result.classes]] = np.arange(len(result.classes))
        kinds = {"class": [kind.name for kind in result.classes]}
        kinds["tile_state"] = [state.name.lower() for state in TileState]
        words = ("class", "tile_state", "touches_slide_edge")
        obs = _frame(file.create_group("obs"), "id", [*words, *_OF_OBS])
        _marked(file.create_group("obsm"), "dict", "0.1.0")
        for name, categories in kinds.items():
            group = _marked(obs.create_group(name), "categorical", "0.2.0")
            group.attrs["ordered"] = False
            _write_strings(group, "categories", categories)
            self._create(f"obs/{name}/codes", np.dtype(np.int8))
        self._create("X", np.dtype(np.float32), len(names))
        self._create("obsm/spatial", np.dtype(float), len(_SPATIAL))
        self._create("obs/touches_slide_edge", np.dtype(bool))
        for name in _OF_OBS:
            self._create(f"obs/{name}", np.dtype(float))
        import h5py

        ids = obs.create_dataset("id", (0,), h5py.string_dtype(), maxshape=(None,), chunks=(ROWS,))
        _marked(ids, "string-array", "0.2.0")

    def _create(self, name: str, kind: np.dtype[Any], *width: int) -> None:
        array = self._file.create_dataset(
            name, (0, *width), kind, maxshape=(None, *width), chunks=(ROWS, *width),
            compression="gzip", compression_opts=1, shuffle=True,
        )  # fmt: skip
        _marked(array, "array", "0.2.0")

    def append(self, part: dict[str, Any]) -> None:
        """Take columns of some objects."""
        self._waiting.append(part | {"obs/class/codes": self._codes[part["obs/class/codes"]]})
        if sum(len(waiting["obs/id"]) for waiting in self._waiting) >= ROWS:
            self.write()

    def write(self) -> None:
        """Write what was taken."""
        waiting, self._waiting = self._waiting, []
        for name in waiting[0] if waiting else ():
            values: NDArray[Any] = np.concatenate([part[name] for part in waiting])
            array = self._file[name]
            array.resize(len(array) + len(values), axis=0)
            array[-len(values) :] = values


def _marked(item: Any, kind: str, encoding: str) -> Any:  # noqa: ANN401 - of h5py
    """Say how a group or an array is to be read."""
    item.attrs["encoding-type"], item.attrs["encoding-version"] = kind, encoding
    return item


def _frame(group: h5py.Group, index: str, columns: Sequence[str]) -> h5py.Group:
    """Mark a group as a data frame."""
    _marked(group, "dataframe", "0.2.0")
    group.attrs["_index"] = index
    group.attrs["column-order"] = np.array(columns, object) if columns else np.zeros(0)
    return group


def _write_strings(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    import h5py

    made = group.create_dataset(name, data=np.array(texts, object), dtype=h5py.string_dtype())
    _marked(made, "string-array", "0.2.0")


def _write_dict(group: h5py.Group, values: dict[str, Any]) -> None:
    _marked(group, "dict", "0.1.0")
    for name, value in values.items():
        kind = {str: "string", float: "numeric-scalar"}.get(type(value), "array")
        _marked(group.create_dataset(name, data=value), kind, "0.2.0")
