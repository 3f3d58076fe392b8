"""Ground of a slide, bright or dark, and signal that a search for tissue would leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.errors import SlideError
from napari_twostage.method.overview import overview_grid, read_overview
from napari_twostage.method.tissue import find_tissue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.slides.base import Slide

NOISES = 5.0
"""Standard deviations of the noise above which a smoothed pixel of a dark field is signal."""
LEAST_SIGNAL = 0.01
"""Smallest intensity above the ground that is signal, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The ground of a slide."""

    bright_field: bool
    """True for stained tissue on bright glass, False for signal on a dark ground."""
    signal_outside: float = 0.0
    """Share of a dark field's signal, by area, that lies outside of the tissue found, in [0, 1]."""


def find_ground(slide: Slide) -> Ground:
    """Look at a slide's overview.

    Parameters
    ----------
    slide : Slide
        Its coarsest level should be small: see `slides.pyramid`.

    Raises
    ------
    SlideError
        If no pixel can be read.
    """
    overview = read_overview(slide, overview_grid(slide))
    if overview.bright_field:
        return Ground(bright_field=True)
    signal = dark_signal(overview.pixels.max(axis=-1)) & ~overview.damaged
    if not signal.any():
        return Ground(bright_field=False)
    try:
        found = find_tissue(slide).mask
    except SlideError:  # no tissue was found
        return Ground(bright_field=False, signal_outside=1.0)
    return Ground(bright_field=False, signal_outside=float((signal & ~found).sum() / signal.sum()))


def dark_signal(intensity: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that stand out from a dark ground, however dim.

    Parameters
    ----------
    intensity : (H, W) float32 array
        In [0, 1].
    """
    smoothed = ndimage.gaussian_filter(intensity, 1)
    lower = smoothed[smoothed <= np.median(smoothed)]
    ground = float(np.median(lower))
    # the lower half of the ground alone: what is above its middle may be signal
    noise = 1.4826 * float(np.median(np.abs(lower - ground))) * 2
    return np.asarray(smoothed > ground + max(NOISES * noise, LEAST_SIGNAL))
