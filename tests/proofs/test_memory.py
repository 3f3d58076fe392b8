"""No read grows with the slide: what is held at once is bounded by configuration."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from tests.proofs.helpers import MPP, tissue_pixels

from napari_twostage import Box, TileState, open_slide, segment
from napari_twostage.slides.arrays import ArraySlide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.model import Model

CHUNK = 2048
OVERVIEW_STRIP_PX = 1 << 24
"""Looking for tissue reduces a level strip by strip, so many pixels at a time."""
COARSEST_PX = 1 << 24
"""Nothing larger is taken for a coarsest level that may be read whole."""
TISSUE_PX = 700


def sheet(shape: tuple[int, int], factor: int) -> da.Array:
    """Generate a level lazily: glass, with a piece of real tissue in the middle."""
    height, width = (side // factor for side in shape)
    tissue = tissue_pixels(TISSUE_PX, TISSUE_PX)[::factor, ::factor]
    place = Box.at(shape[0] // 2 // factor, shape[1] // 2 // factor, *tissue.shape[:2])

    def draw(block_info: dict[Any, Any]) -> np.ndarray:
        (top, bottom), (left, right), _ = block_info[None]["array-location"]
        box = Box(top, left, bottom, right)
        pixels = np.full((*box.shape, 3), 245, np.uint8)
        part = place.intersect(box)
        if part.area:
            source = part.shift(-place.top, -place.left).slices
            pixels[part.shift(-top, -left).slices] = tissue[source]
        return pixels

    chunks = da.core.normalize_chunks((CHUNK, CHUNK, 3), (height, width, 3))
    return da.map_blocks(draw, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))


class Reads:
    """The largest read of each level, in pixels, and how often each was read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.largest: Counter[int] = Counter()
        read = ArraySlide._read_inside

        def record(slide: ArraySlide, box: Box, level: int) -> np.ndarray:
            self.largest[level] = max(self.largest[level], box.area)
            return read(slide, box, level)

        monkeypatch.setattr(ArraySlide, "_read_inside", record)


def bound(model: Model, factor: float) -> float:
    """Pixels of the larger of both stages' windows, on a level that is so much finer than it."""
    card = model.card
    coarse = card.coarse_window_px * card.ratio
    return (max(coarse, card.tile_px + 2 * card.halo_px) * factor) ** 2


@pytest.mark.parametrize("shape", [(30_011, 40_009), (90_007, 120_011)], ids=str)
def test_no_read_grows_with_a_slide_that_has_levels(
    shape: tuple[int, int], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = [1, 4, 16, 64]
    slide = open_slide([sheet(shape, factor) for factor in factors], mpp=MPP)
    reads = Reads(monkeypatch)
    seg = segment(slide, model, tmp_path / "out.zarr", fraction=0.2)
    assert (seg.states == TileState.REFINED).any()

    assert reads.largest[0] <= bound(model, 1)
    coarsest = len(factors) - 1
    assert np.prod(slide.level_shapes[coarsest]) <= COARSEST_PX
    for level in range(1, coarsest):
        assert reads.largest[level] <= 1.05 * OVERVIEW_STRIP_PX


def test_no_read_grows_with_a_slide_that_has_none(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = 6_007, 9_011
    slide = open_slide(sheet(shape, 1), mpp=MPP)
    reads = Reads(monkeypatch)
    seg = segment(slide, model, tmp_path / "out.zarr", fraction=0.2)
    assert (seg.states == TileState.REFINED).any()
    assert set(reads.largest) == {0}
    assert reads.largest[0] <= max(bound(model, 1), 1.05 * CHUNK**2)
