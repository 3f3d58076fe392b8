"""The run record: where a result comes from, as JSON beside its pixels."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SegmentationError
from napari_twostage.io.paths import write_whole

if TYPE_CHECKING:
    from napari_twostage.geometry import Grid
    from napari_twostage.io.paths import Location
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

FORMAT = 1
FILE = "record.json"
Record = dict[str, Any]


def new_record(slide: Slide, model: Model, fine: Grid, parameters: dict[str, Any]) -> Record:
    """Describe a result that is about to be made."""
    return {
        "format": FORMAT,
        "created": _now(),
        "slide": {
            "name": slide.name,
            "path": str(slide.path.absolute()) if slide.path else None,
            "format": slide.format,
            "fingerprint": slide.fingerprint(),
            "level_shapes": [list(shape) for shape in slide.level_shapes],
            "mpp": list(slide.mpp),
            "mpp_source": slide.mpp_source,
        },
        "grid": {
            "shape": list(fine.shape),
            "downsample": list(fine.downsample),
            "mpp": list(fine.mpp),
        },
        "model": {
            "name": model.card.name,
            "version": model.card.version,
            "source": model.bundle.source,
            "sha256": model.bundle.sha256,
        },
        "card": json.loads(model.card.to_json()),
        "parameters": parameters,
        "runs": [],
    }


def run_entry(model: Model) -> dict[str, Any]:
    """Describe a run that begins: when, where, with which versions."""
    return {
        "started": _now(),
        "machine": platform.node(),
        "processor": platform.processor() or platform.machine(),
        "compute": model.compute.as_dict(),
        "threads": model.threads,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("napari-twostage", "torch", "numpy", "zarr")},
        },
    }


def read_record(folder: Location) -> Record:
    """Read the record of a result folder.

    Raises
    ------
    SegmentationError
        If the folder is no result, or of a newer format.
    """
    try:
        record: Record = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        found = "is no result folder" if folder.exists() else "does not exist"
        raise SegmentationError(
            f"{folder} {found}; name a folder that segment wrote: it holds {FILE}"
        ) from None
    except (OSError, ValueError) as error:
        raise SegmentationError(f"{folder / FILE} cannot be read: {error}") from error
    if record.get("format") != FORMAT:
        raise SegmentationError(
            f"{folder} has format {record.get('format')}, expected {FORMAT}; update napari-twostage"
        )
    return record


def write_record(folder: Location, record: Record) -> None:
    """Write the record; a crash leaves the old one or the new one."""
    write_whole(folder / FILE, json.dumps(record, indent=2).encode() + b"\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
