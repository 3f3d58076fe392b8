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

from napari_twostage.errors import ReadError, SlideError, TwoStageError, reason_of
from napari_twostage.slides.base import Slide
from napari_twostage.slides.byte_source import RemoteFile, SeekableFile, byte_source
from napari_twostage.slides.channels import choose_channel
from napari_twostage.slides.formats import tiff_name
from napari_twostage.slides.picture import WHOLE, Picture
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.tiff_level import TiffLevel, tiff_level
from napari_twostage.slides.tiff_metadata import channel_names, stated_pixel_size
from napari_twostage.slides.tiff_ome import check_ome
from napari_twostage.slides.tiff_series import check_plane, is_rgb, main_series, pyramid_levels
from napari_twostage.slides.tiff_tables import check_tables
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tifffile
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Scale, Shape
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.byte_source import PositionedFile

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
    levels : sequence of TiffLevel
        Finest first.
    mpp, mpp_source, format, picture
        As for `Slide`.
    channel : int or None
        Channel to read from a file with several.
    cache_bytes : int
        Memory for decoded tiles.
    """

    def __init__(
        self,
        path: Location,
        file: PositionedFile | RemoteFile,
        levels: Sequence[TiffLevel],
        *,
        mpp: Scale,
        mpp_source: str,
        format: str,  # noqa: A002 - as in Slide
        channel: int | None,
        picture: Picture,
        cache_bytes: int,
    ) -> None:
        super().__init__(
            name=path.name,
            level_shapes=[level.shape for level in levels],
            channels=levels[0].channels,
            dtype=levels[0].dtype,
            mpp=mpp,
            mpp_source=mpp_source,
            format=format,
            path=path,
            picture=picture,
        )
        self._tiff_levels = tuple(levels)
        self._channel = channel
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
        for level in self._tiff_levels:
            digest.update(level.offsets.tobytes())
            digest.update(level.counts.tobytes())
            sample = np.unique(np.linspace(0, level.offsets.size - 1, _SAMPLE_TILES).astype(int))
            offsets = level.offsets.ravel()[sample].tolist()
            counts = level.counts.ravel()[sample].clip(max=_SAMPLE_BYTES).tolist()
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
        try:
            return self._tiff_levels[level].read_tile(self._file, row, column)
        except ReadError as error:
            raise ReadError(
                f"{self.name}: the tile in row {row}, column {column} of level {level} "
                f"cannot be read: {error}"
            ) from error


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
            series = main_series(tif)
            check_plane(tif, series)
            index = _channel_index(tif, series, picture.channel)
            levels = [_level(tif, part, index) for part in pyramid_levels(tif, series)]
            _check_complete(file.size, levels)
            stated = stated_pixel_size(tif, series)
            kind = tiff_name(series.kind)
    except SlideError as error:
        raise type(error)(f"{path.name} {error}") from error
    except TwoStageError:
        raise
    except Exception as error:  # damage raises whatever the library's next line raises
        raise SlideError(
            f"{path.name} is damaged or not a TIFF file ({reason_of(error)}); "
            "copy or export it again"
        ) from error
    size, source = resolve_mpp(mpp, stated, path.name)
    return TiffSlide(
        path,
        file,
        levels,
        mpp=size,
        mpp_source=source,
        format=kind,
        channel=index,
        picture=picture,
        cache_bytes=cache_bytes,
    )


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


def _channel_index(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, channel: int | str | None
) -> int | None:
    """Index of the channel to read; None if there is nothing to choose."""
    page = series.keyframe
    samples = 1 if is_rgb(page) else page.samplesperpixel
    if samples > 1 and len(series.pages) > 1:
        raise SlideError(
            f"has {len(series.pages)} channels of {samples} samples each; "
            "export the channels as separate planes"
        )
    count = samples * len(series.pages)
    names = channel_names(tif, (page.imagelength, page.imagewidth), count)
    return choose_channel(channel, names)


def _level(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, channel: int | None
) -> TiffLevel:
    planes = len(series.pages)
    page = series.pages[channel or 0 if planes > 1 else 0]
    if page is None or page.parent is not tif:
        raise SlideError("is spread over several files; export it as one OME-TIFF")
    # an empty tile is glass on a bright-field slide, and dark on a fluorescence slide
    inverted = int(series.keyframe.photometric) == 0
    background = np.iinfo(series.keyframe.dtype).max if is_rgb(series.keyframe) else 0
    return tiff_level(
        page,
        channel=channel if planes == 1 else None,
        background=0 if inverted else background,
    )


def _check_complete(size: int, levels: Sequence[TiffLevel]) -> None:
    """Refuse a file that ends before its last tile."""
    for level in levels:
        # each alone first: the sum of two that are absurd has no place in 64 bits
        largest = max(int(level.offsets.max()), int(level.counts.max()))
        end = level.end if largest <= size else largest
        if end > size:
            raise SlideError(
                f"is truncated: its tiles reach to byte {end:,}, the file has {size:,}; "
                "copy it again"
            )
