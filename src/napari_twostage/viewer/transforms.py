"""Layer transforms that align grids over a slide with the slide's layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid, Scale

LayerTransform = dict[str, Any]
"""Keyword arguments of a napari layer: scale, translate, units and the like."""


def layer_transform(layer: Image, grid: Grid, box: Box | None = None) -> LayerTransform:
    """Transform that aligns a layer of a grid's pixels with the slide's layer.

    Parameters
    ----------
    layer : napari image layer
        Layer of the slide, from any reader; its data coordinates are level-0 pixels, along the
        last two axes in a stack of planes.
    grid : Grid
        Grid over the slide's level 0.
    box : Box, optional
        Part of the grid that the layer holds; all of it by default.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine and units. The outer corners of both layers
        coincide: napari's origin is the centre of the first pixel, which depends on its size.
    """
    from napari.utils.transforms import CompositeAffine

    scale, translate = np.asarray(layer.scale)[-2:], np.asarray(layer.translate)[-2:]
    rotate, shear = np.asarray(layer.rotate)[-2:, -2:], np.asarray(layer.shear)[-1:]
    own = CompositeAffine(scale=scale, translate=translate, rotate=rotate, shear=shear)
    offset = own.linear_matrix @ first_pixel_centre(grid, box)
    return {
        "scale": scale * grid.downsample,
        "translate": translate + offset,
        "rotate": rotate,
        "shear": shear,
        "affine": np.asarray(layer.affine.affine_matrix)[-3:, -3:],
        "units": layer.units[-2:],
    }


def transform_from_mpp(
    grid: Grid, mpp: Scale, units: Sequence[str] = ("um", "um")
) -> LayerTransform:
    """Transform of a grid over a slide's layer that has only a pixel size, as from our reader.

    Parameters
    ----------
    grid : Grid
        Grid over the slide's level 0.
    mpp : (float, float)
        Units per pixel (y, x) of level 0.
    units : sequence of str
        Unit of each axis.
    """
    scale = np.asarray(mpp)
    return {
        "scale": scale * grid.downsample,
        "translate": scale * first_pixel_centre(grid),
        "units": tuple(units),
    }


def first_pixel_centre(grid: Grid, box: Box | None = None) -> NDArray[np.float64]:
    """Centre (y, x) of a grid's or box's first pixel, relative to that of level 0."""
    first = (0, 0) if box is None else (box.top, box.left)
    return (np.asarray(first) + 0.5) * grid.downsample - 0.5
