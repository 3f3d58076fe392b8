"""Images with masks, as arrays."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class DatasetError(ValueError):
    """A data set that is not laid out as expected; the message names the file."""


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) uint8."""
    mask: NDArray[np.uint8]
    """(H, W), 0 background, 1 foreground."""


def load_split(folder: str | Path, split: str) -> list[Sample]:
    """Load one split of a folder with ``manifest.csv``, ``images/`` and ``masks/``.

    Parameters
    ----------
    folder : path
        Masks are 1-bit PNGs with the stem of their image.
    split : str
        ``train`` or ``test``, as the manifest's column ``split`` says.

    Raises
    ------
    DatasetError
        If the manifest, an image or a mask is missing, unreadable or of another size.
    """
    folder = Path(folder)
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError(
            f"{manifest} is missing; name a folder with manifest.csv, images/, masks/"
        )
    with manifest.open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] == split]
    if not names:
        raise DatasetError(f"{manifest} lists no image of split '{split}'")
    return [_load(folder, name) for name in names]


def _load(folder: Path, name: str) -> Sample:
    image_path, mask_path = folder / "images" / name, folder / "masks" / f"{Path(name).stem}.png"
    image = _open(image_path, "RGB")
    mask = _open(mask_path, "1")
    if image.size != mask.size:
        raise DatasetError(
            f"{mask_path} is {mask.width}x{mask.height}, its image {image.width}x{image.height}"
        )
    return Sample(name, np.asarray(image), np.asarray(mask).astype(np.uint8))


def _open(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except (OSError, SyntaxError) as error:  # Pillow reports some damaged PNGs as the latter
        raise DatasetError(f"{path} cannot be read: {error}") from error


def hold_out(
    samples: Iterable[Sample], fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Split samples in two, reproducibly: (rest, held out)."""
    samples = list(samples)
    order = np.random.default_rng(seed).permutation(len(samples))
    count = round(len(samples) * fraction)
    held = set(order[:count].tolist())
    return (
        [sample for index, sample in enumerate(samples) if index not in held],
        [sample for index, sample in enumerate(samples) if index in held],
    )
