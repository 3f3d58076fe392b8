"""Slides of real tissue without drawn artefacts: sections, and images continued by mirroring."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_twostage.geometry import Grid
from napari_twostage.slides import open_slide
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MPP = 1.0
"""Least micrometres per pixel of the slides that are made."""
SETS = {"NuInsSeg": 0.25, "MoNuSeg": 0.25, "GlaS": 0.62, "BOWL": 0.25}
"""Micrometres per pixel of the sets' images; that of BOWL is not stated: a guess."""
SECTION_MPP = {"CMU-1-Small-Region.svs": 0.499, "tcga-cr-7395-01a-01-ts1.svs": 2.0}
"""Whole sections; the second states none: judged by its nuclei."""
SECTIONS = {"CMU-1-Small-Region.svs": "sample slide", "tcga-cr-7395-01a-01-ts1.svs": "TCGA section"}
"""Names in tables."""
TISSUE_UM, GLASS_UM = 1200.0, 400.0
"""Side of the tissue of a slide, and the glass around it."""


@dataclass(frozen=True)
class Picture:
    """A slide of real tissue."""

    name: str
    """Set or section."""
    split: str
    """``train``, ``test``, ``outside`` (MoNuSeg) or ``section``."""
    pixels: NDArray[np.uint8]
    mpp: float
    glass: NDArray[np.float32]
    """Grey levels (3,) of empty glass."""


def pictures(folder: Path, each: int, seed: int = 0) -> Iterator[Picture]:
    """Slides of all sets and sections.

    Parameters
    ----------
    folder : Path
        Folder of the data sets.
    each : int
        Images of each slide of NuInsSeg, and of each split of other sets (three times as many).
    seed : int
        Seed of the choice of images.
    """
    for name in SETS:
        yield from _of_set(folder, name, each, np.random.default_rng(seed))
    for name, mpp in SECTION_MPP.items():
        with open_slide(folder / "wsi" / name, mpp=mpp) as slide:
            grid = Grid(slide.level_shapes[0], (1.0, 1.0), slide.mpp).coarser(
                round(max(1, MPP / mpp))
            )
            pixels = View(slide, grid).read(grid.box)
        yield Picture(SECTIONS[name], "section", pixels, grid.mpp[0], _white([pixels]))


def _of_set(folder: Path, name: str, each: int, rng: np.random.Generator) -> Iterator[Picture]:
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    with (folder / name / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            group = row["file"].rsplit("_", 1)[0] if name == "NuInsSeg" else name
            split = "outside" if name == "MoNuSeg" else row["split"]
            groups[group, split].append(folder / name / "images" / row["file"])
    count = each * (1 if name == "NuInsSeg" else 3)
    some = {
        key: _stained_images([files[place] for place in rng.permutation(len(files))], name, count)
        for key, files in sorted(groups.items())
    }
    glass = _white([image for images in some.values() for image in images])
    mpp = max(MPP, SETS[name])
    for (_, split), images in some.items():
        for image in images:
            yield Picture(name, split, _continued(image, mpp, glass, rng), mpp, glass)


def _stained_images(files: list[Path], name: str, count: int) -> list[NDArray[np.uint8]]:
    """The first images that have colours: BOWL has fluorescence, too."""
    found: list[NDArray[np.uint8]] = []
    for file in files:
        image = _read(file, SETS[name])
        if np.ptp(image.mean(axis=(0, 1))) > 8 and image.mean() > 60:
            found.append(image)
        if len(found) == count:
            break
    return found


def _read(file: Path, mpp: float) -> NDArray[np.uint8]:
    """An image, reduced to `MPP`; it is not enlarged."""
    with Image.open(file) as image:
        rgb = image.convert("RGB")
        if mpp < MPP:
            width, height = (round(length * mpp / MPP) for length in rgb.size)
            rgb = rgb.resize((width, height), Image.Resampling.BOX)
        return np.asarray(rgb)


def _white(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Grey levels of glass: few images of tissue show it."""
    levels = [np.percentile(image[::4, ::4].reshape(-1, 3), 98, axis=0) for image in images]
    return np.asarray(np.max(levels, axis=0), dtype=np.float32)


def _continued(
    image: NDArray[np.uint8], mpp: float, glass: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """An image continued by mirroring, so that no seam shows, on glass."""
    side, margin = round(TISSUE_UM / mpp), round(GLASS_UM / mpp)
    after = [(0, max(0, side - length)) for length in image.shape[:2]]
    tissue = np.pad(image, [*after, (0, 0)], mode="symmetric")[:side, :side]
    slide = rng.normal(glass, 1.5, (side + 2 * margin, side + 2 * margin, 3))
    pixels: NDArray[np.uint8] = np.rint(slide.clip(0, 255)).astype(np.uint8)
    pixels[margin : margin + side, margin : margin + side] = tissue
    return pixels
