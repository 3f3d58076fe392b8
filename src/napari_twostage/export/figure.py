"""Figure of a result: slide, uncertainty, refined tiles and labels side by side, as a PNG."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from napari_twostage.errors import SegmentationError, SlideError
from napari_twostage.export.figure_rasters import (
    STATE_COLORS,
    faded_grey,
    labels_raster,
    slide_raster,
    states_raster,
    uncertainty_raster,
)
from napari_twostage.measure.areas import areas
from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.tissue_area import tissue_mm2
from napari_twostage.method.tiling import TileState
from napari_twostage.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

DPI = 200
MAX_SIDE_IN = 12.0
"""Largest width and height of the figure, in inches: 2400 pixels."""
MARGIN_IN, HEADER_IN, TITLE_IN, ROW_IN = 0.2, 0.35, 0.27, 0.19
"""Space around panels, for the figure title, a panel title, and a legend line, in inches."""
LEGEND_IN = 2.2
"""Width of a legend column, and smallest width of a panel, in inches."""
OUTSIDE = "#ececec"
"""Background colour of a panel."""


@dataclass(frozen=True)
class FigureLayout:
    """Arrangement of the four panels; lengths are in inches."""

    rows: int
    columns: int
    width: float
    """Width of a panel's image."""
    height: float
    """Height of a panel's image."""
    footer: float
    """Height of the legend under each panel."""
    legend_columns: int

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a panel with its title, legend and margin."""
        return (
            max(self.width, LEGEND_IN) + MARGIN_IN,
            self.height + TITLE_IN + self.footer + MARGIN_IN,
        )

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        across, down = self.cell
        return self.columns * across + MARGIN_IN, self.rows * down + HEADER_IN

    def panel(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel's image, as shares of the figure."""
        row, column = divmod(index, self.columns)
        across, down = self.cell
        total_width, total_height = self.size
        left = MARGIN_IN + column * across
        top = HEADER_IN + row * down + TITLE_IN
        bottom = total_height - top - self.height
        return (
            left / total_width,
            bottom / total_height,
            self.width / total_width,
            self.height / total_height,
        )


def choose_layout(aspect: float, entries: int) -> FigureLayout:
    """Choose the arrangement of four panels with the largest images.

    Parameters
    ----------
    aspect : float
        Height of the slide divided by its width.
    entries : int
        Number of lines in the longest legend.
    """
    choices = []
    for rows, columns in ((1, 4), (2, 2), (4, 1)):
        widest = (MAX_SIDE_IN - MARGIN_IN) / columns - MARGIN_IN
        legend_columns = int(widest / LEGEND_IN)
        footer = 0.1 + ROW_IN * max(2, math.ceil(entries / legend_columns))
        tallest = (MAX_SIDE_IN - HEADER_IN) / rows - TITLE_IN - footer - MARGIN_IN
        width = max(0.2, min(widest, tallest / aspect))
        height = max(0.05, width * aspect)
        choices.append(FigureLayout(rows, columns, width, height, footer, legend_columns))
    return max(choices, key=lambda layout: layout.width)


def write_figure(result: Result, path: Path, progress: ProgressCallback) -> None:
    """Draw the figure as a PNG, at most 2400 pixels wide and about as tall.

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    """
    keep_fonts_in_cache()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = areas(result, progress=lambda done: progress(0.7 * done))
    tissue = tissue_mm2(result)
    entries = max(len(kinds), len(STATE_COLORS))
    layout = choose_layout(result.grid.shape[0] / result.grid.shape[1], entries)
    figure = Figure(figsize=layout.size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    panels = _Panels(result, figure, layout)
    panels.draw_header("" if tissue is None else f"tissue {_describe_area(tissue)}   ")
    panels.draw_slide()
    progress(0.8)
    panels.draw_uncertainty()
    panels.draw_states()
    progress(0.9)
    panels.draw_labels(
        [(kind.color, f"{kind.name}  {_describe_area(kind.area_mm2)}") for kind in kinds]
    )
    note = unfinished_note(result)
    comment = {"Comment": f"unfinished: {note['unfinished']}"} if note else {}
    figure.savefig(path, format="png", metadata={"Software": None, **comment})
    progress(1.0)


def keep_fonts_in_cache() -> None:
    """Have matplotlib keep its list of fonts in our cache folder: nothing else is written to."""
    if "matplotlib" not in sys.modules:
        place = platformdirs.user_cache_path("napari-twostage") / "matplotlib"
        os.environ.setdefault("MPLCONFIGDIR", str(place))


class _Panels:
    """Panels of one figure, all over the same extent in micrometres."""

    def __init__(self, result: Result, figure: Figure, layout: FigureLayout) -> None:
        self._result = result
        self._states = result.states
        self._figure = figure
        self._layout = layout
        rows, columns = result.grid.shape
        self._height_um = rows * result.grid.mpp[0]
        self._width_um = columns * result.grid.mpp[1]
        self._extent = (0.0, self._width_um, self._height_um, 0.0)
        try:
            self._slide: NDArray[np.uint8] | None = slide_raster(result)
            self._missing = ""
        except (SlideError, SegmentationError) as error:
            self._slide, self._missing = None, str(error)

    def draw_header(self, area: str) -> None:
        """Draw the name and size of the slide, an area, and the share that was refined."""
        tissue = int(np.count_nonzero(self._states))
        refined = int(np.count_nonzero(self._states == TileState.REFINED))
        share = 100 * refined / max(1, tissue)
        left = MARGIN_IN / self._layout.size[0]
        baseline = 1 - 0.23 / self._layout.size[1]
        self._figure.text(
            left,
            baseline,
            f"{printable(self._result.name)}   "
            f"{self._width_um / 1000:.3g} by {self._height_um / 1000:.3g} mm   {area}"
            f"{refined} of {tissue} tissue tiles refined ({share:.3g} %)"
            + ("   UNFINISHED" if unfinished_note(self._result) else ""),
            fontsize=9,
            fontweight="bold",
        )

    def draw_slide(self) -> None:
        """Draw the slide, with a scale bar below."""
        axes = self._axes(0, "Slide")
        if self._slide is None:
            axes.set_facecolor(OUTSIDE)
            text = textwrap.fill(self._missing, max(12, int(13 * self._layout.width)))
            axes.text(
                0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=8
            )
        else:
            axes.imshow(self._slide, extent=self._extent, aspect="auto")
        draw_scale_bar(axes, self._width_um, self._layout.height)

    def draw_uncertainty(self) -> None:
        """Draw the uncertainty of the coarse pass, with a colour bar below."""
        axes = self._axes(1, "Uncertainty of the coarse pass")
        axes.set_facecolor(OUTSIDE)
        values = uncertainty_raster(self._result)
        inside = values[np.isfinite(values)]
        # Averaging lowers the peaks along thin borders: end the scale near the highest value.
        top = float(np.ceil(10 * np.quantile(inside, 0.998)) / 10) if inside.size else 1.0
        image = axes.imshow(
            values, cmap="inferno", vmin=0, vmax=max(top, 0.1), extent=self._extent, aspect="auto"
        )
        left, bottom, width, _ = self._layout.panel(1)
        tall = self._layout.size[1]
        bar = self._figure.add_axes((left, bottom - 0.17 / tall, width, 0.09 / tall))
        self._figure.colorbar(image, cax=bar, orientation="horizontal")
        bar.tick_params(labelsize=7, length=2, pad=1)

    def draw_states(self) -> None:
        """Draw the state of each tile over the slide in grey."""
        result = self._result
        axes = self._axes(2, "Tiles")
        self._backdrop(axes)
        tile_um = (
            result.tiles.tile_px * result.grid.mpp[0],
            result.tiles.tile_px * result.grid.mpp[1],
        )
        rows, columns = self._states.shape
        axes.imshow(
            states_raster(self._states),
            interpolation="nearest",
            extent=(0, columns * tile_um[1], rows * tile_um[0], 0),
            aspect="auto",
        )
        counts = {state: int(np.count_nonzero(self._states == state)) for state in STATE_COLORS}
        self._legend(
            axes,
            [
                (STATE_COLORS[state], f"{state.name.lower()}  {count}")
                for state, count in counts.items()
                if count
            ],
        )

    def draw_labels(self, entries: Sequence[tuple[str, str]]) -> None:
        """Draw the current labels, with the legend entries (colour, text)."""
        axes = self._axes(3, "Labels")
        self._backdrop(axes)
        axes.imshow(
            labels_raster(self._result),
            interpolation_stage="rgba",
            extent=self._extent,
            aspect="auto",
        )
        self._legend(axes, entries)

    def _axes(self, index: int, title: str) -> Axes:
        axes = self._figure.add_axes(self._layout.panel(index))
        axes.set_title(title, fontsize=9, loc="left", pad=4)
        axes.set(xlim=(0, self._width_um), ylim=(self._height_um, 0), xticks=[], yticks=[])
        axes.set_autoscale_on(False)
        for spine in axes.spines.values():
            spine.set(linewidth=0.5, color="0.5")
        return axes

    def _backdrop(self, axes: Axes) -> None:
        axes.set_facecolor(OUTSIDE)
        if self._slide is not None:
            axes.imshow(faded_grey(self._slide), extent=self._extent, aspect="auto")

    def _legend(self, axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
        from matplotlib.patches import Patch

        axes.legend(
            handles=[Patch(facecolor=color, label=text) for color, text in entries],
            loc="upper left",
            bbox_to_anchor=(0, -0.07 / self._layout.height),
            ncols=self._layout.legend_columns,
            frameon=False,
            fontsize=8,
            borderpad=0,
            borderaxespad=0,
            handlelength=1,
            columnspacing=1.2,
            labelspacing=0.3,
        )


def draw_scale_bar(axes: Axes, width_um: float, height_in: float) -> None:
    """Draw a scale bar below an image, with its length.

    Parameters
    ----------
    axes : Axes
        Axes that the image fills.
    width_um : float
        Width of the image in micrometres.
    height_in : float
        Height of the image in inches.
    """
    length = scale_bar_um(width_um)
    below = -0.1 / height_in
    axes.plot(
        [0, length / width_um], [below, below], transform=axes.transAxes, color="black",
        linewidth=3, solid_capstyle="butt", clip_on=False,
    )  # fmt: skip
    axes.text(
        0, below - 0.06 / height_in, describe_length(length),
        transform=axes.transAxes, va="top", fontsize=8,
    )  # fmt: skip


def scale_bar_um(width_um: float) -> float:
    """Round length of about a fifth of the width, in micrometres: 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> scale_bar_um(1480.0)
    200.0
    """
    most = width_um / 4
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most))


def describe_length(um: float) -> str:
    """Format a length given in micrometres, in µm or mm.

    Examples
    --------
    >>> describe_length(200.0), describe_length(5000.0)
    ('200 µm', '5 mm')
    """
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def _describe_area(mm2: float) -> str:
    """Format an area given in square millimetres, in mm² or µm²: a nucleus must not be 0 mm²."""
    return f"{mm2:,.3f} mm²" if mm2 >= 0.01 else f"{mm2 * 1e6:,.0f} µm²"
