"""Artefacts of a slide: pen marks, edges of coverslips and areas out of focus."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method import focus, marks
from napari_twostage.method.focus import find_out_of_focus
from napari_twostage.method.overview import glass_of, read_overview

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.slides.base import Slide


class Artefact(IntEnum):
    """Kind of an artefact, as it stands in masks; 0 is none. Results keep the numbers."""

    PEN = 1
    EDGE = 2
    """Edge of a coverslip, rim of an air bubble, hair."""
    OUT_OF_FOCUS = 3

    @property
    def words(self) -> str:
        """Name, as in records: ``pen``, ``edge`` or ``out of focus``."""
        return self.name.lower().replace("_", " ")


LEFT_OUT = (Artefact.PEN, Artefact.EDGE)
IN_TISSUE = (Artefact.OUT_OF_FOCUS,)
"""Artefacts that are no tissue, and those that are."""


def _always() -> bool:
    return True


def kinds_shown_by(slide: Slide) -> tuple[Artefact, ...]:
    """Artefacts that the pixels of a bright-field slide are small enough to show."""
    finest = min(slide.mpp)
    kinds = [Artefact.EDGE]
    if finest <= marks.COARSEST_MPP:
        kinds += [Artefact.PEN]
    if finest <= focus.COARSEST_MPP:
        kinds += [Artefact.OUT_OF_FOCUS]
    return tuple(sorted(kinds))


def find_in_tissue(
    slide: Slide,
    tissue: NDArray[np.bool_],
    grid: Grid,
    *,
    is_wanted: Callable[[], bool] = _always,
) -> NDArray[np.uint8]:
    """Find the artefacts that are tissue on a bright-field slide.

    Parameters
    ----------
    slide : Slide
        Its overview and small fields are read.
    tissue : (H, W) bool array
        True on tissue: `Tissue.measured`.
    grid : Grid
        Grid of the mask, that of the overview.
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
    glass = glass_of(read_overview(slide, grid))
    found = np.zeros(tissue.shape, np.uint8)
    found[find_out_of_focus(slide, tissue, grid, glass, is_wanted)] = Artefact.OUT_OF_FOCUS
    return found
