"""One plane of one level of a TIFF file: positions of its tiles, and how they are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError, SlideError, TwoStageError, reason_of
from napari_twostage.slides.limits import DECODING_BYTES
from napari_twostage.slides.tiff_decode import JPEG2000, Decode, decoder
from napari_twostage.slides.tiff_pixels import PixelFormat, pixel_format

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
    """(planes, tile rows, tile columns) positions in the file; one plane, or one per sample that
    is read if the file stores the samples separately."""
    counts: NDArray[np.int64]
    """Bytes of each tile; 0 if the file omits an empty tile."""
    first_indices: tuple[int, ...]
    """The decoder's number of the first tile of each plane."""
    decode: Decode
    taken: tuple[int, ...] | None
    """Values to take of each decoded pixel, in this order; None for all."""
    format: PixelFormat
    """Meaning of the samples that are read."""

    @property
    def channels(self) -> int:
        """Values of each pixel."""
        return self.format.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.format.dtype

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
        if self.lacks(row, column):
            shape = (*self.extent(row, column), self.channels)
            return np.full(shape, self.format.background, self.dtype)
        planes = [self._read_plane(file, plane, row, column) for plane in range(len(self.offsets))]
        pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return self.format.shown(pixels if self.taken is None else pixels[..., self.taken])

    def lacks(self, row: int, column: int) -> bool:
        """Whether the file omits a tile."""
        return not self.counts[:, row, column].all()

    def extent(self, row: int, column: int) -> Shape:
        """Rows and columns of a tile inside the level."""
        return (
            min(self.tile[0], self.shape[0] - row * self.tile[0]),
            min(self.tile[1], self.shape[1] - column * self.tile[1]),
        )

    def _read_plane(
        self, file: PositionedFile | RemoteFile, plane: int, row: int, column: int
    ) -> NDArray[Any]:
        """Decode a tile as it is stored: (h, w, samples of the plane)."""
        height, width = self.extent(row, column)
        count = int(self.counts[plane, row, column])
        index = self.first_indices[plane] + row * self.offsets.shape[2] + column
        try:
            data = _read_whole(file, int(self.offsets[plane, row, column]), count)
            pixels = self.decode(data, index)[:height, :width]
        except TwoStageError:
            raise
        except Exception as error:  # damage raises whatever the decoder's next line raises
            raise ReadError(reason_of(error)) from error
        if pixels.shape[:2] != (height, width):
            found = " x ".join(map(str, pixels.shape[:2]))
            raise ReadError(f"{height} x {width} pixels expected, {found} found")
        return pixels


def _read_whole(file: PositionedFile | RemoteFile, offset: int, count: int) -> bytes:
    data = file.read(offset, count)
    if len(data) != count:
        raise ReadError(f"{count} bytes expected, {len(data)} found")
    return data


def tiff_level(
    page: Any,  # noqa: ANN401 - tifffile's page or frame
    *,
    samples: tuple[int, ...] | None = None,
    plane: int = 0,
) -> TiffLevel:
    """Describe a page of an open TIFF file.

    Everything is read now; tifffile and its shared file handle are not needed afterwards.

    Parameters
    ----------
    page : tifffile.TiffPage or tifffile.TiffFrame
        Page of a supported pixel type.
    samples : tuple of int, optional
        Samples to read of a page of channels, in this order; by default its colours.
    plane : int
        Number of the plane, where several follow each other in the file behind one page.

    Raises
    ------
    SlideError
        If the page stores its pixels in an unsupported way.
    """
    keyframe = page.keyframe
    _check_codec(keyframe)
    if _is_contiguous(keyframe):
        tile, offsets, counts, decode = _contiguous_strips(keyframe, page, plane)
    elif plane:
        raise SlideError("keeps several compressed planes behind one page; export them again")
    else:
        tile, offsets, counts, decode = _pieces(keyframe, page)
    if min(tile) < 1:
        raise SlideError(f"states tiles of {tile[0]} x {tile[1]} pixels; write the file again")
    shape = (keyframe.imagelength, keyframe.imagewidth)
    grid = (-(-shape[0] // tile[0]), -(-shape[1] // tile[1]))
    kept = pixel_format(keyframe, samples)
    stored_planes = keyframe.samplesperpixel if keyframe.planarconfig == 2 else 1
    places, sizes = _tables(keyframe, (stored_planes, *grid), tile, offsets, counts)
    planes = kept.samples if stored_planes > 1 else (0,)
    all_taken = stored_planes > 1 or kept.samples == tuple(range(keyframe.samplesperpixel))
    return TiffLevel(
        shape=shape,
        tile=tile,
        offsets=places[list(planes)],
        counts=np.where(places > 0, sizes, 0)[list(planes)],
        first_indices=tuple(one * grid[0] * grid[1] for one in planes),
        decode=decode,
        taken=None if all_taken else kept.samples,
        format=kept,
    )


def _tables(
    page: tifffile.TiffPage,
    table: tuple[int, int, int],
    tile: Shape,
    offsets: list[int],
    counts: list[int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions and bytes of all tiles, (planes, rows, columns) each."""
    cells = prod(table)
    if len(offsets) < cells or len(counts) != len(offsets):
        raise SlideError(
            f"lists {len(offsets)} tiles where {cells} are expected; "
            "the file is damaged: write it again"
        )
    places = np.array(offsets[:cells], np.int64).reshape(table)
    sizes = np.array(counts[:cells], np.int64).reshape(table)
    _check_pieces(page, tile, places, sizes)
    return places, sizes


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
    """Whether rows are in the file as they are in memory, whatever its strips."""
    return bool(page.is_final) and not page.is_tiled


def _contiguous_strips(
    keyframe: tifffile.TiffPage, page: tifffile.TiffPage, plane: int
) -> tuple[Shape, list[int], list[int], Decode]:
    """Cut an uncompressed plane into strips of our own: many files have one strip for all."""
    planes = keyframe.samplesperpixel if keyframe.planarconfig == 2 else 1
    samples = keyframe.samplesperpixel // planes
    height, width = keyframe.imagelength, keyframe.imagewidth
    dtype = np.dtype(keyframe.parent.byteorder + np.dtype(keyframe.dtype).char)
    row_bytes = width * samples * dtype.itemsize
    rows = max(1, min(height, _STRIP_BYTES // row_bytes))
    first = page.dataoffsets[0] + plane * height * row_bytes * planes
    end, size = first + height * row_bytes * planes, keyframe.parent.filehandle.size
    if end > size:
        raise SlideError(
            f"is truncated: its tiles reach to byte {end:,}, the file has {size:,}; copy it again"
        )
    starts = np.arange(0, height, rows)
    lengths = np.minimum(rows, height - starts) * row_bytes
    plane_starts = first + np.arange(planes)[:, None] * height * row_bytes

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
