"""Amounts of haematoxylin and eosin in a bright-field slide, by colour deconvolution.

The optical density of a channel is −log10(I / white), and linear in the amounts of the stains
(Beer-Lambert). Their colours are those of Ruifrok and Johnston, Quantification of histochemical
staining by color deconvolution, Anal Quant Cytol Histol 2001, the same for all slides: amounts can
be compared between slides as far as the stains can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.overview import overview_grid, read_overview

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.slides.base import Slide

STAINS = {"haematoxylin": (0.65, 0.70, 0.29), "eosin": (0.07, 0.99, 0.11)}
"""Optical density of each stain in red, green and blue."""
WHITE_PERCENTILE = 99.5
"""Percentile of an overview's pixels that is taken for white, in each channel."""
LEAST_WHITE = 0.3
"""White below which glass cannot be, in [0, 1]."""
UNIT = 1e-5
"""Optical density that is counted: sums of whole numbers do not depend on their order."""


def white_of(slide: Slide) -> NDArray[np.float64] | None:
    """White of a slide: (3,) in (0, 1]; None of a dark field, which has no stains."""
    overview = read_overview(slide, overview_grid(slide))
    if not overview.bright_field:
        return None
    seen = overview.pixels[~(overview.damaged | overview.unscanned)]
    white = np.percentile(seen, WHITE_PERCENTILE, axis=0).clip(LEAST_WHITE, 1)
    return np.asarray(white, np.float64)


def density_tables(white: NDArray[np.float64]) -> NDArray[np.int64]:
    """Share of each 8-bit value of each channel in each stain, in `UNIT`.

    Parameters
    ----------
    white : (3,) float array
        Values of glass, in (0, 1].

    Returns
    -------
    (2, 3, 256) int array
        For haematoxylin and eosin; the three channels of a pixel add up to its optical density.
        It may be negative: noise, or a colour that is of neither stain.

    Examples
    --------
    >>> tables = density_tables(np.ones(3))
    >>> pixel = np.rint(255 * 10 ** -np.array([0.65, 0.70, 0.29])).astype(int)  # haematoxylin
    >>> (tables[:, [0, 1, 2], pixel].sum(axis=1) * UNIT).round(2) + 0.0
    array([1., 0.])
    """
    vectors = np.array(list(STAINS.values()))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    other = np.cross(*vectors)
    unmixed = np.linalg.inv(np.vstack([vectors, other / np.linalg.norm(other)]))[:, :2]
    values = np.maximum(np.arange(256), 1) / 255
    densities = -np.log10(np.minimum(values[None] / white[:, None], 1))
    tables: NDArray[np.int64] = np.rint(unmixed.T[:, :, None] * densities / UNIT).astype(np.int64)
    return tables
