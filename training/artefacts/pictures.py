"""Slides of real tissue without artefacts: sections, and images of data sets laid side by side."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MPP = 0.5
"""Micrometres per pixel of the slides that are laid out."""
SETS = {"NuInsSeg": 0.25, "MoNuSeg": 0.25, "GlaS": 0.62, "BOWL": 0.25, "Fungi": 0.5}
"""Micrometres per pixel of the sets' images; those of BOWL and Fungi are not stated: a guess."""
TISSUE_UM, GLASS_UM = 1800.0, 400.0
"""Side of the tissue that is laid out, and the glass around it."""


@dataclass(frozen=True)
class Picture:
    """A slide of tissue without artefacts."""

    name: str
    split: str
    """``train`` or ``test``; thresholds were chosen on the former."""
    pixels: NDArray[np.uint8]
    mpp: float
    glass: NDArray[np.float32]
    """Grey levels (3,) of empty glass."""


def laid_out(folder: Path, name: str, seed: int) -> Iterator[Picture]:
    """Slides of a set's stained images: one a slide of NuInsSeg, one a split of other sets."""
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    with (folder / name / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            group = row["file"].rsplit("_", 1)[0] if name == "NuInsSeg" else name
            split = "outside" if name == "MoNuSeg" else row["split"]
            groups[group, split].append(folder / name / "images" / row["file"])
    for (group, split), files in sorted(groups.items()):
        images = [image for file in files if _is_stained(image := _read(file, SETS[name]))]
        if images:
            yield _mosaic(group, split, images, np.random.default_rng(seed))


def _read(file: Path, mpp: float) -> NDArray[np.uint8]:
    """An image, reduced to `MPP`; it is not enlarged."""
    with Image.open(file) as image:
        rgb = image.convert("RGB")
        if mpp < MPP:
            size = [round(length * mpp / MPP) for length in rgb.size]
            rgb = rgb.resize((size[0], size[1]), Image.Resampling.BOX)
        return np.asarray(rgb)


def _is_stained(image: NDArray[np.uint8]) -> bool:
    """Whether an image has colours: BOWL has fluorescence, too."""
    return bool(np.ptp(image.mean(axis=(0, 1))) > 8 and image.mean() > 60)


def _mosaic(
    name: str, split: str, images: list[NDArray[np.uint8]], rng: np.random.Generator
) -> Picture:
    """Images side by side, mirrored at random, on glass."""
    height, width = (min(image.shape[axis] for image in images) for axis in (0, 1))
    down, across = (max(1, round(TISSUE_UM / MPP / length)) for length in (height, width))
    margin = round(GLASS_UM / MPP)
    glass = np.percentile(np.concatenate([one[::8, ::8].reshape(-1, 3) for one in images]), 99, 0)
    pixels = np.empty((down * height + 2 * margin, across * width + 2 * margin, 3), np.uint8)
    pixels[:] = np.rint(glass)
    pixels = (pixels + rng.normal(0, 1.5, pixels.shape)).clip(0, 255).astype(np.uint8)
    order = np.concatenate([rng.permutation(len(images)) for _ in range(down * across)])
    for place in range(down * across):
        row, column = divmod(place, across)
        image = images[order[place]][:height, :width]
        image = image[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        top, left = margin + row * height, margin + column * width
        pixels[top : top + height, left : left + width] = image
    mpp = SETS[name] if SETS.get(name, 0) > MPP else MPP
    return Picture(name, split, pixels, mpp, glass.astype(np.float32))
