"""Labels as an OME-Zarr 0.5 multiscale label image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.measure.completeness import unfinished_note

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

CHUNK_PX = 1024
"""Side of a chunk, in pixels: few files for a large slide, few bytes per read."""


def write_zarr(result: Result, path: Path, progress: ProgressCallback) -> None:
    """Write all levels, chunk by chunk; each chunk is written once, empty chunks never.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        Folder to write.
    progress : callable
        Called with the share done, in [0, 1].
    """
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=3)
    total = sum(level.size for level in result.labels)
    done = 0
    for level, labels in enumerate(result.labels):
        array = root.create_array(
            str(level),
            shape=labels.shape,
            dtype="uint8",
            chunks=(CHUNK_PX, CHUNK_PX),
            fill_value=0,
            dimension_names=("y", "x"),
        )
        for box in result.grid.coarser(2**level).box.blocks(CHUNK_PX):
            array[box.slices] = result.read_labels(box, level)
            done += box.area
            progress(done / total)
    root.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [_multiscale(result)],
        "image-label": _image_label(result),
    }
    if note := unfinished_note(result):
        root.attrs["napari-twostage"] = note


def _multiscale(result: Result) -> dict[str, Any]:
    """Scale and translation of every level, relative to the centre of the slide's first pixel."""
    datasets = []
    for level in range(len(result.labels)):
        grid = result.grid.coarser(2**level)
        offset = [
            (1 - 1 / down) / 2 * mpp for down, mpp in zip(grid.downsample, grid.mpp, strict=True)
        ]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(grid.mpp)},
                    {"type": "translation", "translation": offset},
                ],
            }
        )
    return {
        "name": result.name,
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"],
        "datasets": datasets,
    }


def _image_label(result: Result) -> dict[str, Any]:
    """Name and colour of each class."""
    return {
        "colors": [
            {
                "label-value": kind.value,
                "rgba": [*bytes.fromhex(kind.color.removeprefix("#")), 255],
            }
            for kind in result.classes
        ],
        "properties": [{"label-value": kind.value, "class": kind.name} for kind in result.classes],
    }
