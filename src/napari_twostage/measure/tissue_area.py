"""Area of the tissue that a result has labels of: what areas of classes are shares of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.within import covered_mm2
from napari_twostage.method.tiling import TileState
from napari_twostage.method.tissue import mask_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Polygons
    from napari_twostage.result.result import Result


def tissue_mm2(result: Result, region: Polygons = ()) -> float | None:
    """Tissue that has labels, inside `Record.measured_box`, in mm²; None before tissue detection.

    With a region, polygons of level 0, all tissue in it: see `Result.is_segmented`.

    Without the margin that is segmented around tissue, and without the parts of pixels of its mask
    that lie beyond the slide or the region. It grows with the coarse pass, at whose end it is
    `TissueRecord.area_mm2`.
    """
    if not result.tissue_known:
        return None
    if region:
        return covered_mm2(region, *result.tissue_mask)
    return float(tissue_by_tile_mm2(result)[result.states != TileState.OUTSIDE].sum())


def tissue_by_tile_mm2(result: Result) -> NDArray[np.float64]:
    """Tissue in each tile, with labels or not, in mm²: (rows, columns); see `tissue_mm2`."""
    mask, grid = result.tissue_mask
    box = result.record.measured_box
    ends = (box.top, box.bottom), (box.left, box.right)
    rows, columns = (
        np.clip(np.arange(count + 1) * result.tiles.tile_px * step, *within)
        for count, step, within in zip(
            result.tiles.shape, result.grid.downsample, ends, strict=True
        )
    )
    areas = mask_areas(mask, grid, (rows, columns))
    return np.asarray(areas * grid.pixel_area_um2 / 1e6, np.float64)
