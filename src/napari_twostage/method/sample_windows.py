"""A few coarse windows of a slide, run through stage 1, and their features."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.method.features import is_bright_field, window_features
from napari_twostage.models.training_domain import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Scale
    from napari_twostage.method.pipeline import Predictor, Reader

WINDOWS = 5
"""Coarse windows that are looked at."""


def pick_windows(
    tissue: NDArray[np.bool_], tiles_aside: int, count: int = WINDOWS
) -> list[tuple[int, int]]:
    """Choose windows that are full of tissue, spread over the slide.

    Parameters
    ----------
    tissue : (rows, columns) bool array
        Tiles with tissue.
    tiles_aside : int
        Tiles along the side of a window.
    count : int
        Most windows to choose.

    Returns
    -------
    list of (row, column)
        Windows, row by row.
    """
    rows, columns = (-(-length // tiles_aside) for length in tissue.shape)
    padding = [
        (0, n * tiles_aside - length)
        for n, length in zip((rows, columns), tissue.shape, strict=True)
    ]
    blocks = np.pad(tissue, padding).reshape(rows, tiles_aside, columns, tiles_aside)
    filled = blocks.sum(axis=(1, 3)).ravel()
    full = np.flatnonzero((filled > 0) & (2 * filled >= filled.max()))
    if not full.size:
        return []
    middles = (np.arange(count) + 0.5) / count * len(full)
    chosen = np.unique(full[middles.astype(int)]).tolist()
    return [divmod(index, columns) for index in chosen]


class LookedAt(NamedTuple):
    """Coarse window with the output of stage 1."""

    box: Box
    """Pixels of the window's core inside the slide, on the coarse grid."""
    pixels: NDArray[np.uint8]
    """(height, width, 3) of the box."""
    logits: NDArray[np.float32]
    """(K, height, width) calibrated logits of the box."""


def look_at(model: Predictor, reader: Reader, cores: Sequence[Box]) -> Iterator[LookedAt]:
    """Run stage 1 over coarse windows.

    Parameters
    ----------
    model : Predictor
    reader : Reader
        Slide at the pixel size of stage 1.
    cores : sequence of Box
        Cores of windows, before clipping to the slide. Those that cannot be read are left out.
    """
    halo = model.card.coarse_halo_px
    readable = []
    for core in cores:
        with suppress(ReadError):  # the coarse pass reports it
            readable.append((core, reader.read(core.grow(halo))))
    for start in range(0, len(readable), model.coarse_batch):
        batch = readable[start : start + model.coarse_batch]
        maps = model.coarse([pixels for _, pixels in batch])
        for (core, pixels), own in zip(batch, maps, strict=True):
            box = core.clip(reader.grid.shape)
            place = box.shift(-core.top, -core.left)
            logits = own[: model.card.outputs, *place.slices]
            yield LookedAt(box, pixels[place.shift(halo, halo).slices], logits)


def features_of(
    windows: Iterable[LookedAt], mpp: Scale
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features of windows.

    Parameters
    ----------
    windows : iterable of LookedAt
    mpp : (float, float)
        Micrometres per coarse pixel (y, x).

    Returns
    -------
    (n, 12) float64 array
        `FEATURES` of the windows with objects.
    (m,) bool array
        Whether each window is bright field.
    """
    found, bright = [], []
    for window in windows:
        bright.append(is_bright_field(window.pixels))
        features = window_features(window.pixels, window.logits, mpp)
        if features is not None and np.isfinite(features).all():  # the coarse pass refuses others
            found.append(features)
    return np.array(found).reshape(-1, len(FEATURES)), np.array(bright, bool)
