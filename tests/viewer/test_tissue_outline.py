"""Outline of the tissue, for small and large masks, near and far."""

from __future__ import annotations

import numpy as np
import pytest

from napari_twostage.geometry import Box, Grid
from napari_twostage.viewer.colormaps import Ink
from napari_twostage.viewer.tissue_outline import TissueOutline

PLANE = Grid((1200, 1600), (2.0, 2.0), (1.0, 1.0))
MASK = Grid((75, 100), (32.0, 32.0), (16.0, 16.0))
"""16 pixels of the plane to a cell."""


def disk() -> TissueOutline:
    y, x = np.indices(MASK.shape)
    return TissueOutline(np.hypot(y + 0.5 - 37, x + 0.5 - 50) < 25, MASK, PLANE)


@pytest.mark.parametrize("step", [0.25, 1, 4])
def test_a_thin_line_follows_the_edge_of_a_disk(step: float) -> None:
    box = Box(0, 0, int(1200 / step), int(1600 / step))
    drawn = disk().draw(box, step)
    line = (np.argwhere(drawn == Ink.TISSUE) + 0.5) * step - (37 * 16, 50 * 16)
    apart = np.abs(np.hypot(*line.T) - 25 * 16)
    assert apart.max() <= 16 + 3 * step
    around = 2 * np.pi * 25 * 16 / step
    assert 2.5 < len(line) / around < 6  # pixels wide, whatever the zoom
    assert len(np.unique(np.arctan2(*line.T).round(1))) == 63  # all round, 0.1 rad apart
    assert set(np.unique(drawn)) == {Ink.NOTHING, Ink.RIM, Ink.TISSUE}


@pytest.mark.parametrize("step", [0.5, 2])
def test_a_part_is_drawn_as_in_the_whole(step: float) -> None:
    outline = disk()
    whole = outline.draw(Box(0, 0, int(1200 / step), int(1600 / step)), step)
    for top, left in ((180, 260), (0, 300), (330, 90)):
        box = Box.at(top, left, 120, 200)
        np.testing.assert_array_equal(outline.draw(box, step), whole[box.slices])


def test_where_tissue_goes_beyond_the_slide_there_is_no_line() -> None:
    outline = TissueOutline(np.ones(MASK.shape, bool), MASK, PLANE)
    assert not any(np.asarray(level[:, :]).any() for level in outline.levels)


def test_the_smallest_pieces_of_a_large_slide_are_outlined() -> None:
    mask = np.zeros((1800, 2200), bool)
    mask[900:911, 1200:1211] = True
    grid = Grid(mask.shape, (27.0, 27.0), (13.5, 13.5))
    plane = Grid((1800 * 27, 2200 * 27), (1.0, 1.0), (0.5, 0.5))
    levels = TissueOutline(mask, grid, plane).levels
    far = np.asarray(levels[-1])
    found = (np.argwhere(far == Ink.TISSUE).mean(axis=0) + 0.5) * 1800 / far.shape[0]
    assert np.abs(found - [905.5, 1205.5]).max() < 5
