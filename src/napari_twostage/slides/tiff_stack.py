"""One level of the picture that is read of a TIFF file: colours side by side, planes merged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.slides.planes import maximum_over
from napari_twostage.slides.tiff_level import TiffLevel, tiff_level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Shape
    from napari_twostage.slides.byte_source import PositionedFile, RemoteFile
    from napari_twostage.slides.tiff_planes import Selection, Stack


@dataclass(frozen=True, slots=True)
class LevelStack:
    """Planes of one level, cut into tiles alike."""

    parts: tuple[tuple[TiffLevel, ...], ...]
    """Parts whose channels lie side by side; of each, the planes of which the maximum is taken."""

    @property
    def planes(self) -> list[TiffLevel]:
        """Planes of all parts."""
        return [plane for part in self.parts for plane in part]

    @property
    def shape(self) -> Shape:
        """Rows and columns."""
        return self.parts[0][0].shape

    @property
    def tile(self) -> Shape:
        """Rows and columns of a full tile."""
        return self.parts[0][0].tile

    @property
    def channels(self) -> int:
        """Values of each pixel."""
        return sum(part[0].channels for part in self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.parts[0][0].dtype

    @property
    def background(self) -> int:
        """Value of the pixels of tiles that the file omits: grey planes may be colours here."""
        plane = self.parts[0][0]
        white = len(self.parts) == 3 and self.dtype != np.float32
        return int(np.iinfo(self.dtype).max) if white else plane.format.background

    def cropped(self, shape: Shape) -> LevelStack:
        """The same level without the rows and columns beyond `shape`."""
        return LevelStack(
            tuple(tuple(replace(plane, shape=shape) for plane in part) for part in self.parts)
        )

    def spans(self, cells: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Positions in the file and lengths of tiles (row, column), of all planes."""
        cells = list(cells)
        for plane in self.planes:
            yield from plane.spans(cells)

    def lacks(self, row: int, column: int) -> bool:
        """Whether the file omits a tile in all planes."""
        return all(plane.lacks(row, column) for plane in self.planes)

    def has_any(self, box: Box) -> bool:
        """Whether the file has a tile that meets a box of the level."""
        return bool(self._present(box).any())

    def has_all(self, box: Box) -> bool:
        """Whether the file has every tile that meets a box of the level."""
        return bool(self._present(box).all())

    def _present(self, box: Box) -> NDArray[np.bool_]:
        """Whether the file has each tile that meets a box: (planes, rows, columns)."""
        rows, columns = self.tile
        cells = box.scaled((1 / rows, 1 / columns)).slices
        return np.stack([plane.counts[:, *cells].all(axis=0) for plane in self.planes])

    def read_tile(self, file: PositionedFile | RemoteFile, row: int, column: int) -> NDArray[Any]:
        """Read and decode one tile, cut to the level: (h, w, `channels`).

        Raises
        ------
        ReadError
            If the tile's bytes are missing or damaged.
        """
        if self.lacks(row, column):
            shape = (*self.planes[0].extent(row, column), self.channels)
            return np.full(shape, self.background, self.dtype)
        parts = [_read_merged(part, file, row, column) for part in self.parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _read_merged(
    planes: tuple[TiffLevel, ...], file: PositionedFile | RemoteFile, row: int, column: int
) -> NDArray[Any]:
    """Maximum over a tile of the planes that have it; of one that lacks it, there is no pixel."""
    there = [plane for plane in planes if not plane.lacks(row, column)] or planes[:1]
    return maximum_over(range(len(there)), lambda n: there[n].read_tile(file, row, column))


def level_stack(stack: Stack, selection: Selection) -> LevelStack:
    """Describe the tiles of the planes that are read of one level.

    Parameters
    ----------
    stack : Stack
        Planes of the level.
    selection : Selection
        Planes that are read.

    Raises
    ------
    SlideError
        If a plane is missing, or stores its pixels in an unsupported way.
    """
    file = stack.keyframe.parent
    parts = []
    for part in selection.parts:
        levels = []
        for page, plane in selection.planes(stack, part):
            if page.parent is not file:
                raise SlideError("is spread over several files; export it as one OME-TIFF")
            levels.append(tiff_level(page, samples=part.samples, plane=plane))
        parts.append(tuple(levels))
    merged = LevelStack(tuple(parts))
    first = merged.planes[0]
    if any(
        (one.shape, one.tile, one.dtype) != (first.shape, first.tile, first.dtype)
        for one in merged.planes
    ):
        raise SlideError("has channels or planes of different sizes or types; export one")
    return merged
