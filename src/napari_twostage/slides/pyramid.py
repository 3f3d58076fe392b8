"""Coarse levels for a slide without them: computed once, in bounded memory, kept in a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError, SlideError, TwoStageError, reason_of
from napari_twostage.geometry import Box
from napari_twostage.io.durable import sync_tree
from napari_twostage.io.paths import locate, remove_tree, write_whole
from napari_twostage.io.regular import read_regular
from napari_twostage.io.zarr_store import METADATA_BYTES, store_at
from napari_twostage.slides.base import Slide, reflected
from napari_twostage.slides.pyramid_check import MARKER, checksums
from napari_twostage.slides.resample import halved
from napari_twostage.slides.view import white

if TYPE_CHECKING:
    from collections.abc import Iterator

    import zarr
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape
    from napari_twostage.io.paths import Location

    Damage = list[tuple[Box, str]]

COARSE_ENOUGH_PX = 1024
"""Longest side of the coarsest level that is added."""

_BLOCK_PX = 2048
"""Side of the blocks that are read: about 70 MB of working memory for 8-bit RGB."""
_CHUNK_PX = 512
_CONTENTS = "napari_twostage_contents"
"""Attribute of the group that marks a folder as one that this module may delete."""


def build_pyramid(slide: Slide, folder: str | Location) -> Iterator[float]:
    """Add coarser levels to a slide, in a folder beside it.

    The slide's smallest level is read once, block by block, and each block is averaged to all
    new levels at once: a pixel of new level k is the mean of 2**k x 2**k pixels, rounded once.
    Beyond its edges the slide is reflected, as in `Slide.read_at`.

    Nothing runs until the first step is asked for. A pyramid that is unfinished, or was made from
    another slide, is removed and built again; a finished one is kept as it is.

    Parameters
    ----------
    slide : Slide
        Slide, perhaps with some levels; none is added if the longest side of its smallest
        level is at most `COARSE_ENOUGH_PX`.
    folder : str, Path or Url
        Folder that this function makes; everything in it belongs to the pyramid.

    Yields
    ------
    float
        Fraction done, above 0; 1 once the pyramid can be used.

    Raises
    ------
    SlideError
        If the folder holds anything but a pyramid.

    Notes
    -----
    Damaged file tiles do not stop the build: they are left blank and recorded, so that reading
    pixels that depend on them raises ReadError.
    """
    folder = locate(folder)
    if _finished(slide, folder) is not None:
        yield 1.0
        return
    arrays = _start_over(slide, folder)
    damage: Damage = []
    blocks = list(_blocks(slide, 2 ** len(arrays))) if arrays else []
    for done, block in enumerate(blocks, start=1):
        pixels = _read_block(slide, block, damage)
        for step, (array, level) in enumerate(zip(arrays, halved(pixels), strict=False), start=1):
            target = block.scaled(2.0**-step).clip((array.shape[0], array.shape[1]))
            array[target.slices] = level[: target.height, : target.width]
        if done < len(blocks):
            yield done / len(blocks)
    _write_marker(slide, folder, damage)
    yield 1.0


def with_pyramid(slide: Slide, folder: str | Location) -> Slide:
    """Join a slide and the levels that `build_pyramid` made from it.

    Parameters
    ----------
    slide : Slide
        Slide, still read for its own levels; closed with the returned one.
    folder : str, Path or Url
        Folder given to `build_pyramid`.

    Returns
    -------
    Slide
        Slide with the new levels after its own.

    Raises
    ------
    SlideError
        If the folder holds no finished pyramid of this slide.
    """
    folder = locate(folder)
    found = _finished(slide, folder)
    if found is None:
        raise SlideError(
            f"{folder} holds no finished pyramid of {slide.name}; "
            "build_pyramid makes one, and goes over an interrupted one again"
        )
    return PyramidSlide(slide, *found)


class PyramidSlide(Slide):
    """A slide with levels added from a folder; made by `with_pyramid`.

    Parameters
    ----------
    slide : Slide
        Slide that the levels were made from.
    arrays : list of (h, w, C) zarr.Array
        Added levels, finest first.
    damage : list of (Box, str)
        Unreadable parts of the slide's smallest level, each with the reason.
    """

    def __init__(self, slide: Slide, arrays: list[zarr.Array[Any]], damage: Damage) -> None:
        self.base = slide
        """The slide without the added levels."""
        self._arrays = arrays
        self._damage = damage
        base_y, base_x = slide.factors[-1]
        super().__init__(
            name=slide.name,
            level_shapes=[*slide.level_shapes, *added_shapes(slide)],
            channels=slide.channels,
            dtype=slide.dtype,
            mpp=slide.mpp,
            mpp_source=slide.mpp_source,
            format=slide.format,
            path=slide.path,
            factors=[
                *slide.factors,
                *((base_y * 2.0**step, base_x * 2.0**step) for step in range(1, len(arrays) + 1)),
            ],
            bounds=slide.bounds,
            picture=slide.picture,
            scenes=slide.scenes,
            channel_names=slide.channel_names,
        )
        self.notices = slide.notices

    def __reduce__(self) -> tuple[Any, ...]:
        return PyramidSlide, (self.base, self._arrays, self._damage)

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of a tile of the file, or of a chunk of an added level."""
        if level < len(self.base.level_shapes):
            return self.base.tile_shape(level)
        return _CHUNK_PX, _CHUNK_PX

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        step = level - len(self.base.level_shapes) + 1
        if step <= 0:
            return self.base.read(box, level)
        # the coarsest level is shown as a whole: blank places are better there than an error
        if step < len(self._arrays):
            source = box.scaled(2.0**step)
            for damaged, reason in self._damage:
                if damaged.intersect(source).area:
                    raise ReadError(reason)
        try:
            return np.asarray(self._arrays[step - 1][box.slices], self.dtype)
        except TwoStageError:
            raise
        except Exception as error:  # zarr's and its codecs' errors share no base class
            raise ReadError(
                f"added level {step} of {self.name} is damaged ({reason_of(error)}); remove the "
                "folder pyramid of the result, which is then made again"
            ) from error

    def fingerprint(self) -> str:
        """Fingerprint of the slide itself, which determines the added levels."""
        return self.base.fingerprint()

    def close(self) -> None:
        """Close the slide."""
        self.base.close()


def added_shapes(slide: Slide) -> list[Shape]:
    """Rows and columns of each level that `build_pyramid` adds to a slide, finest first."""
    height, width = slide.level_shapes[-1]
    shapes = []
    step = 2
    while max(height, width) > COARSE_ENOUGH_PX * step // 2:
        shapes.append((math.ceil(height / step), math.ceil(width / step)))
        step *= 2
    return shapes


def _blocks(slide: Slide, unit: int) -> Iterator[Box]:
    """Cut the smallest level into blocks whose sides are multiples of `unit`, row by row.

    The last ones reach beyond the edges if the level's sides are no multiples.
    """
    height, width = (_round_up(side, unit) for side in slide.level_shapes[-1])
    # a slide stored in strips is read in flat blocks as wide as the strips: none is read twice
    tile_width = slide.tile_shape(len(slide.level_shapes) - 1)[1]
    columns = _round_up(max(_BLOCK_PX, tile_width), unit)
    rows = max(unit, _BLOCK_PX**2 // columns // unit * unit)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield Box.at(top, left, rows, columns).clip((height, width))


def _round_up(value: int, unit: int) -> int:
    """Smallest multiple of `unit` that is at least `value`."""
    return -(-value // unit) * unit


def _read_block(slide: Slide, block: Box, damage: Damage) -> NDArray[np.generic]:
    """Read a block of the smallest level as `Slide.read` does, but leave damaged tiles blank."""
    level = len(slide.level_shapes) - 1
    try:
        return slide.read(block, level)
    except ReadError:
        pass  # the tiles are tried one by one below
    height, width = slide.level_shapes[level]
    rows = reflected(block.top, block.bottom, height)
    columns = reflected(block.left, block.right, width)
    inside = Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
    pixels: NDArray[Any] = np.zeros((*inside.shape, slide.channels), slide.dtype)
    if slide.channels > 1:  # glass is white, the background of fluorescence is black
        pixels[...] = white(slide.dtype)
    for tile in inside.blocks(slide.tile_shape(level)):
        at = tile.shift(-inside.top, -inside.left)
        try:
            pixels[at.slices] = slide.read(tile, level)
        except ReadError as error:
            damage.append((tile, str(error)))
    return pixels[np.ix_(rows - inside.top, columns - inside.left)]


def _start_over(slide: Slide, folder: Location) -> list[zarr.Array[Any]]:
    """Make empty arrays for the new levels, in place of any older pyramid."""
    import zarr

    if folder.exists():
        _refuse_foreign(folder)
        remove_tree(folder)
    group = zarr.create_group(store_at(folder), attributes={_CONTENTS: "pyramid"})
    return [
        group.create_array(
            str(step),
            shape=(*shape, slide.channels),
            chunks=(_CHUNK_PX, _CHUNK_PX, slide.channels),
            dtype=slide.dtype,
        )
        for step, shape in enumerate(added_shapes(slide), start=1)
    ]


def _refuse_foreign(folder: Location) -> None:
    """Raise SlideError unless the folder is empty or was made by `build_pyramid`."""
    import zarr

    names = {one.name for one in folder.iterdir()}
    try:
        ours = not names or _CONTENTS in zarr.open_group(store_at(folder), mode="r").attrs
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # its mark is damaged
        ours = all(name.isdecimal() or name in {"zarr.json", MARKER} for name in names)
    if not ours:
        raise SlideError(
            f"{folder} holds other files, expected a pyramid or nothing; pass another folder"
        )


def _finished(slide: Slide, folder: Location) -> tuple[list[zarr.Array[Any]], Damage] | None:
    """Arrays and damage of a finished pyramid of this slide; None if there is none to be read."""
    damage = _read_marker(slide, folder)
    if damage is None:
        return None
    from napari_twostage.slides.zarr_arrays import open_node, within_limits

    arrays = []
    for step, shape in enumerate(added_shapes(slide), start=1):
        place = folder / str(step)
        try:
            array: Any = open_node(place)
            if array.shape != (*shape, slide.channels) or array.dtype != slide.dtype:
                return None
            arrays.append(within_limits(array, (0, 1), f"{folder.name}/{step}", least_px=1))
        except (SlideError, AttributeError):  # damaged, or a group: it can be made again
            return None
    return arrays, damage


def _identity(slide: Slide) -> list[Any]:
    """JSON-able facts that a pyramid and its slide have in common."""
    shapes = [list(shape) for shape in slide.level_shapes]
    return [slide.fingerprint(), shapes, slide.channels, str(slide.dtype)]


def _write_marker(slide: Slide, folder: Location, damage: Damage) -> None:
    """Mark the pyramid as finished, atomically."""
    record = {
        "slide": _identity(slide),
        "damage": [[*box.as_list(), why] for box, why in damage],
        "files": checksums(folder),
    }
    if isinstance(folder, Path):
        sync_tree(folder)  # the mark speaks of pixels that are on the disk
    write_whole(folder / MARKER, json.dumps(record).encode())


def _read_marker(slide: Slide, folder: Location) -> Damage | None:
    """Damage of a finished pyramid of this slide; None if there is none, or it is unreadable."""
    try:
        record = json.loads(_marker_bytes(folder / MARKER))
        if record["slide"] != _identity(slide):
            return None
        return [(Box(*map(int, edges)), str(why)) for *edges, why in record["damage"]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _marker_bytes(marker: Location) -> bytes:
    if isinstance(marker, Path):
        return read_regular(marker, 0, None, METADATA_BYTES)
    return marker.read_bytes()
