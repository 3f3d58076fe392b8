"""Density of objects as a picture, and as numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from napari_twostage.export.figure import (
    DPI,
    MAX_SIDE_IN,
    draw_scale_bar,
    keep_fonts_in_cache,
)
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.density import CELL_UM, map_density
from napari_twostage.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

UNIT = "objects per mm²"
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.2, 1.0, 0.4, 0.45
"""Space around the map: the colour bar is on the right, the scale bar below."""
_LEAST_SIDE_IN = 1.5


def write_density(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    least_object_um2: float | None = None,
    cell_um: float = CELL_UM,
) -> None:
    """Write objects per mm² as a float32 TIFF with its pixel size.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own.
    cell_um : float
        Side of a cell, in micrometres.
    """
    import tifffile

    density = map_density(
        result, cell_um=cell_um, least_object_um2=least_object_um2, progress=progress
    )
    mpp_y, mpp_x = density.grid.mpp
    about = {"unit": "objects per mm^2", "mpp": [mpp_y, mpp_x], **unfinished_note(result)}
    tifffile.imwrite(
        path,
        density.values,
        photometric="minisblack",
        compression="zlib",
        resolution=(1e4 / mpp_x, 1e4 / mpp_y),
        resolutionunit="CENTIMETER",
        description=json.dumps(about),
        metadata=None,
    )


def draw_density(
    result: Result,
    path: Path,
    progress: ProgressCallback,
    *,
    least_object_um2: float | None = None,
    cell_um: float = CELL_UM,
) -> None:
    """Draw the same as a PNG, with a colour bar and a scale; parameters as of `write_density`."""
    keep_fonts_in_cache()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    density = map_density(
        result, cell_um=cell_um, least_object_um2=least_object_um2, progress=progress
    )
    height_um, width_um = (
        side * mpp for side, mpp in zip(result.grid.shape, result.grid.mpp, strict=True)
    )
    most = MAX_SIDE_IN - _LEFT_IN - _RIGHT_IN
    scale = most / max(height_um, width_um)
    width, height = (max(_LEAST_SIDE_IN, side * scale) for side in (width_um, height_um))
    size = width + _LEFT_IN + _RIGHT_IN, height + _TOP_IN + _BOTTOM_IN
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    across, down = width / size[0], height / size[1]
    left, bottom = _LEFT_IN / size[0], _BOTTOM_IN / size[1]
    axes = figure.add_axes((left, bottom, across, down))
    rows, columns = density.values.shape
    extent = (0.0, columns * density.grid.mpp[1], rows * density.grid.mpp[0], 0.0)
    image = axes.imshow(
        density.values, cmap="viridis", vmin=0, interpolation="nearest", extent=extent,
        aspect="auto",
    )  # fmt: skip
    axes.set(xlim=(0, width_um), ylim=(height_um, 0), xticks=[], yticks=[])
    unfinished = "   UNFINISHED" if unfinished_note(result) else ""
    axes.set_title(f"{printable(result.name)}{unfinished}", fontsize=9, loc="left", pad=4)
    bar = figure.add_axes((left + across + 0.1 / size[0], bottom, 0.12 / size[0], down))
    figure.colorbar(image, cax=bar).set_label(UNIT, fontsize=8)
    bar.tick_params(labelsize=7, length=2, pad=1)
    draw_scale_bar(axes, width_um, height)
    figure.savefig(path, format="png", metadata={"Software": None})
