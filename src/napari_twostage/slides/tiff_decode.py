"""Decoding of the tiles and strips of TIFF files, none of which may unfold beyond its size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_twostage.errors import ReadError
from napari_twostage.slides.image_headers import read_header
from napari_twostage.slides.limits import DECODING_BYTES
from napari_twostage.slides.tiff_jpeg import JpegPage

if TYPE_CHECKING:
    from napari_twostage.geometry import Shape

Decode = Callable[[bytes, int], NDArray[Any]]
"""Makes pixels from a tile's bytes and its number."""

JPEG2000 = {33003, 33004, 33005, 34712}
_JPEG = {6, 7, 34892, 33007}
_APERIO_JPEG2000_YCBCR = 33003
_END_MARK = b"\xff\xd9"
"""End of every JPEG and JPEG 2000 stream."""
_SCAN_MARK = b"\xff\xda"
"""Begin of the coded data of a JPEG stream; JPEG 2000 has none."""
_PROMISED_PX = 1 << 22
"""Pixels that the header of any tile may promise; above, at most `_PROMISED_TILES` tiles."""
_PROMISED_TILES = 2


def decoder(page: Any, tile: Shape) -> Decode:  # noqa: ANN401 - tifffile's page or frame
    """Choose the decoder of a page's tiles.

    Parameters
    ----------
    page : tifffile.TiffPage or tifffile.TiffFrame
        Page of a supported compression.
    tile : (int, int)
        Rows and columns of its tiles or strips.
    """
    from tifffile import TIFF

    keyframe = page.keyframe
    if keyframe.compression == _APERIO_JPEG2000_YCBCR:
        return partial(_decode_aperio_ycbcr, tile=tile)
    if keyframe.compression in JPEG2000:
        return partial(_decode_jpeg2000, tile=tile, page_decode=keyframe.decode)
    if keyframe.compression in _JPEG:
        return partial(
            _decode_jpeg,
            page=JpegPage.of(keyframe, tile, page.jpegtables),
            page_decode=keyframe.decode,
            header=keyframe.jpegheader,
        )
    if keyframe.compression in TIFF.IMAGE_COMPRESSIONS:
        return partial(_decode_image, tile=tile, page_decode=keyframe.decode)
    return partial(_decode_any, page_decode=keyframe.decode)


def _check_promise(data: bytes, tile: Shape) -> Shape:
    """Rows and columns of an image in a tile; refuses far more pixels than the tile has."""
    header = read_header(data)
    if header is None:
        raise ReadError("its image has no whole header")
    pixels = header.height * header.width
    if (
        pixels > max(_PROMISED_PX, _PROMISED_TILES * prod(tile))
        or pixels * header.bytes_per_pixel > DECODING_BYTES
    ):
        raise ReadError(
            f"its image promises {header.height} x {header.width} pixels, "
            f"{tile[0]} x {tile[1]} were expected"
        )
    return header.height, header.width


def _check_end(data: bytes) -> None:
    """Refuse a truncated stream: decoders fill the missing part with grey and do not fail."""
    # what follows the end is padding; in coded data, no byte with this value follows 0xFF
    if data.rfind(_END_MARK) <= data.rfind(_SCAN_MARK):
        raise ReadError("its JPEG stream ends early")


def _decode_any(data: bytes, index: int, *, page_decode: Callable[..., Any]) -> NDArray[Any]:
    (pixels,) = page_decode(data, index)[0]
    return np.asarray(pixels)


def _decode_image(
    data: bytes, index: int, *, tile: Shape, page_decode: Callable[..., Any]
) -> NDArray[Any]:
    _check_promise(data, tile)
    return _decode_any(data, index, page_decode=page_decode)


def _decode_jpeg2000(
    data: bytes, index: int, *, tile: Shape, page_decode: Callable[..., Any]
) -> NDArray[Any]:
    _check_end(data)
    return _decode_image(data, index, tile=tile, page_decode=page_decode)


def _decode_jpeg(
    data: bytes,
    index: int,
    *,
    page: JpegPage,
    page_decode: Callable[..., Any],
    header: bytes | None,
) -> NDArray[Any]:
    if header is None:  # NDPI, which has one, cuts streams at restart markers, without end marks
        _check_end(data)
    size = _check_promise(header or data, page.tile)
    if header is None and page.is_padded(size, index):
        return page.decode_padded(data)
    (pixels,) = page_decode(data, index, jpegtables=page.tables, jpegheader=header)[0]
    return np.asarray(pixels)


def _decode_aperio_ycbcr(data: bytes, _: int, *, tile: Shape) -> NDArray[Any]:
    """Decode JPEG 2000 that stores YCbCr without saying so."""
    import imagecodecs

    _check_end(data)
    _check_promise(data, tile)
    pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(data)
    # bytes 46 and 47 of a raw codestream are the subsampling of the second component; if it is
    # subsampled, the decoder has already converted the colours
    if data[:4] != b"\xff\x4f\xff\x51" or data[46] != 1 or data[47] != 1:
        return pixels
    luma = pixels[..., :1].astype(np.float32)
    blue, red = (pixels[..., part].astype(np.float32) - 128 for part in (1, 2))
    shift = np.stack([1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue], axis=-1)
    colours: NDArray[np.uint8] = np.clip(np.rint(luma + shift), 0, 255).astype(np.uint8)
    return colours
