"""Artefacts of a slide: pen marks, edges of coverslips, folds and areas out of focus."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method import focus, marks
from napari_twostage.method.focus import find_out_of_focus
from napari_twostage.method.folds import find_folds
from napari_twostage.method.marks import density
from napari_twostage.method.overview import glass_of, read_overview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
IN_TISSUE = (Artefact.FOLD, Artefact.OUT_OF_FOCUS)
"""Artefacts that are no tissue, and those that are."""

FOLDS_MPP = 16.0
"""Micrometres per pixel of the overview on which folds are looked for."""


def _always() -> bool:
    return True


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
    tissue: NDArray[np.bool_],
    grid: Grid,
    *,
    kinds: Sequence[Artefact] = IN_TISSUE,
    is_wanted: Callable[[], bool] = _always,
) -> NDArray[np.uint8]:
    """Find the artefacts that are tissue on a bright-field slide; a fold out of focus is a fold.

    Parameters
    ----------
    slide : Slide
        Its overview and small fields are read.
    tissue : (H, W) bool array
        True on tissue: `Tissue.measured`.
    grid : Grid
        Grid of the mask, that of the overview.
    kinds : sequence of Artefact
        Those of `IN_TISSUE` to look for.
    is_wanted : callable, optional
        Is asked between fields whether to go on; what is found once it is not is not complete.

    Returns
    -------
    (H, W) uint8 array
        `Artefact` of each pixel, or 0.

    Raises
    ------
    SlideError
        If no pixel can be read.
    """
    step = max(1, round(FOLDS_MPP / max(grid.mpp)))
    coarse = grid.coarser(step)
    overview = read_overview(slide, coarse)
    glass = glass_of(overview)
    found = np.zeros(tissue.shape, np.uint8)
    if Artefact.OUT_OF_FOCUS in kinds and is_wanted():
        found[find_out_of_focus(slide, tissue, grid, glass, is_wanted)] = Artefact.OUT_OF_FOCUS
    if Artefact.FOLD in kinds and is_wanted():
        channels = density(overview.pixels, glass)
        folds = find_folds(slide, channels, _reduced(tissue, step), coarse, glass)
        enlarged = folds.repeat(step, axis=0).repeat(step, axis=1)
        height, width = tissue.shape
        found[enlarged[:height, :width] & tissue] = Artefact.FOLD
    return found


def _reduced(mask: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Mask on a grid that is coarser by a whole number: what is mostly inside."""
    sides = [-length % step for length in mask.shape]
    around = np.pad(mask, [(0, side) for side in sides])
    height, width = around.shape
    squares = around.reshape(height // step, step, width // step, step)
    return np.asarray(squares.mean(axis=(1, 3)) >= 0.5)
