"""Numbers that say where objects lie and how they look, from sums over their pixels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.measure.shapes import (
    circularities,
    eccentricities,
    ellipse_axes_um,
    perimeters_um,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.measure.merge import Objects
    from napari_twostage.measure.regions import Regions

    Numbers = dict[str, NDArray[np.floating]]
    """(n,) arrays by the name of their column; see `object_columns`."""


def centres_px(objects: Regions) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Centres (y, x) of n objects, in pixels of the fine grid from its top left corner: (n,)."""
    # a pixel's centre is at its index plus one half
    return objects.row_sum / objects.pixels + 0.5, objects.column_sum / objects.pixels + 0.5


def place_numbers(objects: Regions, grid: Grid) -> Numbers:
    """Columns `PLACES` and `BOXES` of n objects on a grid."""
    (down, across), (mpp_y, mpp_x) = grid.downsample, grid.mpp
    y, x = centres_px(objects)
    return {
        "centroid_x_px": x * across,
        "centroid_y_px": y * down,
        "centroid_x_um": x * mpp_x,
        "centroid_y_um": y * mpp_y,
        "left_px": objects.left * across,
        "top_px": objects.top * down,
        "right_px": objects.right * across,
        "bottom_px": objects.bottom * down,
    }


def shape_numbers(objects: Objects, grid: Grid) -> Numbers:
    """Columns `MEASUREMENTS` of n objects on a grid, but for the one that needs outlines."""
    one = objects.regions
    area, perimeter = one.pixels * grid.pixel_area_um2, perimeters_um(objects, grid.mpp)
    major, minor = ellipse_axes_um(one, grid.mpp)
    return {
        "area_um2": area,
        "perimeter_um": perimeter,
        "eccentricity": eccentricities(major, minor),
        "circularity": circularities(area, perimeter),
        "major_axis_um": major,
        "minor_axis_um": minor,
        "refined_fraction": one.refined / one.pixels,
    }
