"""What a model sees of a slide: 8-bit RGB on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.slides.base import Slide

_GREY, _RGB, _RGBA = 1, 3, 4


class View:
    """A slide as 8-bit RGB on one grid, whatever the file holds.

    Parameters
    ----------
    slide : Slide
        To read from.
    grid : Grid
        The pixels that boxes count.
    """

    def __init__(self, slide: Slide, grid: Grid) -> None:
        self.slide = slide
        self.grid = grid

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read pixels; beyond the edges the slide is reflected.

        Grey becomes RGB, RGBA is laid on white, and 16 bit becomes 8 bit by the slide's one
        intensity range.

        Parameters
        ----------
        box : Box
            On the view's grid.

        Returns
        -------
        (box.height, box.width, 3) uint8 array.

        Raises
        ------
        ReadError
            Where the file is damaged.
        """
        pixels = self.slide.read_at(box, self.grid.downsample)
        if self.slide.channels == _RGBA:
            pixels = on_white(pixels)
        shown = to_8_bit(pixels, self.slide.intensity_range)
        return np.repeat(shown, _RGB, axis=2) if self.slide.channels == _GREY else shown


def to_8_bit(
    pixels: NDArray[np.generic], intensity_range: tuple[float, float]
) -> NDArray[np.uint8]:
    """Map an intensity range to 0..255; values outside are clipped.

    Parameters
    ----------
    pixels : uint8 or uint16 array
        8-bit pixels pass through.
    intensity_range : (float, float)
        The values that become 0 and 255.

    Examples
    --------
    >>> to_8_bit(np.array([100, 350, 600, 9999], np.uint16), (100, 600))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    low, high = intensity_range
    scaled = (pixels.astype(np.float32) - low) * (255 / (high - low))
    shown: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return shown


def on_white(pixels: NDArray[Any]) -> NDArray[np.generic]:
    """Lay (h, w, 4) RGBA pixels on white: (h, w, 3) of the same dtype."""
    white = np.iinfo(pixels.dtype).max
    colours = pixels[..., :3].astype(np.float32)
    alpha = pixels[..., 3:].astype(np.float32) / white
    laid = np.rint(white + (colours - white) * alpha)
    opaque: NDArray[np.generic] = laid.astype(pixels.dtype)
    return opaque
