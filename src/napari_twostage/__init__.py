"""Two-stage segmentation of whole slides: coarse everywhere, full resolution where it matters.

Examples
--------
>>> import napari_twostage as ts
>>> slide = ts.open_slide("slide.svs")  # doctest: +SKIP
>>> seg = ts.segment(slide, ts.load_model("nuclei"), "slide.twostage.zarr")  # doctest: +SKIP
>>> ts.export(seg, "slide.geojson")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazily: importing the subpackage later would put the module in the function's place.
from napari_twostage.export import export

if TYPE_CHECKING:
    from napari_twostage.engine.advisor import advise
    from napari_twostage.engine.api import iter_segment, segment
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.engine.slide_advice import Advice
    from napari_twostage.errors import (
        AnnotationError,
        BusyFileError,
        ClusterError,
        DamagedFileError,
        ExportError,
        LocationError,
        LockedError,
        LogitsError,
        MissingPixelSizeError,
        ModelError,
        OutOfMemoryError,
        ReadError,
        SegmentationError,
        SelectionError,
        SlideError,
        StorageError,
        TransferError,
        TwoStageError,
        UnfinishedError,
        UnwritableExportError,
    )
    from napari_twostage.geometry import Box
    from napari_twostage.method.selection import Plan
    from napari_twostage.method.tiling import TileState
    from napari_twostage.models import load_model
    from napari_twostage.session import Session
    from napari_twostage.slides import open_slide

__all__ = [
    "Advice",
    "AnnotationError",
    "Box",
    "BusyFileError",
    "ClusterError",
    "DamagedFileError",
    "ExportError",
    "LocationError",
    "LockedError",
    "LogitsError",
    "MissingPixelSizeError",
    "ModelError",
    "OutOfMemoryError",
    "Plan",
    "ReadError",
    "Segmentation",
    "SegmentationError",
    "SelectionError",
    "Session",
    "SlideError",
    "StorageError",
    "TileState",
    "TransferError",
    "TwoStageError",
    "UnfinishedError",
    "UnwritableExportError",
    "advise",
    "export",
    "iter_segment",
    "load_model",
    "open_slide",
    "segment",
]

_HOMES = {
    "Advice": "engine.slide_advice",
    "Box": "geometry",
    "AnnotationError": "errors",
    "BusyFileError": "errors",
    "ClusterError": "errors",
    "DamagedFileError": "errors",
    "ExportError": "errors",
    "LocationError": "errors",
    "LockedError": "errors",
    "LogitsError": "errors",
    "MissingPixelSizeError": "errors",
    "ModelError": "errors",
    "OutOfMemoryError": "errors",
    "Plan": "method.selection",
    "ReadError": "errors",
    "Segmentation": "engine.segmentation",
    "SegmentationError": "errors",
    "SelectionError": "errors",
    "Session": "session",
    "SlideError": "errors",
    "StorageError": "errors",
    "TileState": "method.tiling",
    "TransferError": "errors",
    "TwoStageError": "errors",
    "UnfinishedError": "errors",
    "UnwritableExportError": "errors",
    "advise": "engine.advisor",
    "iter_segment": "engine.api",
    "load_model": "models",
    "open_slide": "slides",
    "segment": "engine.api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public name stands for
    """Load a public name when it is first used, so that importing the package stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
