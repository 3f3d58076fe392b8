"""Where a grid over a slide lies in napari's world, so that layers cover each other exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid, Scale

Placement = dict[str, Any]
"""Keyword arguments of every napari layer."""


def placement(layer: Image, grid: Grid, box: Box | None = None) -> Placement:
    """Place a layer of a grid's pixels over the slide's layer, whoever made that.

    Parameters
    ----------
    layer : napari image layer
        Shows the slide; two axes besides colours, its data coordinates are level-0 pixels.
    grid : Grid
        Over the slide's level 0.
    box : Box, optional
        The part of the grid that the layer holds; all of it by default.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine and units. Corners of both layers meet: napari
        counts from the middle of the first pixel, which lies elsewhere where pixels are larger.
    """
    from napari.utils.transforms import CompositeAffine

    first = first_middle(grid)
    if box is not None:
        first = first + np.array([box.top, box.left]) * grid.downsample
    own = CompositeAffine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    return {
        "scale": np.asarray(layer.scale) * grid.downsample,
        "translate": np.asarray(layer.translate) + own.linear_matrix @ first_middle(grid, box),
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine.affine_matrix,
        "units": layer.units,
    }


def place_in_um(grid: Grid, mpp: Scale, units: Sequence[str] = ("um", "um")) -> Placement:
    """Place a grid over a slide whose layer has nothing but a pixel size: as our reader does.

    Parameters
    ----------
    grid : Grid
        Over the slide's level 0.
    mpp : (float, float)
        Units per pixel (y, x) of level 0.
    units : sequence of str
        One a axis.
    """
    scale = np.asarray(mpp)
    return {
        "scale": scale * grid.downsample,
        "translate": scale * first_middle(grid),
        "units": tuple(units),
    }


def first_middle(grid: Grid, box: Box | None = None) -> NDArray[np.float64]:
    """The middle of the first pixel (y, x), counted from the middle of level 0's first."""
    first = (0, 0) if box is None else (box.top, box.left)
    return (np.asarray(first) + 0.5) * grid.downsample - 0.5
