"""Labels as a tiled, pyramidal OME-TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

TILE_PX = 512
"""Side of a TIFF tile, in pixels."""
STRIP_TILES = 8
"""TIFF tiles read at once, side by side, so that few stored tiles are read twice."""

CLASSIC_BYTES = 2**32 - 2**25
"""Bytes that 32-bit offsets can address, less room for tags; larger files are BigTIFF."""


def write_tiff(result: Result, path: Path, progress: ProgressCallback) -> None:
    """Write all levels, tile by tile, as SubIFDs with deflate, for QuPath and Bio-Formats.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    """
    import tifffile

    total = sum(level.size for level in result.labels)
    strips = _LabelStrips(result, progress, total)
    with tifffile.TiffWriter(path, ome=True, bigtiff=total > CLASSIC_BYTES) as tiff:
        for level, labels in enumerate(result.labels):
            mpp_y, mpp_x = result.grid.coarser(2**level).mpp
            first: dict[str, Any] = {
                "subifds": len(result.labels) - 1,
                "metadata": _metadata(result),
            }
            tiff.write(
                strips.tiles(level),
                shape=labels.shape,
                dtype="uint8",
                photometric="minisblack",
                tile=(TILE_PX, TILE_PX),
                compression="zlib",
                resolution=(1e4 / mpp_x, 1e4 / mpp_y),
                resolutionunit="CENTIMETER",
                **(first if level == 0 else {"subfiletype": 1, "metadata": None}),
            )


def _metadata(result: Result) -> dict[str, Any]:
    """OME metadata: pixel size, the class of each label value, what a stopped run left out."""
    classes = {str(kind.value): kind.name for kind in result.classes}
    note = unfinished_note(result)
    return {
        "axes": "YX",
        "Name": printable(result.name),
        "PhysicalSizeY": result.grid.mpp[0],
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeX": result.grid.mpp[1],
        "PhysicalSizeXUnit": "µm",
        "MapAnnotation": classes | ({"unfinished": note["unfinished"]} if note else {}),
    }


class _LabelStrips:
    """Reader of labels in horizontal strips, cut into TIFF tiles."""

    def __init__(self, result: Result, progress: ProgressCallback, total: int) -> None:
        self._result = result
        self._progress = progress
        self._total = total
        self._done = 0

    def tiles(self, level: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the tiles of one level in file order; padded with background beyond the edge."""
        rows, columns = self._result.labels[level].shape
        for top in range(0, rows, TILE_PX):
            for left in range(0, columns, TILE_PX * STRIP_TILES):
                box = Box.at(top, left, TILE_PX, TILE_PX * STRIP_TILES).clip((rows, columns))
                yield from self._cut(box, level)

    def _cut(self, box: Box, level: int) -> Iterator[NDArray[np.uint8]]:
        labels = self._result.read_labels(box, level)
        self._done += box.area
        self._progress(self._done / self._total)
        for left in range(0, box.width, TILE_PX):
            tile = np.zeros((TILE_PX, TILE_PX), np.uint8)
            part = labels[:, left : left + TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
