"""Artefacts drawn on images of real tissue: strokes of pens, areas out of focus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Drawn = tuple[NDArray[np.uint8], NDArray[np.bool_]]
    """The image with an artefact, and the pixels that it covers."""

PENS = {
    "blue": (1.0, 0.6, 0.15),
    "green": (0.9, 0.35, 0.55),
    "red": (0.08, 0.9, 0.7),
    "black": (0.95, 1.0, 1.0),
}
"""Optical density (red, green, blue) of a full stroke."""


def band(shape: tuple[int, int], width_px: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A curved band across an image, through its middle third.

    Parameters
    ----------
    shape : (int, int)
    width_px : float
        Width of the band.
    rng : Generator
        Chooses direction, place and curvature.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    side = min(shape)
    angle = rng.uniform(0, np.pi)
    along, across = np.cos(angle), np.sin(angle)
    u = (x - shape[1] / 2) * along + (y - shape[0] / 2) * across
    v = (y - shape[0] / 2) * along - (x - shape[1] / 2) * across
    bend = side * rng.uniform(0.02, 0.08) * np.sin(u / side * rng.uniform(3, 6) + rng.uniform(0, 6))
    return np.asarray(np.abs(v - bend - side * rng.uniform(-0.15, 0.15)) < width_px / 2)


def draw_pen(
    image: NDArray[np.uint8], pen: str, strength: float, width_px: float, rng: np.random.Generator
) -> Drawn:
    """A stroke of semi-transparent ink: it multiplies what lies below it.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    pen : str
        A name in `PENS`.
    strength : float
        Share of the density of a full stroke.
    width_px : float
    rng : Generator
    """
    inside = band(image.shape[:2], width_px, rng)
    flow = 1 + 0.1 * _clouds(image.shape[:2], 75, rng)[..., None]  # ink does not flow evenly
    ink = flow * strength * np.array(PENS[pen], np.float32)
    edge = ndimage.gaussian_filter(inside.astype(np.float32), 3)[..., None]
    return _darkened(image, ink * edge), inside


def draw_blur(
    image: NDArray[np.uint8], kind: str, radius_px: float, rng: np.random.Generator
) -> Drawn:
    """An area out of focus, with a border that fades.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    kind : str
        ``gaussian``, whose standard deviation the radius is, or ``disk``.
    radius_px : float
    rng : Generator
    """
    sharp = image.astype(np.float32)
    if kind == "gaussian":
        blurred = ndimage.gaussian_filter(sharp, (radius_px, radius_px, 0))
    else:
        blurred = _disk_mean(sharp, radius_px)
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    centre = np.array((height, width)) * rng.uniform(0.35, 0.65, 2)
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (0.3 * min(height, width)) ** 2
    edge = ndimage.gaussian_filter(inside.astype(np.float32), 20)[..., None]
    noise = rng.normal(0, 1.5, image.shape).astype(np.float32)  # the camera's, which stays sharp
    return _to_levels(sharp + edge * (blurred + noise - sharp)), inside


def _disk_mean(image: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Mean over a disk around each pixel."""
    from scipy.signal import fftconvolve

    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (y**2 + x**2 <= radius**2).astype(np.float32)
    around = np.pad(image, [(reach, reach), (reach, reach), (0, 0)], mode="reflect")
    mean = fftconvolve(around, (disk / disk.sum())[..., None], mode="valid", axes=(0, 1))
    return np.asarray(mean, dtype=np.float32)


def _clouds(
    shape: tuple[int, int], size_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth noise of standard deviation 1."""
    coarse = rng.normal(size=[int(n / size_px) + 4 for n in shape])
    smooth = ndimage.zoom(coarse, size_px, order=1)[: shape[0], : shape[1]]
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def _darkened(image: NDArray[np.uint8], density: NDArray[np.floating]) -> NDArray[np.uint8]:
    return _to_levels(image * 10**-density)


def _to_levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values.clip(0, 255)), dtype=np.uint8)
