"""Label images over a slide: OME-TIFF and OME-Zarr as exported here, or plain TIFF."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import MissingPixelSizeError, TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide
from napari_twostage.slides.ome_zarr import open_ome_zarr
from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.slides.base import Slide
    from napari_twostage.training.datasets.classes import Classes

_CACHE_BYTES = 16 << 20
_BLOCK_PX = 2048


class LabelImage:
    """Class values over a slide, read on demand.

    Parameters
    ----------
    path : Path
        A grey 8- or 16-bit image of any resolution that covers the whole slide.
    slide : Slide
        The labelled slide.
    classes : Classes
        Meaning of the values.

    Raises
    ------
    DatasetError
        If the file cannot be read, or does not cover the slide.
    """

    def __init__(self, path: Path, slide: Slide, classes: Classes) -> None:
        self._path = path
        self._classes = classes
        self._image, stated = _open(path)
        shape, full = self._image.level_shapes[0], slide.level_shapes[0]
        # the ratio of the pixel sizes is exact, that of the shapes is rounded
        size = self._image.mpp if stated else (full[0] / shape[0], full[1] / shape[1])
        per = slide.mpp if stated else (1.0, 1.0)
        self._down = size[0] / per[0], size[1] / per[1]
        fits = all(
            abs(part * down - whole) <= max(down, 1) for part, down, whole
            in zip(shape, self._down, full, strict=True)
        )  # fmt: skip
        if not fits or (not stated and abs(self._down[0] / self._down[1] - 1) > 2 / min(shape)):
            raise DatasetError(
                f"{path} is {shape[1]}x{shape[0]} pixels, which do not cover its slide's "
                f"{full[1]}x{full[0]}; export the labels of the whole slide"
            )

    def bounds(self) -> tuple[float, float, float, float]:
        """Bounding box of all labels, (left, top, right, bottom) in level-0 pixels."""
        rows, columns = (np.zeros(length, bool) for length in self._image.level_shapes[0])
        for box in Box(0, 0, rows.size, columns.size).blocks(_BLOCK_PX):
            labelled = self._read(box) > 0
            rows[box.top : box.bottom] |= labelled.any(axis=1)
            columns[box.left : box.right] |= labelled.any(axis=0)
        if not rows.any():
            raise DatasetError(f"{self._path} labels nothing; remove it, or annotate the slide")
        (top, bottom), (left, right) = (np.flatnonzero(axis)[[0, -1]] for axis in (rows, columns))
        down, across = self._down
        return left * across, top * down, (right + 1) * across, (bottom + 1) * down

    def draw(self, box: Box, grid: Grid) -> NDArray[np.uint8]:
        """Class values of a box of a grid: the label under each pixel's centre."""
        rows, columns = (
            np.clip(((np.arange(start, stop) + 0.5) * own / down).astype(np.intp), 0, length - 1)
            for start, stop, own, down, length in zip(
                (box.top, box.left),
                (box.bottom, box.right),
                grid.downsample,
                self._down,
                self._image.level_shapes[0],
                strict=True,
            )
        )
        window = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        values = self._read(window)[rows - window.top][:, columns - window.left]
        if values.max() > self._classes.count:
            raise DatasetError(
                f"{self._path} holds the value {values.max()}; "
                f"expected 0 for background and values up to {self._classes.count}"
            )
        return values.astype(np.uint8)

    def _read(self, box: Box) -> NDArray[np.integer]:
        try:
            return np.asarray(self._image.read(box)[..., 0])
        except TwoStageError as error:
            raise DatasetError(f"{self._path} cannot be read: {error}") from error


def _open(path: Path) -> tuple[Slide, bool]:
    """Open a label image; also return whether it states its pixel size."""
    # labels of OME-Zarr are no slide, and are refused as one
    opener = partial(open_ome_zarr, labels=True) if path.is_dir() else open_slide
    try:
        try:
            image, stated = opener(path, cache_bytes=_CACHE_BYTES), True
        except MissingPixelSizeError:
            image, stated = opener(path, mpp=1.0, cache_bytes=_CACHE_BYTES), False
    except TwoStageError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if image.channels != 1:
        raise DatasetError(f"{path} has colours; expected one plane of class values")
    return image, stated
