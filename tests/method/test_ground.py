"""A dark field is told from a bright one, and signal that a search for tissue would lose."""

from __future__ import annotations

import numpy as np
from tests.fakes import noise

import napari_twostage as ts
from napari_twostage.method.ground import find_ground


def test_a_bright_field_loses_nothing() -> None:
    pixels = np.full((300, 300, 3), 240, np.uint8)
    pixels[50:150, 50:150] = noise(100, 100) // 2
    ground = find_ground(ts.open_slide(pixels, mpp=4.0))
    assert ground.bright_field
    assert ground.signal_outside == 0


def test_dim_cells_of_a_dark_field_lie_outside_of_the_tissue_found() -> None:
    pixels = np.zeros((600, 600), np.uint8)
    pixels[100:200, 100:200] = 200
    assert find_ground(ts.open_slide(pixels, mpp=4.0)).signal_outside < 0.01
    pixels[400:450, 400:450] = 7  # a quarter of the bright area
    ground = find_ground(ts.open_slide(pixels, mpp=4.0))
    assert not ground.bright_field
    assert 0.15 < ground.signal_outside < 0.3
    assert find_ground(ts.open_slide(np.zeros((90, 90), np.uint8), mpp=4.0)).signal_outside == 0
