"""View of a slide as a model reads it: 8-bit RGB on one grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.slides.base import Slide

_GREY, _RGB, _RGBA = 1, 3, 4


class View:
    """A slide as 8-bit RGB on one grid, whatever the file's pixels are.

    Parameters
    ----------
    slide : Slide
        Slide to read from.
    grid : Grid
        Grid whose pixels boxes count.
    """

    def __init__(self, slide: Slide, grid: Grid) -> None:
        self.slide = slide
        self.grid = grid

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read pixels; beyond the edges the slide is reflected.

        Grey becomes RGB, RGBA is laid over white, and all but 8 bit becomes 8 bit by the slide's
        intensity range.

        Parameters
        ----------
        box : Box
            Rectangle on the view's grid.

        Returns
        -------
        (box.height, box.width, 3) uint8 array.

        Raises
        ------
        ReadError
            If the file is damaged.
        """
        return self.shown(self.slide.read_at(box, self.grid.downsample))

    def shown(self, pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Convert pixels of the slide as `read` does: (h, w, C) to (h, w, 3)."""
        if self.slide.channels == _RGBA:
            pixels = on_white(pixels)
        grey_or_rgb = to_8_bit(pixels, self.slide.intensity_range)
        return np.repeat(grey_or_rgb, _RGB, axis=2) if self.slide.channels == _GREY else grey_or_rgb


def to_8_bit(
    pixels: NDArray[np.generic], intensity_range: tuple[float, float]
) -> NDArray[np.uint8]:
    """Map an intensity range to 0..255; values outside are clipped.

    Parameters
    ----------
    pixels : uint8, uint16 or float32 array
        8-bit pixels pass through; NaN becomes 0.
    intensity_range : (float, float)
        Values that become 0 and 255.

    Examples
    --------
    >>> to_8_bit(np.array([100, 350, 600, 9999], np.uint16), (100, 600))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    low, high = intensity_range
    scaled = (pixels.astype(np.float32) - low) * (255 / (high - low))
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    shown: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return shown


def white(dtype: np.dtype[Any]) -> float:
    """Value of empty glass; NaN for floating-point pixels, whose range the file does not state."""
    return float("nan") if dtype.kind == "f" else int(np.iinfo(dtype).max)


def on_white(pixels: NDArray[Any]) -> NDArray[Any]:
    """Lay RGBA pixels over white.

    Parameters
    ----------
    pixels : (h, w, 4) uint8 or uint16 array
        Red, green, blue and alpha, which is 0 for clear pixels.

    Returns
    -------
    (h, w, 3) array of the same dtype; a copy.

    Examples
    --------
    >>> on_white(np.array([[[9, 9, 9, 255], [0, 0, 0, 0]]], np.uint8)).tolist()
    [[[9, 9, 9], [255, 255, 255]]]
    """
    white = np.iinfo(pixels.dtype).max
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if (alpha == white).all():
        return colours.copy()
    wide = np.uint16 if pixels.dtype == np.uint8 else np.uint32  # holds white * white
    alpha = alpha.astype(wide)
    weighted = colours.astype(wide) * alpha + (white - alpha) * wide(white)
    laid: NDArray[Any] = ((weighted + wide(white // 2)) // wide(white)).astype(pixels.dtype)
    return laid
