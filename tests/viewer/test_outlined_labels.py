"""Outlines of labels: as wide as asked, visible on any ground, and still labels to napari."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_twostage.models import LabelClass
from napari_twostage.viewer.colormaps import LABEL_RIM, class_colormap
from napari_twostage.viewer.drawn_levels import FINER, enlarged_levels
from napari_twostage.viewer.outlined_labels import OutlinedLabels, outline


@pytest.mark.parametrize("width", [1, 2, 3])
def test_an_outline_lies_inside_with_a_rim_outside(width: int) -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[4:16, 5:20] = 2
    drawn = outline(labels, width)
    inner = np.zeros(labels.shape, bool)
    inner[4 + width : 16 - width, 5 + width : 20 - width] = True
    assert np.array_equal(drawn == 2, (labels == 2) & ~inner)
    assert np.array_equal(drawn[3:17, 12], [LABEL_RIM, *drawn[4:16, 12], LABEL_RIM])
    assert (drawn == LABEL_RIM).sum() == 2 * (12 + 15)


def test_touching_classes_are_parted_and_borders_of_the_plane_are_not_outlined() -> None:
    labels = np.full((8, 8), 1, np.uint8)
    labels[:, 4:] = 2
    drawn = outline(labels, 1)
    assert np.array_equal(drawn[3], [0, 0, 0, 1, 2, 0, 0, 0])


def test_napari_draws_our_outlines_and_keeps_the_labels() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[16:48, 16:48] = 1
    colors = class_colormap((LabelClass("nucleus", "#ffb000", 1),))
    layer = OutlinedLabels(labels, colormap=colors)
    layer.contour = 3
    drawn = layer._calculate_contour(labels, np.s_[:, :])
    assert np.array_equal(drawn, outline(labels, 3))
    viewer = ViewerModel()
    viewer.add_layer(layer)
    assert layer.as_layer_data_tuple()[2] == "labels"
    assert layer.get_value((32, 32)) == 1
    assert layer.colormap.map(np.array([LABEL_RIM], np.uint8))[0][3] > 0.5


def test_enlarged_levels_are_the_level_larger() -> None:
    small = np.random.default_rng(0).integers(0, 3, (40, 50), np.uint8)
    levels = enlarged_levels(small)
    assert [level.shape for level in levels] == [(40 * f, 50 * f) for f in (8, 4, 2)]
    assert levels[0].shape[0] == 40 * FINER
    for level, factor in zip(levels, (8, 4, 2), strict=True):
        large = np.kron(small, np.ones((factor, factor), np.uint8))
        assert np.array_equal(level[:, :], large)
        assert np.array_equal(level[13:31, 7:99], large[13:31, 7:99])
