"""Density of objects: how many there are per square millimetre, on a grid of small cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError, brief
from napari_twostage.measure.objects import ObjectScan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

CELL_UM = 64.0
"""Side of a cell, in micrometres: about ten nuclei in dense tissue."""
LEAST_CELL_UM, LARGEST_CELL_UM = 8.0, 4096.0


@dataclass(frozen=True, slots=True)
class DensityMap:
    """Objects of all classes per square millimetre of each cell."""

    values: NDArray[np.float32]
    """(rows, columns); a cell that reaches beyond the slide counts with its part inside."""
    grid: Grid
    """Grid of the cells: whole pixels of the fine grid, as near to the asked size as they come."""


def checked_cell(asked: object) -> float | None:
    """Check a side of cells that somebody asked for, in micrometres; None leaves it to us.

    Raises
    ------
    SelectionError
        If it is no number from `LEAST_CELL_UM` to `LARGEST_CELL_UM`.
    """
    if asked is None:
        return None
    if isinstance(asked, int | float) and not isinstance(asked, bool):
        side = float(asked)
        if LEAST_CELL_UM <= side <= LARGEST_CELL_UM:
            return side
    raise SelectionError(
        f"the cells of a density map must be {LEAST_CELL_UM:g} to {LARGEST_CELL_UM:g} µm wide; "
        f"found {brief(asked)}; {CELL_UM:g} suits nuclei"
    )


def map_density(
    result: Result,
    *,
    cell_um: float = CELL_UM,
    least_object_um2: float | None = None,
    progress: ProgressCallback = lambda _: None,
) -> DensityMap:
    """Count the centres of objects in cells.

    Parameters
    ----------
    result : Result
        Result to measure.
    cell_um : float
        Side of a cell, in micrometres.
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own; 0 keeps all.
    progress : callable
        Called with the share done, in [0, 1], after each block.
    """
    fine = result.grid
    step = max(1, round(cell_um / fine.pixel_area_um2**0.5))
    grid = fine.coarser(step)
    counts = np.zeros(grid.shape, np.int64)
    for found in ObjectScan(result, least_object_um2).objects(progress):
        one = found.regions
        rows, columns = one.row_sum // one.pixels // step, one.column_sum // one.pixels // step
        np.add.at(counts, (rows, columns), 1)
    height, width = (np.diff(np.append(np.arange(0, side, step), side)) for side in fine.shape)
    areas_mm2 = np.multiply.outer(height, width) * fine.pixel_area_um2 / 1e6
    return DensityMap((counts / areas_mm2).astype(np.float32), grid)
