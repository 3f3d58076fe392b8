"""Make a big pyramidal slide out of the small real one beside this script.

    python sample_data/make_big_slide.py big.svs --size 40000x40000 --tissue 0.5

The file is laid out like an Aperio slide: JPEG tiles of 512 pixels, levels that each shrink the
one before by 4 (with --step 2 by 2, as some scanners do), a thumbnail, and the pixel size of the
small slide. Inside a smooth random outline it is covered with the small slide's densest tissue,
mirrored from patch to patch so that no seam shows; outside is glass. Memory stays below 300 MB
whatever the size: tissue and glass tiles repeat, so nearly all of level 0 is copied from a few
encoded tiles, and only the tiles on the outline are drawn one by one. Every level shows the
average of the same drawn pixels.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from imagecodecs import jpeg8_encode
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

SMALL_SLIDE = Path(__file__).with_name("CMU-1-Small-Region.svs")
MPP = 0.499
"""Micrometres per pixel of the small slide, and so of the big one."""
TISSUE_PATCH = (slice(1431, 1431 + 1536), slice(742, 742 + 1024))
"""The densest 1536 x 1024 pixels of the small slide, four fifths of them stained."""
TILE = 512
QUALITY = 80
STEP = 4
"""Default factor between one level and the next."""
COARSEST = 1024
"""Longest side of the coarsest level, in pixels."""
LARGEST = COARSEST * TILE
"""Longest side of level 0: a tile of a larger one would be less than a pixel of the coarsest."""


class Outline:
    """Outline of the tissue: a smooth random shape around the middle.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of level 0.
    tissue : float
        Fraction of the slide inside the shape, 0 to 1.
    seed : int
        Another seed gives another shape.
    """

    def __init__(self, shape: tuple[int, int], tissue: float, seed: int) -> None:
        self._spacing = max(shape) / 64
        rows, columns = (int(np.ceil(side / self._spacing)) + 2 for side in shape)
        noise = gaussian_filter(np.random.default_rng(seed).standard_normal((rows, columns)), 5)
        y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)
        height = noise / noise.std() - 2.5 * (y**2 + x**2)
        # the last nodes are outside the slide, to interpolate up to its edge
        level = np.quantile(height[:-1, :-1], 1 - tissue)
        self._height = height - level if 0 < tissue < 1 else np.full_like(height, tissue - 0.5)

    def inside(self, row: int, column: int) -> NDArray[np.bool_] | bool:
        """Whether pixels of a level-0 tile are tissue: (TILE, TILE), or one bool for all."""
        nodes_y, weights_y = self._along(0, row)
        nodes_x, weights_x = self._along(1, column)
        nodes = self._height[nodes_y, nodes_x]
        if (nodes > 0).all() or (nodes <= 0).all():
            return bool(nodes[0, 0] > 0)
        return (weights_y @ nodes @ weights_x.T) > 0

    def _along(self, axis: int, index: int) -> tuple[slice, NDArray[np.float64]]:
        """Linear interpolation for one tile along one axis: nodes, (TILE, nodes) weights."""
        position = (np.arange(index * TILE, (index + 1) * TILE) + 0.5) / self._spacing
        position = position.clip(0, self._height.shape[axis] - 1)  # constant beyond the slide
        first, last = int(position[0]), int(np.ceil(position[-1]))
        weights = 1 - np.abs(position[:, None] - np.arange(first, last + 1))
        return slice(first, last + 1), weights.clip(0)


class Drawing:
    """The pixels of the slide, tile by tile, at any level.

    Parameters
    ----------
    outline : Outline
        Outline of the tissue.
    seed : int
        Changes the noise of the glass.
    """

    def __init__(self, outline: Outline, seed: int) -> None:
        self._outline = outline
        patch = tifffile.imread(SMALL_SLIDE, key=0)[TISSUE_PATCH]
        mirrored = np.concatenate([patch, patch[::-1]])
        noise = np.random.default_rng(seed).normal(245, 1.3, (2 * TILE, 2 * TILE, 3))
        self._tissue = {1: np.concatenate([mirrored, mirrored[:, ::-1]], axis=1)}
        self._glass = {1: noise.round().clip(0, 255).astype(np.uint8)}
        self._encoded: dict[tuple[bool, int, int], bytes] = {}

    def encoded(self, row: int, column: int, factor: int) -> bytes:
        """One tile of the level that is `factor` times smaller than level 0, as JPEG."""
        inside = self._outline.inside(row, column)
        if factor > 1 or not isinstance(inside, bool):
            return encode(self.tile(row, column, factor))
        sheet = (self._tissue if inside else self._glass)[1]
        key = inside, row % (sheet.shape[0] // TILE), column % (sheet.shape[1] // TILE)
        if key not in self._encoded:
            self._encoded[key] = encode(self.tile(row, column, 1))
        return self._encoded[key]

    def tile(self, row: int, column: int, factor: int) -> Pixels:
        """One tile of the level that is `factor` times smaller than level 0."""
        cells = [
            [self._cell(row * factor + i, column * factor + j, factor) for j in range(factor)]
            for i in range(factor)
        ]
        return np.concatenate([np.concatenate(line, axis=1) for line in cells])

    def _cell(self, row: int, column: int, factor: int) -> Pixels:
        """A level-0 tile, shrunk by `factor`."""
        inside = self._outline.inside(row, column)
        if isinstance(inside, bool):
            return self._cut(self._tissue if inside else self._glass, row, column, factor)
        tissue = self._cut(self._tissue, row, column, 1)
        glass = self._cut(self._glass, row, column, 1)
        # Channels side by side: numpy chooses along short axes ten times slower.
        drawn = np.where(inside.repeat(3, axis=1), _flat(tissue), _flat(glass))
        return shrink(drawn.reshape(tissue.shape), factor)

    @staticmethod
    def _cut(sheets: dict[int, Pixels], row: int, column: int, factor: int) -> Pixels:
        """Cut a level-0 tile, shrunk by `factor`, out of a sheet that repeats without end."""
        if factor not in sheets:
            sheets[factor] = shrink(sheets[1], factor)
        sheet, side = sheets[factor], TILE // factor
        top, left = row * side % sheet.shape[0], column * side % sheet.shape[1]
        return sheet[top : top + side, left : left + side]


def _flat(pixels: Pixels) -> Pixels:
    """Put the channels side by side: (h, w, 3) to (h, w * 3)."""
    return pixels.reshape(len(pixels), -1)


def shrink(pixels: Pixels, factor: int) -> Pixels:
    """Average blocks of `factor` x `factor` pixels: (h, w, 3) to (h / factor, w / factor, 3)."""
    if factor == 1:
        return pixels
    height, width, channels = pixels.shape
    # Rows first, then columns: four times as fast as both at once.
    rows = pixels.reshape(height // factor, factor, -1).sum(1, dtype=np.uint32)
    sums = rows.reshape(len(rows), width // factor, factor, channels).sum(2, dtype=np.uint32)
    return np.asarray((sums + factor**2 // 2) // factor**2, np.uint8)


def encode(pixels: Pixels) -> bytes:
    """Compress as scanners do: YCbCr JPEG with halved colour resolution."""
    return bytes(
        jpeg8_encode(
            np.ascontiguousarray(pixels),
            QUALITY,
            colorspace="RGB",
            outcolorspace="YCBCR",
            subsampling="420",
        )
    )


def write_big_slide(
    path: Path, shape: tuple[int, int], *, tissue: float = 0.5, step: int = STEP, seed: int = 0
) -> None:
    """Write a pyramidal Aperio-like TIFF of any size in bounded memory.

    Parameters
    ----------
    path : Path
        File to write, replacing any older one. `.svs` and `.tif` hold the same bytes.
    shape : (int, int)
        Rows and columns of level 0, at least 1 and at most `LARGEST`.
    tissue : float
        Fraction of the slide inside the tissue outline, 0 to 1.
    step : int
        Factor between one level and the next, 2 or 4.
    seed : int
        Another seed gives another outline.
    """
    drawing = Drawing(Outline(shape, tissue, seed), seed)
    factors = [1]
    while max(shape) // factors[-1] > COARSEST:
        factors.append(factors[-1] * step)
    shapes = [tuple(max(1, side // factor) for side in shape) for factor in factors]

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for index, (factor, (height, width)) in enumerate(zip(factors, shapes, strict=True)):
            _write_page(tiff, drawing, factor, (height, width), describe(shape, (height, width)))
            if index == 0:  # Aperio's second page is the thumbnail; readers count on it
                _write_thumbnail(tiff, drawing, factors[-1], shapes[-1], shape)


def _write_page(
    tiff: tifffile.TiffWriter,
    drawing: Drawing,
    factor: int,
    shape: tuple[int, int],
    description: str,
) -> None:
    """Write one level as a page of JPEG tiles."""

    def tiles() -> Iterator[bytes]:
        for row in range(-(-shape[0] // TILE)):
            for column in range(-(-shape[1] // TILE)):
                yield drawing.encoded(row, column, factor)

    tiff.write(
        tiles(),
        shape=(*shape, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        description=description,
        metadata=None,
        software=False,
    )


def _write_thumbnail(
    tiff: tifffile.TiffWriter,
    drawing: Drawing,
    factor: int,
    shape: tuple[int, int],
    full: tuple[int, int],
) -> None:
    """Write the coarsest level as one strip, as scanners do for a quick look."""
    rows, columns = (-(-side // TILE) for side in shape)
    lines = [
        np.concatenate([drawing.tile(row, column, factor) for column in range(columns)], axis=1)
        for row in range(rows)
    ]
    pixels = np.concatenate(lines)[: shape[0], : shape[1]]
    tiff.write(
        iter([encode(pixels)]),
        shape=pixels.shape,
        dtype=np.uint8,
        rowsperstrip=shape[0],
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        description=describe(full, shape),
        metadata=None,
        software=False,
    )


def describe(full: tuple[int, int], shape: tuple[int, int]) -> str:
    """Describe a page the way Aperio does; this is where readers find the pixel size."""
    size, level = f"{full[1]}x{full[0]}", f"{shape[1]}x{shape[0]}"
    scaled = "" if level == size else f" -> {level}"
    return (
        f"Aperio Image Library, imitated by make_big_slide.py\r\n"
        f"{size} [0,0 {size}] ({TILE}x{TILE}){scaled} JPEG/YCC Q={QUALITY}"
        f"|AppMag = 20|MPP = {MPP:.4f}"
    )


def main(arguments: list[str]) -> None:
    """Read the command line and write the slide."""
    parser = argparse.ArgumentParser(description="Make a big pyramidal slide from the small one.")
    parser.add_argument("out", type=Path, help="file to write, .svs or .tif")
    parser.add_argument("--size", type=parse_size, default="40000x40000", help="WIDTHxHEIGHT")
    parser.add_argument("--tissue", type=float, default=0.5, help="fraction of tissue, 0 to 1")
    parser.add_argument("--step", type=int, choices=(2, 4), default=STEP, help="between levels")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another outline")
    options = parser.parse_args(arguments)
    if not 0 <= options.tissue <= 1:
        parser.error(f"--tissue wants a fraction from 0 to 1, not {options.tissue}")
    write_big_slide(
        options.out, options.size, tissue=options.tissue, step=options.step, seed=options.seed
    )


def parse_size(text: str) -> tuple[int, int]:
    """Turn WIDTHxHEIGHT into rows and columns."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    width, height = map(int, match.groups()) if match else (0, 0)
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        message = f"expected WIDTHxHEIGHT such as 40000x30000, up to {LARGEST}, not {text}"
        raise argparse.ArgumentTypeError(message)
    return height, width


if __name__ == "__main__":
    main(sys.argv[1:])
