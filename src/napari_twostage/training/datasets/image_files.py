"""Image and mask files of any common format."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_twostage.errors import TwoStageError
from napari_twostage.geometry import Grid
from napari_twostage.slides import open_slide
from napari_twostage.slides.view import View, on_white
from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.datasets.classes import Classes
    from napari_twostage.training.datasets.samples import Pair

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""Errors that Pillow raises on unreadable files."""
_HALF = 128


def read_pair(image: Path, mask: Path, read_mask: Callable[[Path], NDArray[np.uint8]]) -> Pair:
    """Read an image and its mask; both must have the same size."""
    pixels, labels = read_image(image), read_mask(mask)
    check_size(mask, labels, pixels)
    return pixels, labels


def check_size(path: Path, mask: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    """Raise `DatasetError` if a mask and its image differ in size."""
    if mask.shape != image.shape[:2]:
        (rows, columns), (height, width) = mask.shape, image.shape[:2]
        raise DatasetError(
            f"{path} is {columns}x{rows}, its image {width}x{height}; "
            "export the mask again at the image's size"
        )


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read 8-bit RGB pixels, (H, W, 3), as the engine would see them.

    Raises
    ------
    DatasetError
        If the file cannot be read.
    """
    with _open(path) as image:
        if image.format == "TIFF" or image.mode.startswith(("I", "F")):
            return _read_as_slide(path)
        try:
            if image.has_transparency_data:
                return np.asarray(on_white(np.asarray(image.convert("RGBA"))), np.uint8)
            return np.asarray(image.convert("RGB"))
        except DAMAGED as error:
            raise _unreadable(path, error) from error


def _read_as_slide(path: Path) -> NDArray[np.uint8]:
    """Read a file that may have 16 bits, with the intensity range that the engine would use."""
    try:
        with open_slide(path, mpp=1.0) as slide:  # any value: pixels are read without resampling
            grid = Grid(slide.level_shapes[0], (1.0, 1.0), slide.mpp)
            return View(slide, grid).read(grid.box)
    except TwoStageError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def read_classes(path: Path, classes: Classes) -> NDArray[np.uint8]:
    """Read a mask of class values, of 0 and 255, or of colours.

    Parameters
    ----------
    path : Path
        A grey or palette mask holds 0 and the values 1 to K; for one class, 0 and 255 are fine
        too. An RGB mask holds black and the classes' colours.
    classes : Classes
        Number and colours of the classes.

    Returns
    -------
    (H, W) uint8 array, 0 to K.

    Raises
    ------
    DatasetError
        If the file cannot be read or holds an unexpected value.
    """
    values = read_values(path)
    if values.ndim == 3:
        if (values == values[..., :1]).all():
            values = values[..., 0]  # grey, saved as colours
        else:
            return _from_colours(path, values, classes)
    found = np.unique(values)
    if classes.count == 1 and set(found.tolist()) <= {0, 255}:
        return np.asarray(values > 0, np.uint8)
    unknown = found[(found < 0) | (found > classes.count)]
    if unknown.size:
        raise DatasetError(
            f"{path} holds the value {unknown[0]}; expected 0 for background and "
            f"{_listed(classes)}, one per class"
        )
    return values.astype(np.uint8)


def _listed(classes: Classes) -> str:
    return "1 (or 255)" if classes.count == 1 else f"1 to {classes.count}"


def _from_colours(path: Path, pixels: NDArray[np.integer], classes: Classes) -> NDArray[np.uint8]:
    mask = np.zeros(pixels.shape[:2], np.uint8)
    known = (pixels == 0).all(axis=-1)
    for value, colour in enumerate(classes.colours, start=1):
        if colour is not None:
            inside = (pixels == colour).all(axis=-1)
            mask[inside] = value
            known |= inside
    if not known.all():
        red, green, blue = pixels[~known][0]
        raise DatasetError(
            f"{path} holds the colour #{red:02x}{green:02x}{blue:02x}, which no class has; "
            "give each class its colour as name=#rrggbb, and save masks without losses (PNG)"
        )
    return mask


def read_foreground(path: Path) -> NDArray[np.uint8]:
    """Read a two-level mask as (H, W) uint8: 1 from mid-grey up, else 0."""
    values = read_values(path)
    grey = values if values.ndim == 2 else values.mean(axis=-1)
    # 1-bit files come as 0 and 1
    return np.asarray(grey >= (_HALF if grey.max() > 1 else 1), np.uint8)


def read_values(path: Path) -> NDArray[np.integer]:
    """Read a mask's stored values: (H, W), the index for palettes, or (H, W, 3).

    Raises
    ------
    DatasetError
        If the file cannot be read.
    """
    with _open(path) as image:
        try:
            if image.mode in ("1", "L", "P") or image.mode.startswith("I"):
                return np.asarray(image).astype(np.int64)
            return np.asarray(image.convert("RGB"))
        except DAMAGED as error:
            raise _unreadable(path, error) from error


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DatasetError:
    return DatasetError(f"{path} cannot be read: {' '.join(str(error).split())}")
