"""Reading a slide's tiles: ours against the decoder alone, and against other readers.

    python -m tests.benchmarks.reading [SLIDE]

Every reader reads the same boxes once, in one random order; each box is exactly one tile of the
file. Readers are opened again for each round, so that none has a tile in memory. The decoder alone
(pread, then libjpeg-turbo) is the lower bound. OpenSlide and tiffslide are timed if installed: pip
install openslide-python openslide-bin tiffslide. One thread reads; further threads that a reader
starts show in its CPU time.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from tests.benchmarks import common

from napari_twostage import Box, open_slide
from napari_twostage.geometry import Grid
from napari_twostage.slides.view import View
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Timing, time_in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.utils.timing import Seconds

    Read = Callable[[Box], NDArray[np.uint8]]

BOXES, QUICK_BOXES = 256, 50
SIDE = 8192
DECODER, OURS = "pread + libjpeg-turbo", "napari-twostage"
SAME = 3.0
"""Largest mean difference between readers, in grey values, that counts as equal pixels."""


@contextmanager
def decoder(path: Path) -> Iterator[Read]:
    """Decoder alone: bytes to pixels."""
    from imagecodecs import jpeg8_decode

    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        side, columns = page.tilewidth, -(-page.imagewidth // page.tilewidth)
        offsets, counts, tables = page.dataoffsets, page.databytecounts, page.jpegtables
        handle = tif.filehandle.fileno()

        def read(box: Box) -> NDArray[np.uint8]:
            index = box.top // side * columns + box.left // side
            data = os.pread(handle, counts[index], offsets[index])
            return jpeg8_decode(data, tables=tables, colorspace="YCBCR", outcolorspace="RGB")

        yield read


@contextmanager
def ours(path: Path) -> Iterator[Read]:
    """Reader of the pipeline."""
    with open_slide(path) as slide:
        yield View(slide, Grid(slide.level_shapes[0], (1, 1), slide.mpp)).read


@contextmanager
def tifffile_zarr(path: Path) -> Iterator[Read]:
    """Zarr array over tifffile's store."""
    import zarr

    with tifffile.imread(path, key=0, aszarr=True) as store:
        array = zarr.open(store, mode="r")
        yield lambda box: array[box.slices]


@contextmanager
def dask(path: Path) -> Iterator[Read]:
    """Dask array over the same store, computed box by box."""
    import dask.array as da

    with tifffile.imread(path, key=0, aszarr=True) as store:
        array = da.from_zarr(store)
        yield lambda box: array[box.slices].compute()


@contextmanager
def openslide(path: Path) -> Iterator[Read]:
    """OpenSlide, its RGBA reduced to RGB."""
    from openslide import OpenSlide

    with OpenSlide(path) as slide:
        yield lambda box: np.asarray(
            slide.read_region((box.left, box.top), 0, (box.width, box.height))
        )[..., :3]


@contextmanager
def tiffslide(path: Path) -> Iterator[Read]:
    """Tiffslide, returning arrays."""
    from tiffslide import TiffSlide

    with TiffSlide(path) as slide:
        yield lambda box: slide.read_region(
            (box.left, box.top), 0, (box.width, box.height), as_array=True
        )


READERS = {
    DECODER: decoder,
    OURS: ours,
    "tifffile + zarr": tifffile_zarr,
    "dask": dask,
    "OpenSlide": openslide,
    "tiffslide": tiffslide,
}
OPTIONAL = {"OpenSlide": "openslide-python", "tiffslide": "tiffslide"}
"""Optional readers, with the package that provides them."""


def main() -> None:
    """Time all readers in turn."""
    parser = common.parser(__doc__)
    parser.add_argument("slide", type=Path, nargs="?", help="TIFF of JPEG tiles (default: made)")
    options = common.parse(parser)
    slide = options.slide or common.big_slide(options.slides, SIDE, SIDE, tissue=1)
    boxes = choose_boxes(slide, QUICK_BOXES if options.quick else BOXES)
    versions = installed_versions()
    missing = [name for name, package in OPTIONAL.items() if package not in versions]
    readers = {name: opener for name, opener in READERS.items() if name not in missing}
    check_same(slide, boxes[:20], readers)

    def round_of(name: str) -> Callable[[], Seconds]:
        return lambda: read_all(readers[name], slide, boxes)

    timings = time_in_turn({name: round_of(name) for name in readers}, options.rounds)
    figure = common.draw_bars(timings, "milliseconds per box", per=len(boxes) / 1000)
    common.publish(
        tabulate(timings, len(boxes)),
        [
            f"{slide.name}: {len(boxes)} boxes of {boxes[0].height} × {boxes[0].width} pixels.",
            *(f"{name} is not installed and was left out." for name in missing),
        ],
        figure,
        options,
        **versions,
    )


def installed_versions() -> dict[str, str]:
    """Versions of the optional packages that are installed."""
    versions = {}
    for package in OPTIONAL.values():
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def choose_boxes(path: Path, count: int) -> list[Box]:
    """Whole tiles of level 0, each at most once, in random order."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        if not page.is_tiled or page.compression != tifffile.COMPRESSION.JPEG:
            raise SystemExit(f"expected a TIFF of JPEG tiles, found {path}; try an SVS file")
        side = page.tilelength, page.tilewidth
        rows, columns = page.imagelength // side[0], page.imagewidth // side[1]
    chosen = np.random.default_rng(0).permutation(rows * columns)[:count]
    return [
        Box.at(int(index // columns) * side[0], int(index % columns) * side[1], *side)
        for index in chosen
    ]


def check_same(path: Path, boxes: Sequence[Box], readers: dict[str, Callable]) -> None:
    """Exit if a reader returns other pixels than the decoder: its time would not compare."""
    with decoder(path) as read:
        expected = [read(box).astype(float) for box in boxes]
    for name, opener in readers.items():
        with opener(path) as read:
            found = [read(box) for box in boxes]
        difference = max(
            np.abs(theirs - pixels).mean() for theirs, pixels in zip(expected, found, strict=True)
        )
        if difference > SAME:
            raise SystemExit(f"{name} reads other pixels of {path.name}: {difference:.1f} apart")


def read_all(opener: Callable, path: Path, boxes: Sequence[Box]) -> Seconds:
    """Seconds to read every box once, without opening the slide."""
    with opener(path) as read:
        return timed(lambda: [read(box) for box in boxes])


def tabulate(timings: dict[str, Timing], count: int) -> Table:
    """Table of milliseconds per box, and CPU time relative to the decoder."""
    header = ("reader", "ms per box", "[fastest, slowest]", "CPU ms", "CPU / decoder")
    table = Table("reading", header)
    bound = timings[DECODER].cpu
    for name, timing in timings.items():
        figures = common.cells(timing, per=count / 1000).values()
        row = (name, *figures, f"{timing.cpu / bound:.2f}")
        table.add(dict(zip(header, row, strict=True)))
    return table


if __name__ == "__main__":
    main()
