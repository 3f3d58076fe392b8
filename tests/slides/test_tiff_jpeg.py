"""JPEG tiles of another size than the TIFF states: good if they cover what is on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from imagecodecs import jpeg8_decode, jpeg8_encode
from tests.slide_files import picture

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

SHAPE, TILE = (500, 470), 256


def write(path: Path, size: Any, photometric: str) -> np.ndarray:
    """Write a TIFF of JPEG tiles of any size; returns what they decode to."""
    pixels = picture(600, 600)
    colours = "RGB" if photometric == "rgb" else "YCBCR"
    expected, tiles = np.zeros((*SHAPE, 3), np.uint8), []
    for top in range(0, SHAPE[0], TILE):
        for left in range(0, SHAPE[1], TILE):
            inside = [min(TILE, side - at) for side, at in zip(SHAPE, (top, left), strict=True)]
            rows, columns = size(*inside)
            part = np.ascontiguousarray(pixels[top : top + rows, left : left + columns])
            tiles.append(bytes(jpeg8_encode(part, 95, outcolorspace=colours, subsampling="444")))
            decoded = jpeg8_decode(tiles[-1], colorspace=colours, outcolorspace="RGB")
            shown = decoded[: inside[0], : inside[1]]
            expected[top : top + len(shown), left : left + shown.shape[1]] = shown
    tifffile.imwrite(
        path, iter(tiles), shape=(*SHAPE, 3), dtype=np.uint8, tile=(TILE, TILE),
        photometric=photometric, compression="jpeg", subsampling=(1, 1), metadata=None,
        resolution=(20000, 20000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    return expected


def whole_blocks(side: int) -> int:
    return -(-side // 16) * 16


@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
@pytest.mark.parametrize(
    "size",
    [
        lambda _rows, _columns: (TILE, TILE),
        lambda rows, columns: (rows, columns),
        lambda rows, columns: (whole_blocks(rows), whole_blocks(columns)),
        lambda _rows, _columns: (TILE + 8, TILE + 8),
        lambda rows, _columns: (rows, TILE + 15),
    ],
    ids=["tile", "image", "blocks at the edge", "beyond the tile", "both"],
)
def test_tiles_that_cover_what_is_on_the_image_are_good(
    tmp_path: Path, size: Any, photometric: str
) -> None:
    expected = write(tmp_path / "a.tif", size, photometric)
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, *SHAPE)), expected)


@pytest.mark.parametrize("side", [100, 240, 272, 512])
def test_tiles_of_quite_another_size_are_damaged(tmp_path: Path, side: int) -> None:
    write(tmp_path / "a.tif", lambda _rows, _columns: (side, side), "ycbcr")
    with open_slide(tmp_path / "a.tif") as slide, pytest.raises(ReadError, match="row 0, column 0"):
        slide.read(Box(0, 0, 100, 100))
