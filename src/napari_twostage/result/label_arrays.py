"""The zarr arrays of a result: which there are, and that those on disk are these."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_twostage.errors import DamagedFileError, TransferError
from napari_twostage.io.zarr_store import store_at
from napari_twostage.result.layout import UNSET
from napari_twostage.result.zarr_chunks import compression

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_twostage.io.paths import Location
    from napari_twostage.result.layout import Layout

LOGITS, REFINED, DEPTH, EDITS = "coarse/logits", "refined", "depth", "edits"
METADATA = "zarr.json"
"""File of an array, and of a group, that says what it is."""


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """Shape and encoding of one array."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    fill: Any
    shards: tuple[int, ...] | None = None


def pyramid_array(step: int) -> str:
    """Name of the array of a level of the label pyramid, by its fine pixels per pixel."""
    return f"overview/{step}"


def plan_arrays(layout: Layout, *, sharded: bool) -> dict[str, ArrayPlan]:
    """Arrays of a result by name; `sharded` where files can be appended to."""
    card = layout.card
    core, tile = card.coarse_core_px, card.tile_px
    side = core * card.ratio
    chunks = card.coarse_channels, core, core
    fine = layout.fine.shape
    shards = (side, side) if sharded else None
    plans = {
        LOGITS: ArrayPlan((card.coarse_channels, *layout.coarse.shape), chunks, "float16", np.nan),
        REFINED: ArrayPlan(fine, (tile, tile), "uint8", UNSET, shards),
        EDITS: ArrayPlan(fine, (tile, tile), "uint8", UNSET),
    }
    if card.objects != "none":
        plans[DEPTH] = ArrayPlan(fine, (tile, tile), "uint8", UNSET, shards)
    for level, step in enumerate(layout.steps):
        if step >= card.ratio:
            plan = ArrayPlan(layout.level_shapes[level], (core, core), "uint8", 0)
            plans[pyramid_array(step)] = plan
    return plans


def create_arrays(path: Location, layout: Layout, names: Iterable[str] | None = None) -> None:
    """Write the metadata of a result's arrays, or of some of them; pixels are left alone."""
    group = zarr.open_group(store_at(path), mode="a")
    for name, plan in plan_arrays(layout, sharded=isinstance(path, Path)).items():
        if names is None or name in names:
            group.create_array(
                name,
                shape=plan.shape,
                dtype=plan.dtype,
                fill_value=plan.fill,
                **compression(plan.chunks, shards=plan.shards),
            )


def open_array(path: Location, name: str, plan: ArrayPlan) -> zarr.Array[Any]:
    """Open an array of a result.

    Raises
    ------
    DamagedFileError
        If its metadata are missing, cannot be read, or are those of another array.
    TransferError
        If a URL cannot be reached.
    """
    file = path / f"{name}/{METADATA}"
    try:
        array = zarr.open_array(store_at(path), path=name, mode="r+")
        differing = list(_differing(array, plan))
    except TransferError:
        raise
    except Exception as error:  # zarr raises whatever junk leads to
        raise DamagedFileError(file) from error
    if differing:
        raise DamagedFileError(file, f"not the array that was made: {', '.join(differing)}")
    return array


def _differing(array: zarr.Array[Any], plan: ArrayPlan) -> Iterator[str]:
    """Names of what decides how chunks are found and decoded, and is not as planned."""
    metadata: Any = array.metadata
    if array.shards is None:  # made before there were shards, or on an object store
        plan = replace(plan, shards=None)
    key = metadata.chunk_key_encoding
    found = {
        "shape": (array.shape, plan.shape),
        "chunks": (array.chunks, plan.chunks),
        "shards": (array.shards, plan.shards),
        "type": (str(array.dtype), plan.dtype),
        "fill": (str(metadata.fill_value), str(np.dtype(plan.dtype).type(plan.fill))),
        "names": ((key.name, key.separator), ("default", "/")),
        "codecs": ([_plain(c.to_dict()) for c in metadata.codecs], _planned_codecs(plan)),
    }
    return (name for name, (value, planned) in found.items() if value != planned)


def _plain(codec: dict[str, Any]) -> dict[str, Any]:
    """A codec without settings that do not matter for reading."""
    settings = dict(codec.get("configuration", {}))
    if codec["name"] == "zstd":
        return {"name": "zstd"}
    for name in ("codecs", "index_codecs"):
        if name in settings:
            settings[name] = [_plain(inner) for inner in settings[name]]
    if "chunk_shape" in settings:
        settings["chunk_shape"] = tuple(settings["chunk_shape"])
    return {"name": codec["name"], **settings}


def _planned_codecs(plan: ArrayPlan) -> list[dict[str, Any]]:
    little = {"name": "bytes", "endian": "little"}
    values = little if np.dtype(plan.dtype).itemsize > 1 else {"name": "bytes"}
    codecs = [values, {"name": "zstd"}]
    if plan.shards is None:
        return codecs
    shard = {"chunk_shape": plan.chunks, "codecs": codecs, "index_codecs": [little]}
    return [{"name": "sharding_indexed", **shard, "index_location": "start"}]
