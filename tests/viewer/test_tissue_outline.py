"""Outline of the tissue, for small and large masks."""

from __future__ import annotations

import numpy as np
import pytest

from napari_twostage.geometry import Grid
from napari_twostage.viewer.tissue_outline import OUTLINE_PX, draw_outline


@pytest.mark.parametrize("shape", [(60, 80), (700, 400), (1000, 990), (1533, 2190)])
def test_the_line_follows_the_edge_of_a_disk(shape) -> None:
    grid = Grid(shape, (16.0, 16.0), (8.0, 8.0))
    y, x = np.indices(shape)
    middle, radius = np.array(shape) / 2, min(shape) / 3
    line, place = draw_outline(np.hypot(y + 0.5 - middle[0], x + 0.5 - middle[1]) < radius, grid)
    assert OUTLINE_PX / 2 < max(line.shape) <= OUTLINE_PX
    on_line = (np.argwhere(line > 128) + 0.5) * place.downsample / grid.downsample
    apart = np.abs(np.hypot(*(on_line - middle).T) - radius)
    assert apart.max() <= max(shape) / 200 + 1
    turns = np.unique(np.arctan2(*(on_line - middle).T).round(1))
    assert len(turns) == 63  # all round, 0.1 rad apart
    assert len(np.unique(line)) > 8  # soft edges


def test_where_tissue_goes_beyond_the_slide_there_is_no_line() -> None:
    line, _ = draw_outline(np.ones((50, 60), bool), Grid((50, 60), (16.0, 16.0), (8.0, 8.0)))
    assert not line.any()


def test_the_smallest_pieces_of_a_large_slide_are_outlined() -> None:
    mask = np.zeros((1800, 2200), bool)
    mask[900:911, 1200:1211] = True
    line, place = draw_outline(mask, Grid(mask.shape, (27.0, 27.0), (13.5, 13.5)))
    found = (np.argwhere(line > 60).mean(axis=0) + 0.5) * place.downsample / 27.0
    assert np.abs(found - [905.5, 1205.5]).max() < 3
