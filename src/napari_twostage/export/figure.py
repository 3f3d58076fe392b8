"""One picture of a run: slide, uncertainty, refined tiles and labels side by side."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SegmentationError, SlideError
from napari_twostage.export.rendering import (
    STATE_COLORS,
    grey,
    labels_picture,
    slide_picture,
    states_picture,
    uncertainty_picture,
)
from napari_twostage.measure.areas import areas
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import Progress
    from napari_twostage.result.result import Result

DPI = 200
MOST_IN = 12.0
"""Widest and tallest in inches: 2400 pixels."""
MARGIN_IN, HEADER_IN, TITLE_IN, ROW_IN = 0.2, 0.35, 0.27, 0.19
"""Around panels, for the picture's title, for a panel's title, for a line of a legend."""
LEGEND_IN = 2.2
"""Width of one column of a legend, and the narrowest panel."""
OUTSIDE = "#ececec"


@dataclass(frozen=True)
class Layout:
    """Where the four panels go, in inches."""

    rows: int
    columns: int
    width: float
    """Of a panel's picture."""
    height: float
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
        """Width and height of everything."""
        across, down = self.cell
        return self.columns * across + MARGIN_IN, self.rows * down + HEADER_IN

    def panel(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel's picture, as shares of the whole."""
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


def choose_layout(aspect: float, entries: int) -> Layout:
    """Choose the arrangement of four panels that shows them largest.

    Parameters
    ----------
    aspect : float
        Height of the slide over its width.
    entries : int
        Most lines in the legend of any panel.
    """
    choices = []
    for rows, columns in ((1, 4), (2, 2), (4, 1)):
        widest = (MOST_IN - MARGIN_IN) / columns - MARGIN_IN
        legend_columns = int(widest / LEGEND_IN)
        footer = 0.1 + ROW_IN * max(2, math.ceil(entries / legend_columns))
        tallest = (MOST_IN - HEADER_IN) / rows - TITLE_IN - footer - MARGIN_IN
        width = max(0.2, min(widest, tallest / aspect))
        height = max(0.05, width * aspect)
        choices.append(Layout(rows, columns, width, height, footer, legend_columns))
    return max(choices, key=lambda layout: layout.width)


def write_overview(result: Result, path: Path, progress: Progress) -> None:
    """Draw the overview as a PNG, at most 2400 pixels wide and about as tall."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = areas(result, progress=lambda done: progress(0.7 * done))
    entries = max(len(kinds), len(STATE_COLORS))
    layout = choose_layout(result.grid.shape[0] / result.grid.shape[1], entries)
    figure = Figure(figsize=layout.size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    panels = _Panels(result, figure, layout)
    panels.header()
    panels.slide()
    progress(0.8)
    panels.uncertainty()
    panels.states()
    progress(0.9)
    panels.labels([(kind.color, f"{kind.name}  {_area(kind.area_mm2)}") for kind in kinds])
    figure.savefig(path, format="png", metadata={"Software": None})
    progress(1.0)


class _Panels:
    """Draws each panel in its place, all over the same extent."""

    def __init__(self, result: Result, figure: Figure, layout: Layout) -> None:
        self._result = result
        self._states = result.states
        self._figure = figure
        self._layout = layout
        rows, columns = result.grid.shape
        self._height_um = rows * result.grid.mpp[0]
        self._width_um = columns * result.grid.mpp[1]
        self._extent = (0.0, self._width_um, self._height_um, 0.0)
        try:
            self._picture: NDArray[np.uint8] | None = slide_picture(result)
            self._missing = ""
        except (SlideError, SegmentationError) as error:
            self._picture, self._missing = None, str(error)

    def header(self) -> None:
        """Say what this is and how much of it was refined."""
        tissue = int(np.count_nonzero(self._states))
        refined = int(np.count_nonzero(self._states == TileState.REFINED))
        share = 100 * refined / max(1, tissue)
        left = MARGIN_IN / self._layout.size[0]
        baseline = 1 - 0.23 / self._layout.size[1]
        self._figure.text(
            left,
            baseline,
            f"{self._result.name}   "
            f"{self._width_um / 1000:.3g} by {self._height_um / 1000:.3g} mm   "
            f"{refined} of {tissue} tissue tiles refined ({share:.3g} %)",
            fontsize=9,
            fontweight="bold",
        )

    def slide(self) -> None:
        """The slide, with a scale bar below it."""
        axes = self._axes(0, "Slide")
        if self._picture is None:
            axes.set_facecolor(OUTSIDE)
            words = textwrap.fill(self._missing, max(12, int(13 * self._layout.width)))
            axes.text(
                0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=8
            )
        else:
            axes.imshow(self._picture, extent=self._extent, aspect="auto")
        length = scale_bar_um(self._width_um)
        below = -0.1 / self._layout.height
        axes.plot(
            [0, length / self._width_um], [below, below], transform=axes.transAxes, color="black",
            linewidth=3, solid_capstyle="butt", clip_on=False,
        )  # fmt: skip
        axes.text(
            0, below - 0.06 / self._layout.height, length_words(length),
            transform=axes.transAxes, va="top", fontsize=8,
        )  # fmt: skip

    def uncertainty(self) -> None:
        """Where the coarse pass hesitates, with a colour bar below."""
        axes = self._axes(1, "Uncertainty of the coarse pass")
        axes.set_facecolor(OUTSIDE)
        values = uncertainty_picture(self._result)
        inside = values[np.isfinite(values)]
        # Averaging pales thin seams: the scale ends near the highest value, not at 1.
        top = float(np.ceil(10 * np.quantile(inside, 0.998)) / 10) if inside.size else 1.0
        image = axes.imshow(
            values, cmap="inferno", vmin=0, vmax=max(top, 0.1), extent=self._extent, aspect="auto"
        )
        left, bottom, width, _ = self._layout.panel(1)
        tall = self._layout.size[1]
        bar = self._figure.add_axes((left, bottom - 0.17 / tall, width, 0.09 / tall))
        self._figure.colorbar(image, cax=bar, orientation="horizontal")
        bar.tick_params(labelsize=7, length=2, pad=1)

    def states(self) -> None:
        """Which tiles stage 2 refined, over the slide in grey."""
        result = self._result
        axes = self._axes(2, "Tiles")
        self._backdrop(axes)
        tile_um = (
            result.tiles.tile_px * result.grid.mpp[0],
            result.tiles.tile_px * result.grid.mpp[1],
        )
        rows, columns = self._states.shape
        axes.imshow(
            states_picture(self._states),
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

    def labels(self, entries: Sequence[tuple[str, str]]) -> None:
        """The labels as they stand, with each class's area."""
        axes = self._axes(3, "Labels")
        self._backdrop(axes)
        axes.imshow(
            labels_picture(self._result),
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
        if self._picture is not None:
            axes.imshow(grey(self._picture), extent=self._extent, aspect="auto")

    def _legend(self, axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
        from matplotlib.patches import Patch

        axes.legend(
            handles=[Patch(facecolor=color, label=words) for color, words in entries],
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


def scale_bar_um(width_um: float) -> float:
    """Choose a round length of about a fifth of the width: 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> scale_bar_um(1480.0)
    200.0
    """
    most = width_um / 4
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most))


def length_words(um: float) -> str:
    """Say a length in the unit people would.

    Examples
    --------
    >>> length_words(200.0), length_words(5000.0)
    ('200 µm', '5 mm')
    """
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def _area(mm2: float) -> str:
    """Say an area so that a single nucleus is not 0 mm²."""
    return f"{mm2:,.3f} mm²" if mm2 >= 0.01 else f"{mm2 * 1e6:,.0f} µm²"
