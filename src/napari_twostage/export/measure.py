"""How much of the slide each class covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.export.blocks import blocks

if TYPE_CHECKING:
    from napari_twostage.export.blocks import Progress
    from napari_twostage.segmentation import Segmentation


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


def areas(seg: Segmentation, *, progress: Progress = lambda _: None) -> list[ClassArea]:
    """Measure the area of each class, in the order of ``seg.classes``.

    Reads the finest labels a block at a time, so memory does not grow with the slide.
    """
    pixels, refined = np.zeros(256, np.int64), np.zeros(256, np.int64)
    tissue = 0
    for block in blocks(seg, progress):
        pixels += np.bincount(block.labels.ravel(), minlength=256)
        refined += np.bincount(block.labels[block.refined], minlength=256)
        tissue += int(np.count_nonzero(block.states))
    return [
        ClassArea(
            name=kind.name,
            color=kind.color,
            value=kind.value,
            pixels=int(pixels[kind.value]),
            area_mm2=float(pixels[kind.value] * seg.grid.pixel_area_um2 / 1e6),
            tissue_fraction=float(pixels[kind.value] / max(1, tissue)),
            refined_fraction=float(refined[kind.value] / max(1, pixels[kind.value])),
        )
        for kind in seg.classes
    ]
