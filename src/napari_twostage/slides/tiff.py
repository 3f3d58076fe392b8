"""Slides in TIFF files: SVS, NDPI, SCN, BIF, OME-TIFF, pyramidal and plain."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import (
    MissingPixelSizeError,
    ReadError,
    SlideError,
    TwoStageError,
    reason_of,
)
from napari_twostage.geometry import Box
from napari_twostage.slides.base import Slide
from napari_twostage.slides.byte_source import RemoteFile, SeekableFile, byte_source
from napari_twostage.slides.formats import tiff_name
from napari_twostage.slides.picture import WHOLE, Picture
from napari_twostage.slides.pixel_size import HOW_TO_STATE_MPP, resolve_mpp
from napari_twostage.slides.resample import source_box
from napari_twostage.slides.tiff_ome import check_ome
from napari_twostage.slides.tiff_picture import find_picture
from napari_twostage.slides.tiff_tables import check_tables
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tifffile
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.byte_source import PositionedFile
    from napari_twostage.slides.tiff_picture import TiffPicture
    from napari_twostage.slides.tiff_stack import LevelStack

_IGNORED_KINDS = ("mmstack", "ndtiff", "scanimage")
"""Kinds for which tifffile opens other files, or makes up tables that the file does not hold; such
a file is read by its tables."""
_SAMPLE_TILES = 32
_SAMPLE_BYTES = 1 << 16


class TiffSlide(Slide):
    """A slide in a TIFF file, its tiles decoded straight from the file's bytes.

    Parameters
    ----------
    path : Path or Url
        Location of the file.
    file : PositionedFile or RemoteFile
        Open file, closed with the slide.
    found : TiffPicture
        What is read of it.
    mpp, mpp_source
        As for `Slide`.
    cache_bytes : int
        Memory for decoded tiles.
    """

    def __init__(
        self,
        path: Location,
        file: PositionedFile | RemoteFile,
        found: TiffPicture,
        *,
        mpp: Scale,
        mpp_source: str,
        cache_bytes: int,
    ) -> None:
        super().__init__(
            name=path.name,
            level_shapes=[level.shape for level in found.levels],
            channels=found.levels[0].channels,
            dtype=found.levels[0].dtype,
            mpp=mpp,
            mpp_source=mpp_source,
            format=tiff_name(found.kind),
            path=path,
            factors=found.factors,
            picture=found.choice,
            scenes=found.scenes,
            channel_names=found.channel_names,
            channel_colours=found.channel_colours,
            focal_planes=found.focal_planes,
        )
        self.notices += found.notices
        self._tiff_levels = found.levels
        self._channel = found.channel
        self._cache = TileCache(cache_bytes)
        self._file = file

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of the file's tiles or strips."""
        return self._tiff_levels[level].tile

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._cache.clear()

    def fingerprint(self) -> str:
        """SHA-256 of the file's size, its tile tables and a fixed sample of its tiles."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        facts = (self._file.size, self._channel, self.level_shapes, self.dtype.str)
        digest.update(repr(facts).encode())
        for plane in (plane for level in self._tiff_levels for plane in level.planes):
            digest.update(plane.offsets.tobytes())
            digest.update(plane.counts.tobytes())
            sample = np.unique(np.linspace(0, plane.offsets.size - 1, _SAMPLE_TILES).astype(int))
            offsets = plane.offsets.ravel()[sample].tolist()
            counts = plane.counts.ravel()[sample].clip(max=_SAMPLE_BYTES).tolist()
            if isinstance(self._file, RemoteFile):
                self._file.fetch(zip(offsets, counts, strict=True))
            for offset, count in zip(offsets, counts, strict=True):
                digest.update(self._file.read(offset, count))
        return digest.hexdigest()

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        if isinstance(self._file, RemoteFile):
            self._fetch(self._file, box, level)
        self._cache.fill(pixels, box, level, self._tiff_levels[level].tile, self._read_tile)
        return pixels

    def _fetch(self, file: RemoteFile, box: Box, level: int) -> None:
        """Request all tiles of a box together: one by one, each would cost a round trip."""
        rows, columns = self.tile_shape(level)
        cells = box.scaled((1 / rows, 1 / columns))
        file.fetch(
            self._tiff_levels[level].spans(
                (row, column)
                for row in range(cells.top, cells.bottom)
                for column in range(cells.left, cells.right)
                if (level, row, column) not in self._cache
            )
        )

    def _read_tile(self, level: int, row: int, column: int) -> NDArray[Any]:
        stack = self._tiff_levels[level]
        if level and stack.lacks(row, column):
            finer = self._read_finer(level, row, column)
            if finer is not None:
                return finer
        try:
            return stack.read_tile(self._file, row, column)
        except ReadError as error:
            raise ReadError(
                f"{self.name}: the tile in row {row}, column {column} of level {level} "
                f"cannot be read: {error}"
            ) from error

    def _read_finer(self, level: int, row: int, column: int) -> NDArray[Any] | None:
        """Compute a tile that the file omits from the next level that has pixels there."""
        rows, columns = self.tile_shape(level)
        box = Box.at(row * rows, column * columns, rows, columns).clip(self.level_shapes[level])
        for finer in range(level - 1, -1, -1):
            step = tuple(
                whole / part
                for whole, part in zip(self.factors[level], self.factors[finer], strict=True)
            )
            source = source_box(box, (step[0], step[1])).clip(self.level_shapes[finer])
            if source.area and self._tiff_levels[finer].has_any(source):
                return self._resampled(box, finer, (step[0], step[1]))
        return None


def open_tiff(
    path: Location,
    *,
    mpp: float | Scale | None = None,
    picture: Picture = WHOLE,
    cache_bytes: int = 256 << 20,
) -> TiffSlide:
    """Open a slide of the TIFF family.

    Parameters
    ----------
    path : Path or Url
        TIFF file.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0; overrides the file's own.
    picture : Picture
        What to read of a file with several scenes, channels or planes.
    cache_bytes : int
        Memory for decoded tiles.

    Raises
    ------
    SlideError
        If the file cannot be read as a slide.
    """
    file = byte_source(path)
    try:
        check_ome(check_tables(file, ndpi=_is_ndpi(path)), path.name)
        with _silenced_tifffile(), _tiff_file(path, file) as tif:
            found = find_picture(tif, file, picture)
        _check_complete(file.size, found.levels)
    except SlideError as error:
        raise type(error)(f"{path.name} {error}") from error
    except TwoStageError:
        raise
    except Exception as error:  # damage raises whatever the library's next line raises
        raise SlideError(
            f"{path.name} is damaged or not a TIFF file ({reason_of(error)}); "
            "copy or export it again"
        ) from error
    if mpp is None and found.stated is None and found.unknown_unit:
        raise MissingPixelSizeError(
            f"{path.name} states its pixel size in {found.unknown_unit!r}, a unit of length was "
            f"expected; {HOW_TO_STATE_MPP}"
        )
    size, source = resolve_mpp(mpp, found.stated, path.name)
    return TiffSlide(path, file, found, mpp=size, mpp_source=source, cache_bytes=cache_bytes)


def _tiff_file(path: Location, file: PositionedFile | RemoteFile) -> tifffile.TiffFile:
    """Open the file with tifffile, which must not open further ones."""
    import tifffile

    handle = io.BufferedReader(SeekableFile(file)) if isinstance(file, RemoteFile) else str(path)
    known = tifffile.TIFF.FILE_FLAGS
    ignored: dict[str, Any] = {f"is_{kind}": False for kind in _IGNORED_KINDS if kind in known}
    return tifffile.TiffFile(handle, _multifile=False, **ignored)


def _is_ndpi(path: Location) -> bool:
    """Whether tifffile takes a file for one of Hamamatsu's, by the name behind all links."""
    return isinstance(path, Path) and os.path.realpath(path).lower().endswith(".ndpi")


@contextmanager
def _silenced_tifffile() -> Iterator[None]:
    """Drop what tifffile logs in this thread about files that it cannot read in full."""
    thread = threading.get_ident()

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger("tifffile")
    logger.addFilter(is_of_others)
    try:
        yield
    finally:
        logger.removeFilter(is_of_others)


def _check_complete(size: int, levels: Sequence[LevelStack]) -> None:
    """Refuse a file that ends before its last tile."""
    for level in (plane for stack in levels for plane in stack.planes):
        # each alone first: the sum of two that are absurd has no place in 64 bits
        largest = max(int(level.offsets.max()), int(level.counts.max()))
        end = level.end if largest <= size else largest
        if end > size:
            raise SlideError(
                f"is truncated: its tiles reach to byte {end:,}, the file has {size:,}; "
                "copy it again"
            )
