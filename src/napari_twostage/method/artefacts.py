"""Artefacts of a slide: pen marks, edges of coverslips, folds and areas out of focus."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method import focus, marks
from napari_twostage.method.focus import find_out_of_focus
from napari_twostage.method.folds import find_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.slides.base import Slide


class Artefact(IntEnum):
    """Kind of an artefact, as it stands in masks; 0 is none. Results keep the numbers."""

    PEN = 1
    EDGE = 2
    """Edge of a coverslip, rim of an air bubble, hair."""
    FOLD = 3
    OUT_OF_FOCUS = 4

    @property
    def words(self) -> str:
        """Name, as in records: ``pen``, ``edge``, ``fold`` or ``out of focus``."""
        return self.name.lower().replace("_", " ")


LEFT_OUT = (Artefact.PEN, Artefact.EDGE)
"""Artefacts that are no tissue; the others are tissue."""


def kinds_shown_by(slide: Slide) -> tuple[Artefact, ...]:
    """Artefacts that the pixels of a bright-field slide are small enough to show."""
    finest = min(slide.mpp)
    kinds = [Artefact.EDGE]
    if finest <= marks.COARSEST_MPP:
        kinds += [Artefact.PEN, Artefact.FOLD]
    if finest <= focus.COARSEST_MPP:
        kinds += [Artefact.OUT_OF_FOCUS]
    return tuple(sorted(kinds))


def find_in_tissue(
    slide: Slide,
    channels: NDArray[np.float32],
    tissue: NDArray[np.bool_],
    grid: Grid,
    glass: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Find the artefacts that are tissue; a fold out of focus is a fold.

    Parameters
    ----------
    slide : Slide
        Slide of the overview; small fields of it are read.
    channels : (H, W, 3) float32 array
        `marks.density` of the overview.
    tissue : (H, W) bool array
        True on tissue.
    grid : Grid
        Grid of the overview.
    glass : (3,) float32 array
        RGB of empty glass.

    Returns
    -------
    (H, W) uint8 array
        `Artefact` of each pixel, or 0.
    """
    found = np.zeros(tissue.shape, np.uint8)
    found[find_out_of_focus(slide, tissue, grid, glass)] = Artefact.OUT_OF_FOCUS
    found[find_folds(slide, channels, tissue, grid, glass)] = Artefact.FOLD
    return found
