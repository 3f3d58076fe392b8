"""One pyramid level of a TIFF file: positions of its tiles, and how they are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError, SlideError, TwoStageError, reason_of
from napari_twostage.slides.limits import DECODING_BYTES
from napari_twostage.slides.tiff_decode import JPEG2000, Decode, decoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import tifffile
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape
    from napari_twostage.slides.byte_source import PositionedFile, RemoteFile


_STRIP_BYTES = 1 << 19
"""Approximate size of the strips into which uncompressed planes are cut, whatever the file's."""
_DECODED_PER_BYTE = 5
"""Memory of a JPEG 2000 decoder for each byte that it returns."""
_ENCODED_PER_BYTE, _ENCODED_BYTES = 4, 1 << 20
"""Bytes of a compressed tile for each decoded one, and beside them: noise grows a little."""


@dataclass(frozen=True, kw_only=True)
class TiffLevel:
    """Positions of one level's tiles in the file, and how their bytes become pixels."""

    shape: Shape
    tile: Shape
    """Rows and columns of a full tile; strips are tiles as wide as the level."""
    offsets: NDArray[np.int64]
    """(planes, tile rows, tile columns) positions in the file; one plane, or one per channel
    if the file stores the channels separately."""
    counts: NDArray[np.int64]
    """Bytes of each tile; 0 if the file omits an empty tile."""
    first_index: int
    """The decoder's number of the first tile of the first plane."""
    decode: Decode
    samples: slice
    """Values to keep of each decoded pixel."""
    inverted: bool
    """Whether 0 means white."""
    background: int
    """Value of the pixels of empty tiles."""
    channels: int
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        """File position after the last byte of any tile."""
        return int((self.offsets + self.counts)[self.counts > 0].max(initial=0))

    def spans(self, cells: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Positions in the file and lengths of tiles (row, column), of all planes."""
        for row, column in cells:
            offsets, counts = self.offsets[:, row, column], self.counts[:, row, column]
            yield from zip(offsets.tolist(), counts.tolist(), strict=True)

    def read_tile(self, file: PositionedFile | RemoteFile, row: int, column: int) -> NDArray[Any]:
        """Read and decode one tile, cut to the level.

        Returns
        -------
        (h, w, channels) array, at most `tile` large.

        Raises
        ------
        ReadError
            If the tile's bytes are missing or damaged.
        """
        _, tile_rows, tile_columns = self.offsets.shape
        height = min(self.tile[0], self.shape[0] - row * self.tile[0])
        width = min(self.tile[1], self.shape[1] - column * self.tile[1])
        planes = []
        for plane in range(len(self.offsets)):
            count = int(self.counts[plane, row, column])
            if not count:
                return np.full((height, width, self.channels), self.background, self.dtype)
            index = self.first_index + (plane * tile_rows + row) * tile_columns + column
            try:
                data = _read_whole(file, int(self.offsets[plane, row, column]), count)
                pixels = self.decode(data, index)[:height, :width, self.samples]
            except TwoStageError:
                raise
            except Exception as error:  # damage raises whatever the decoder's next line raises
                raise ReadError(reason_of(error)) from error
            if pixels.shape[:2] != (height, width):
                found = " x ".join(map(str, pixels.shape[:2]))
                raise ReadError(f"{height} x {width} pixels expected, {found} found")
            planes.append(pixels)
        pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return np.invert(pixels) if self.inverted else pixels


def _read_whole(file: PositionedFile | RemoteFile, offset: int, count: int) -> bytes:
    data = file.read(offset, count)
    if len(data) != count:
        raise ReadError(f"{count} bytes expected, {len(data)} found")
    return data


def tiff_level(page: Any, *, channel: int | None, background: int) -> TiffLevel:  # noqa: ANN401
    """Describe a page of an open TIFF file.

    Everything is read now; tifffile and its shared file handle are not needed afterwards.

    Parameters
    ----------
    page : tifffile.TiffPage or tifffile.TiffFrame
        Page of a supported pixel type.
    channel : int or None
        Sample to read if pixels are not RGB; None for all.
    background : int
        Value of the pixels of empty tiles.

    Raises
    ------
    SlideError
        If the page stores its pixels in an unsupported way.
    """
    keyframe = page.keyframe
    _check_codec(keyframe)
    tile, offsets, counts, decode = (
        _contiguous_strips(keyframe, page) if _is_contiguous(keyframe) else _pieces(keyframe, page)
    )
    if min(tile) < 1:
        raise SlideError(f"states tiles of {tile[0]} x {tile[1]} pixels; write the file again")
    height, width = keyframe.imagelength, keyframe.imagewidth
    grid = (-(-height // tile[0]), -(-width // tile[1]))
    planes = keyframe.samplesperpixel if keyframe.planarconfig == 2 else 1
    samples = 1 if keyframe.planarconfig == 2 else keyframe.samplesperpixel
    if len(offsets) < planes * grid[0] * grid[1] or len(counts) != len(offsets):
        raise SlideError(
            f"lists {len(offsets)} tiles where {planes * grid[0] * grid[1]} are expected; "
            "the file is damaged: write it again"
        )
    table = (planes, *grid)
    cells = planes * grid[0] * grid[1]
    first = 0
    places = np.array(offsets[:cells], np.int64).reshape(table)
    sizes = np.array(counts[:cells], np.int64).reshape(table)
    _check_pieces(keyframe, tile, places, sizes)
    if channel is not None and planes > 1:
        first = channel * grid[0] * grid[1]
        places, sizes, planes = places[channel : channel + 1], sizes[channel : channel + 1], 1
    one_sample = channel is not None and samples > 1
    return TiffLevel(
        shape=(height, width),
        tile=tile,
        offsets=places,
        counts=np.where(places > 0, sizes, 0),
        first_index=first,
        decode=decode,
        samples=slice(channel, (channel or 0) + 1) if one_sample else slice(None),
        inverted=keyframe.photometric == 0,
        background=background,
        channels=1 if one_sample else samples * planes,
        dtype=np.dtype(keyframe.dtype.name),
    )


def _check_codec(page: tifffile.TiffPage) -> None:
    """Refuse compressions that no installed codec reads, before any pixel is read."""
    from tifffile import TIFF

    try:
        known = int(page.compression) == 1 or TIFF.DECOMPRESSORS[page.compression] is not None
        known = known and (int(page.predictor) == 1 or page.predictor in TIFF.UNPREDICTORS)
    except KeyError:
        known = False
    if not known:
        raise SlideError(
            f"uses TIFF compression {int(page.compression)} with predictor {int(page.predictor)}, "
            "which is not supported; convert it to JPEG, JPEG 2000, LZW or Deflate"
        )


def _check_pieces(
    page: tifffile.TiffPage, tile: Shape, places: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    """Refuse tiles or strips of which memory should not hold one, or at impossible places."""
    size = prod(tile) * page.samplesperpixel * np.dtype(page.dtype).itemsize
    memory = size * (_DECODED_PER_BYTE if page.compression in JPEG2000 else 1)
    if memory > DECODING_BYTES:
        raise SlideError(
            f"is compressed in pieces of {size / 2**30:.1f} GiB, each to be decoded as a whole; "
            "convert it to a tiled TIFF, with: vips tiffsave IN OUT --tile --pyramid --bigtiff"
        )
    if min(places.min(), counts.min()) < 0:
        raise SlideError("states positions of tiles below 0; the file is damaged: write it again")
    if counts.max() > _ENCODED_PER_BYTE * size + _ENCODED_BYTES:
        raise SlideError(
            f"states {counts.max():,} bytes for a tile that decoded has {size:,}; "
            "the file is damaged: write it again"
        )


def _is_contiguous(page: tifffile.TiffPage) -> bool:
    """Whether rows are contiguous in the file as in memory, whatever its strips."""
    return bool(page.is_contiguous) and not page.is_tiled


def _contiguous_strips(
    keyframe: tifffile.TiffPage, page: tifffile.TiffPage
) -> tuple[Shape, list[int], list[int], Decode]:
    """Cut an uncompressed plane into strips of our own: many files have one strip for all."""
    planes = keyframe.samplesperpixel if keyframe.planarconfig == 2 else 1
    samples = keyframe.samplesperpixel // planes
    height, width = keyframe.imagelength, keyframe.imagewidth
    dtype = np.dtype(keyframe.parent.byteorder + np.dtype(keyframe.dtype).char)
    row_bytes = width * samples * dtype.itemsize
    rows = max(1, min(height, _STRIP_BYTES // row_bytes))
    end, size = page.dataoffsets[0] + height * row_bytes * planes, keyframe.parent.filehandle.size
    if end > size:
        raise SlideError(
            f"is truncated: its tiles reach to byte {end:,}, the file has {size:,}; copy it again"
        )
    starts = np.arange(0, height, rows)
    lengths = np.minimum(rows, height - starts) * row_bytes
    plane_starts = page.dataoffsets[0] + np.arange(planes)[:, None] * height * row_bytes

    def decode(data: bytes, _: int) -> NDArray[Any]:
        pixels = np.frombuffer(data, dtype).reshape(-1, width, samples)
        return pixels.astype(dtype.newbyteorder("="), copy=False)

    offsets = (plane_starts + starts * row_bytes).ravel().tolist()
    return (rows, width), offsets, np.tile(lengths, planes).tolist(), decode


def _pieces(
    keyframe: tifffile.TiffPage, page: tifffile.TiffPage
) -> tuple[Shape, list[int], list[int], Decode]:
    """Tiles or strips as the file lists them, decoded by tifffile."""
    if keyframe.is_tiled or keyframe.jpegheader is not None:
        tile = (keyframe.tilelength, keyframe.tilewidth)
    else:
        tile = (min(keyframe.rowsperstrip, keyframe.imagelength), keyframe.imagewidth)
    return tile, list(page.dataoffsets), list(page.databytecounts), decoder(page, tile)
