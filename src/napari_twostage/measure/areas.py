"""How much of the slide each class covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.blocks import blocks
from napari_twostage.measure.objects import iter_objects
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from napari_twostage.measure.blocks import Progress
    from napari_twostage.result.result import Result


@dataclass(frozen=True, slots=True)
class ClassArea:
    """What one class covers at the finest level."""

    name: str
    color: str
    """``#rrggbb``"""
    value: int
    pixels: int
    area_mm2: float
    tissue_fraction: float
    """Share of the tissue, in [0, 1]: the tissue is every tile that was not left outside."""
    refined_fraction: float
    """Share of the class's own pixels that stage 2 made, in [0, 1]."""


def areas(result: Result, *, progress: Progress = lambda _: None) -> list[ClassArea]:
    """Measure the area of each class, in the order of ``result.classes``.

    Reads the finest labels a block at a time, so memory does not grow with the slide.
    """
    pixels, refined = np.zeros(256, np.int64), np.zeros(256, np.int64)
    tissue = 0
    for block in blocks(result, progress):
        pixels += np.bincount(block.labels.ravel(), minlength=256)
        refined += np.bincount(block.labels[block.refined], minlength=256)
        tissue += int(np.count_nonzero(block.states))
    return [
        ClassArea(
            name=kind.name,
            color=kind.color,
            value=kind.value,
            pixels=int(pixels[kind.value]),
            area_mm2=float(pixels[kind.value] * result.grid.pixel_area_um2 / 1e6),
            tissue_fraction=float(pixels[kind.value] / max(1, tissue)),
            refined_fraction=float(refined[kind.value] / max(1, pixels[kind.value])),
        )
        for kind in result.classes
    ]


@dataclass(frozen=True, slots=True)
class ClassTally:
    """What one class covers, and in how many pieces."""

    name: str
    color: str
    """``#rrggbb``"""
    value: int
    objects: int
    """Connected regions."""
    area_mm2: float
    tissue_fraction: float
    """Share of the tissue's tiles, in [0, 1]."""


def tally(result: Result, progress: Progress = lambda _: None) -> list[ClassTally]:
    """Count objects and measure areas of each class, in the order of ``result.classes``.

    One pass over the finest labels, a block at a time.
    """
    pixels, objects = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for found in iter_objects(result, outlines=False, progress=progress):
        pixels[found.value] += found.pixels
        objects[found.value] += 1
    tissue = _tissue_pixels(result)
    return [
        ClassTally(
            name=kind.name,
            color=kind.color,
            value=kind.value,
            objects=int(objects[kind.value]),
            area_mm2=float(pixels[kind.value] * result.grid.pixel_area_um2 / 1e6),
            tissue_fraction=float(pixels[kind.value] / max(1, tissue)),
        )
        for kind in result.classes
    ]


def _tissue_pixels(result: Result) -> int:
    """Pixels of the tiles that were not left outside; the last row and column may be cut."""
    rows, columns = (
        np.minimum(result.tiles.tile_px, length - np.arange(count) * result.tiles.tile_px)
        for count, length in zip(result.tiles.shape, result.grid.shape, strict=True)
    )
    inside = result.states != TileState.OUTSIDE
    return int(rows @ inside @ columns)
