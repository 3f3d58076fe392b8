"""Amount of work of a coarse pass, before there is a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.api import working_grid
from napari_twostage.engine.runner import OVERVIEW_LIMIT_PX
from napari_twostage.engine.speed import Work, blocks_with
from napari_twostage.method.tiling import TileGrid
from napari_twostage.method.tissue import tissue_of
from napari_twostage.result.layout import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.method.tissue import Tissue
    from napari_twostage.models.card import ModelCard
    from napari_twostage.slides.base import Slide


def work_of_coarse_pass(slide: Slide, card: ModelCard) -> dict[bool | None, Work]:
    """Work of a coarse pass over a slide, by `RunOptions.tissue`.

    Takes as long as the search for tissue does. Empty if the slide lacks the coarse level that the
    search needs, or no tissue is found.
    """
    height, width = slide.level_shapes[-1]
    if height * width > OVERVIEW_LIMIT_PX:
        return {}
    fine = working_grid(slide, card)
    layout = Layout(fine, card, TileGrid(fine.shape, card.tile_px, card.halo_px))
    automatic = tissue_of(slide)
    searched = automatic if automatic.searched else tissue_of(slide, search=True)
    found = {None: automatic, True: searched, False: tissue_of(slide, search=False)}
    return {search: _work(tissue, layout) for search, tissue in found.items()}


def _work(tissue: Tissue, layout: Layout) -> Work:
    windows = windows_with(tissue.tiles(layout.tiles, layout.fine), layout)
    return Work(
        searches=1,
        windows=int(windows.sum()),
        blocks=blocks_with(tiles_of_windows(windows, layout), layout),
    )


def windows_with(tiles: NDArray[np.bool_], layout: Layout) -> NDArray[np.bool_]:
    """Coarse windows that hold some of these tiles: (rows, columns)."""
    side = layout.card.coarse_core_px // layout.card.coarse_tile_px
    rows, columns = (np.arange(0, length, side) for length in tiles.shape)
    return np.logical_or.reduceat(np.logical_or.reduceat(tiles, rows, 0), columns, 1)


def tiles_of_windows(windows: NDArray[np.bool_], layout: Layout) -> NDArray[np.bool_]:
    """Tiles of some coarse windows: (rows, columns)."""
    side = layout.card.coarse_core_px // layout.card.coarse_tile_px
    rows, columns = layout.tiles.shape
    return windows.repeat(side, 0).repeat(side, 1)[:rows, :columns]
