"""Composition of a slide from annotated images: islands on empty background, or edge to edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from scipy import ndimage

from napari_twostage.geometry import Box
from napari_twostage.method.features import is_bright_field
from napari_twostage.training.datasets import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.datasets import Sample

CELL_PX = 1024
"""Side of the square cells that are filled with images or left empty."""
ISLAND_CELLS = 1.5
"""Correlation length of filled cells, in cells: islands of tissue, not a chessboard."""
GLASS, DARK = 243, 0
"""Grey level of empty background, in bright and in dark field."""
TIFF_TILE_PX, JPEG_QUALITY = 256, 90


@dataclass(frozen=True)
class PlacedImage:
    """An image of the data set and its place on the slide."""

    name: str
    box: Box
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Composite:
    """A slide and its ground truth."""

    image: NDArray[np.uint8]
    """(S, S, 3)."""
    placed: tuple[PlacedImage, ...]
    """An image may occur several times, mirrored."""


def compose_slide(
    samples: Sequence[Sample], *, side_px: int, share: float, bright_field: bool, seed: int = 0
) -> Composite:
    """Fill a share of a slide's cells with images, all bright field or all dark field.

    Parameters
    ----------
    samples : sequence of Sample
    side_px : int
        Side of the slide; whole cells of 1024 are used.
    share : float
        Share of the cells that hold images, in (0, 1].
    bright_field : bool
        Stained images on glass, or bright ones on dark ground.
    seed : int

    Raises
    ------
    DatasetError
        If there are no such images, or the slide is smaller than a cell.
    """
    chosen = [sample for sample in samples if is_bright_field(sample.image) == bright_field]
    across = side_px // CELL_PX
    if not chosen or not across:
        raise DatasetError(
            f"expected {'bright' if bright_field else 'dark'}-field images and a side of at least "
            f"{CELL_PX}, found {len(chosen)} and {side_px}; choose another --ground or --side"
        )
    rng = np.random.default_rng(seed)
    image = np.full((side_px, side_px, 3), GLASS if bright_field else DARK, np.uint8)
    rank = ndimage.gaussian_filter(rng.random((across, across)), ISLAND_CELLS, mode="wrap").ravel()
    cells = np.argsort(-rank, kind="stable")[: max(1, round(share * across**2))]
    placed: list[PlacedImage] = []
    for row, column in zip(*np.unravel_index(cells, (across, across)), strict=True):
        for entry, pixels in _fill(chosen, int(row) * CELL_PX, int(column) * CELL_PX, rng):
            image[entry.box.slices] = pixels
            placed.append(entry)
    return Composite(image, tuple(placed))


def compose_mosaic(
    samples: Sequence[Sample], *, side_px: int, empty: float, seed: int = 0
) -> Composite:
    """Fill a slide with images, edge to edge: tissue everywhere, most of it without foreground.

    Parameters
    ----------
    samples : sequence of Sample
        All are cropped to the height and width that all have.
    side_px : int
        Side of the slide.
    empty : float
        Share of the images without foreground, in [0, 1].
    seed : int

    Raises
    ------
    DatasetError
        If there are no images of either kind.
    """
    every = list(samples)
    kinds = [[s for s in every if bool(s.mask.any()) == found] for found in (False, True)]
    if not all(kinds):
        raise DatasetError(
            f"expected images with foreground and without, found {len(kinds[1])} and "
            f"{len(kinds[0])}; leave out --empty"
        )
    height, width = (min(s.mask.shape[axis] for s in every) for axis in (0, 1))
    rng = np.random.default_rng(seed)
    image = np.zeros((side_px, side_px, 3), np.uint8)
    placed = []
    for top in range(0, side_px, height):
        for left in range(0, side_px, width):
            kind = kinds[int(rng.random() >= empty)]
            box = Box.at(top, left, height, width).clip((side_px, side_px))
            entry, pixels = _placed(kind[int(rng.integers(len(kind)))], box, rng)
            image[box.slices] = pixels
            placed.append(entry)
    return Composite(image, tuple(placed))


def _placed(
    sample: Sample, box: Box, rng: np.random.Generator
) -> tuple[PlacedImage, NDArray[np.uint8]]:
    """Crop an image to a box, and mirror it at random."""
    flips = [slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(2)]
    part = slice(box.height), slice(box.width)
    pixels = sample.image[part][flips[0], flips[1]]
    return PlacedImage(sample.name, box, sample.mask[part][flips[0], flips[1]]), pixels


def _fill(
    samples: Sequence[Sample], top: int, left: int, rng: np.random.Generator
) -> list[tuple[PlacedImage, NDArray[np.uint8]]]:
    """Fill a cell with images, cropped to the size of the first one drawn."""
    height, width = (min(CELL_PX, n) for n in samples[int(rng.integers(len(samples)))].mask.shape)
    alike = [s for s in samples if s.mask.shape[0] >= height and s.mask.shape[1] >= width]
    filled = []
    for y in range(top, top + CELL_PX - height + 1, height):
        for x in range(left, left + CELL_PX - width + 1, width):
            sample = alike[int(rng.integers(len(alike)))]
            filled.append(_placed(sample, Box.at(y, x, height, width), rng))
    return filled


def write_slide(path: Path, image: NDArray[np.uint8], mpp: float) -> None:
    """Write a tiled JPEG pyramid with a pixel size, as scanners do: levels of 1, 1/4, 1/16 ..."""
    levels = [image]
    while min(levels[-1].shape[:2]) > 2 * CELL_PX:
        levels.append(_quarter(levels[-1]))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for place, level in enumerate(levels):
            density = 1e4 / (mpp * 4**place)
            tiff.write(
                level,
                subifds=len(levels) - 1 if place == 0 else None,
                subfiletype=1 if place else 0,
                resolution=(density, density),
                resolutionunit="CENTIMETER",
                tile=(TIFF_TILE_PX, TIFF_TILE_PX),
                compression="jpeg",
                compressionargs={"level": JPEG_QUALITY},
                photometric="rgb",
                metadata=None,
            )


def _quarter(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average blocks of 4 × 4 pixels; incomplete blocks at the far edges are dropped."""
    height, width = (length // 4 for length in image.shape[:2])
    smaller = np.empty((height, width, 3), np.uint8)
    for row in range(0, height, 256):
        rows = slice(row, min(row + 256, height))
        block = image[4 * rows.start : 4 * rows.stop, : 4 * width]
        parts = block.reshape(rows.stop - rows.start, 4, width, 4, 3)
        smaller[rows] = np.rint(parts.mean(axis=(1, 3), dtype=np.float32))
    return smaller
