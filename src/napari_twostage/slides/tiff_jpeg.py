"""Decoding of JPEG tiles of TIFF files, also of those that are padded beyond or short of a tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

_BLOCK_PX = 16
"""Pixels along the side of the largest blocks that JPEG images are made of."""


@dataclass(frozen=True, slots=True)
class JpegPage:
    """What decoding a tile needs of its page, read while the file is open for that."""

    shape: Shape
    """Rows and columns of the image."""
    tile: Shape
    """Rows and columns of a tile or strip."""
    bits: int
    colour_spaces: tuple[Any, Any]
    """Colour space of the JPEG images, and the one to decode them to, as imagecodecs has them."""
    tables: bytes | None
    """Tables that the images share, if they are not in each."""

    @classmethod
    def of(cls, page: Any, tile: Shape, tables: bytes | None) -> Self:  # noqa: ANN401
        """Read the facts of a page of tifffile."""
        from tifffile.tifffile import jpeg_decode_colorspace

        spaces = jpeg_decode_colorspace(
            page.photometric, page.planarconfig, page.extrasamples, page.is_jfif
        )
        return cls((page.imagelength, page.imagewidth), tile, page.bitspersample, spaces, tables)

    def is_padded(self, size: Shape, index: int) -> bool:
        """Whether a JPEG image is neither a tile nor what of it is on the image, but covers that.

        Some writers pad to whole blocks of JPEG beyond the tile, or short of it at the image's
        edge.

        Parameters
        ----------
        size : (int, int)
            Rows and columns of the JPEG image.
        index : int
            Number of the tile.
        """
        inside = self._inside(index)
        if size in {self.tile, inside}:
            return False
        return all(
            least <= found < whole + _BLOCK_PX
            for found, least, whole in zip(size, inside, self.tile, strict=True)
        )

    def _inside(self, index: int) -> Shape:
        """Rows and columns of a tile that lie on the image."""
        down, across = (-(-side // part) for side, part in zip(self.shape, self.tile, strict=True))
        place = index % (across * down) // across, index % across
        rows, columns = (
            min(part, side - at * part)
            for side, part, at in zip(self.shape, self.tile, place, strict=True)
        )
        return rows, columns

    def decode_padded(self, data: bytes) -> NDArray[Any]:
        """Decode an image that `is_padded` to (rows, columns, samples) of a tile.

        What it lacks is off the image, and repeats its edge.
        """
        import imagecodecs

        pixels: NDArray[Any] = imagecodecs.jpeg_decode(
            data,
            bitspersample=self.bits,
            tables=self.tables,
            colorspace=self.colour_spaces[0],
            outcolorspace=self.colour_spaces[1],
        )
        pixels = np.atleast_3d(pixels)[: self.tile[0], : self.tile[1]]
        rows, columns = (a - b for a, b in zip(self.tile, pixels.shape, strict=False))
        return np.pad(pixels, ((0, rows), (0, columns), (0, 0)), "edge")
