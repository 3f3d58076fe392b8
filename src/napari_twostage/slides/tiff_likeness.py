"""Whether two images of a TIFF file show the same picture at different resolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.slides.byte_source import RemoteFile
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.byte_source import PositionedFile
    from napari_twostage.slides.tiff_stack import LevelStack

ALIKE = 0.6
"""Correlation from which two pictures are the same; pages of one slide have above 0.8."""
_WITHIN = 0.6
"""Share of the coarse pixels that must lie in the range of the fine pixels that they cover."""
_TOLERANCE = 0.05
"""Part of the whole range by which a pixel may leave that range: compression, sharpening."""
_SIGNAL = 0.75
"""Ratio of the spread of the means to that within them below which there is noise only."""
_CODEC_NOISE = 3.0
"""Grey levels of 8 bits by which compression changes glass."""
_WINDOW_PX, _SOURCE_PX = 32, 1024
"""Sides of the windows that are compared: on the coarse level, and at most on the fine one."""
_GRID, _CELLS, _BEST_CELLS = 3, 12, 8
"""Windows per axis everywhere; cells per axis of which those of highest contrast are added."""
_CONTRAST_PX = 1 << 22
"""Size up to which an image is read to find where it has contrast."""
_CACHE_BYTES = 64 << 20

Places = list[tuple[float, float]]
"""Positions (y, x) as parts of the height and width."""


def places_to_compare(file: PositionedFile | RemoteFile, smallest: LevelStack) -> Places:
    """Choose where images are compared: everywhere, and where the smallest one has contrast."""
    spread = (np.arange(_GRID) + 0.5) / _GRID
    places = [(float(y), float(x)) for y in spread for x in spread]
    height, width = smallest.shape
    if height * width > _CONTRAST_PX or min(height, width) < _CELLS:
        return places
    try:
        grey = _read_grey(file, smallest, [Box(0, 0, height, width)])[0]
    except TwoStageError:
        return places
    rows, columns = height // _CELLS, width // _CELLS
    cells = grey[: rows * _CELLS, : columns * _CELLS].reshape(_CELLS, rows, _CELLS, columns)
    best = np.argsort(np.nan_to_num(cells.std(axis=(1, 3))).ravel())[-_BEST_CELLS:]
    return places + [
        (float((cell // _CELLS + 0.5) / _CELLS), float((cell % _CELLS + 0.5) / _CELLS))
        for cell in best
    ]


def likeness(
    file: PositionedFile | RemoteFile,
    fine: LevelStack,
    coarse: LevelStack,
    step: Scale,
    places: Places,
) -> float | None:
    """Correlation of a level's pixels with the means of those that they would cover.

    Parameters
    ----------
    file : PositionedFile or RemoteFile
        Open file.
    fine, coarse : LevelStack
        Two levels, if they are.
    step : (float, float)
        Pixels of `fine` per pixel (y, x) of `coarse`, above 1.
    places : list of (float, float)
        Where windows are compared.

    Returns
    -------
    -1 to 1; 0 if the pixels lie outside the range of those that they would cover. None if the
    windows hold nothing but noise, or cannot be read.
    """
    windows = [
        window
        for window in _windows(fine, coarse, step, places)
        # tiles that the file omits show nothing
        if coarse.has_all(window) and fine.has_all(_source(window, step))
    ]
    if not windows:
        return None
    sources = [_source(window, step) for window in windows]
    try:
        found = _read_grey(file, coarse, windows)
        covered = _read_grey(file, fine, sources)
    except TwoStageError:
        return None
    pooled = [
        _covered(grey, source, window, step)
        for grey, source, window in zip(covered, sources, windows, strict=True)
    ]
    low, high, mean, spread = (np.concatenate([one[n].ravel() for one in pooled]) for n in range(4))
    blur = _CODEC_NOISE if fine.dtype == np.uint8 else 0.0
    pixels = np.concatenate([one.ravel() for one in found])
    return _correlation(pixels, low, high, mean, spread, blur)


def _correlation(
    pixels: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
    mean: NDArray[Any],
    spread: NDArray[Any],
    blur: float,
) -> float | None:
    """Correlation of pixels and means; `blur` is what compression changes in either."""
    valid = np.isfinite(pixels) & np.isfinite(mean)
    if not valid.any():
        return None
    pixels, low, high, mean, spread = (one[valid] for one in (pixels, low, high, mean, spread))
    room = blur + _TOLERANCE * max(float(high.max() - low.min()), float(np.ptp(pixels)), 1e-6)
    if ((pixels >= low - room) & (pixels <= high + room)).mean() < _WITHIN:
        return 0.0
    if mean.std() <= max(_SIGNAL * spread.mean(), blur):
        return None
    if pixels.std() == 0:
        return 0.0
    return float(np.corrcoef(pixels, mean)[0, 1])


def _windows(fine: LevelStack, coarse: LevelStack, step: Scale, places: Places) -> list[Box]:
    """Windows on the coarse level whose pixels all cover pixels of the fine one."""
    rows, columns = (
        min(length, int(full / part))
        for length, full, part in zip(coarse.shape, fine.shape, step, strict=True)
    )
    side = max(1, min(_WINDOW_PX, int(_SOURCE_PX / max(step)), rows, columns))
    if rows < 1 or columns < 1:
        return []
    found = {
        (min(int(y * rows), rows - side), min(int(x * columns), columns - side)) for y, x in places
    }
    return [Box.at(top, left, side, side) for top, left in sorted(found)]


def _source(window: Box, step: Scale) -> Box:
    return Box(
        int(window.top * step[0]),
        int(window.left * step[1]),
        int(window.bottom * step[0]),
        int(window.right * step[1]),
    )


def _covered(grey: NDArray[Any], source: Box, window: Box, step: Scale) -> list[NDArray[Any]]:
    """Minimum, maximum, mean and spread of the fine pixels under each coarse one."""
    rows = (np.arange(window.top, window.bottom) * step[0]).astype(int) - source.top
    columns = (np.arange(window.left, window.right) * step[1]).astype(int) - source.left

    def each(function: np.ufunc, pixels: NDArray[Any]) -> NDArray[Any]:
        reduced: NDArray[Any] = function.reduceat(function.reduceat(pixels, rows, 0), columns, 1)
        return reduced

    count = each(np.add, np.ones_like(grey))
    mean = each(np.add, grey) / count
    square = each(np.add, grey.astype(np.float64) ** 2) / count
    spread = np.sqrt(np.maximum(square - mean.astype(np.float64) ** 2, 0))
    return [each(np.minimum, grey), each(np.maximum, grey), mean, spread]


def _read_grey(
    file: PositionedFile | RemoteFile, level: LevelStack, boxes: Sequence[Box]
) -> list[NDArray[np.float32]]:
    """Read boxes of a level as the mean of their colours."""
    cache = TileCache(_CACHE_BYTES)
    rows, columns = level.tile
    if isinstance(file, RemoteFile):
        tiles = [box.scaled((1 / rows, 1 / columns)) for box in boxes]
        file.fetch(
            level.spans(
                (row, column)
                for cells in tiles
                for row in range(cells.top, cells.bottom)
                for column in range(cells.left, cells.right)
            )
        )
    found = []
    for box in boxes:
        pixels = np.empty((*box.shape, level.channels), level.dtype)
        cache.fill(pixels, box, 0, level.tile, lambda _, y, x: level.read_tile(file, y, x))
        found.append(pixels[..., :3].mean(axis=2, dtype=np.float32))
    return found
