"""A result without slide, model or disk: arrays in memory, with the same methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import dask.array as da
import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box, Grid
from napari_twostage.method.tiling import TileState
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from napari_twostage.slides.base import Slide


@dataclass(frozen=True)
class FakeClass:
    name: str
    color: str
    value: int


@dataclass(frozen=True)
class FakeTiles:
    plane: tuple[int, int]
    tile_px: int

    @property
    def shape(self):
        return tuple(-(-side // self.tile_px) for side in self.plane)

    def box(self, row, column):
        top, left = row * self.tile_px, column * self.tile_px
        return Box.at(top, left, self.tile_px, self.tile_px).clip(self.plane)


class NoTallies:
    """A result whose blocks nobody has measured."""

    def stamp(self, _box, _states):
        return b""

    def read(self, _box, _stamp, _part=""):
        return None


class FakeView:
    def __init__(self, picture, grid, finest):
        step = round(grid.downsample[0] / finest.downsample[0])
        self._picture = picture[::step, ::step]

    def read(self, box):
        return self._picture[box.slices]


@dataclass
class FakeSegmentation:
    """Labels in memory; everything is refined unless `states` says otherwise."""

    plane: np.ndarray
    downsample: tuple[float, float] = (1.0, 1.0)
    slide_mpp: tuple[float, float] = (0.25, 0.25)
    tile_px: int = 16
    states: np.ndarray | None = None
    ratio: int = 4
    picture: np.ndarray | None = None
    slide: Slide | None = None
    uncertainty: np.ndarray | None = None
    name: str = "fake"
    path: Path = Path("fake.twostage.zarr")
    classes: tuple = (FakeClass("nucleus", "#2ca02c", 1), FakeClass("gland", "#d62728", 2))
    finished: bool = True
    least_object_um2: float = 0.0
    bounds: Box | None = None
    read: list = field(default_factory=list)
    depth: np.ndarray | None = None
    painted: np.ndarray | None = None
    object_reach_px: int = 0

    def __post_init__(self):
        mpp = tuple(m * d for m, d in zip(self.slide_mpp, self.downsample, strict=True))
        self.grid = Grid(self.plane.shape, self.downsample, mpp)
        self.coarse_grid = self.grid.coarser(self.ratio)
        self.tiles = FakeTiles(self.plane.shape, self.tile_px)
        if self.states is None:
            self.states = np.full(self.tiles.shape, TileState.REFINED, np.uint8)
        self.labels = [
            da.from_array(self.plane[:: 2**k, :: 2**k], chunks=self.tile_px * 4) for k in range(3)
        ]
        self.level_shapes = [level.shape for level in self.labels]
        self.layout = SimpleNamespace(object_reach_px=self.object_reach_px)
        if self.uncertainty is None:
            self.uncertainty = np.zeros(self.coarse_grid.shape, np.float32)

    @property
    def record(self):
        run = SimpleNamespace(finished=self.finished, plan={"tiles": 3}, planned_tiles=3, refined=1)
        shape = tuple(round(n * d) for n, d in zip(self.plane.shape, self.downsample, strict=True))
        slide = SimpleNamespace(path=None, bounds=self.bounds, level_shapes=(shape,))
        parameters = SimpleNamespace(region=None)
        box = Box(0, 0, *shape)
        return SimpleNamespace(
            slide=slide, runs=(run,), last_run=run, parameters=parameters, measured_box=box
        )

    @property
    def tissue_mask(self):
        return np.ones(self.grid.shape, bool), self.grid

    @property
    def tallies(self):
        return NoTallies()

    # -- how much of it is there: one coarse window, which is done
    card = SimpleNamespace(coarse_core_px=1, coarse_tile_px=1, name="fake", version="1.0")
    windows_done = frozenset({Box(0, 0, 1, 1)})
    tissue_known = coarse_complete = True
    tissue = np.ones((1, 1), bool)
    windows_needed = np.ones((1, 1), bool)
    windows_left = np.zeros((1, 1), bool)
    failures: ClassVar[dict] = {}

    @property
    def tells_objects_apart(self):
        return self.depth is not None

    def read_depth(self, box):
        return self.depth[box.slices]

    def read_painted(self, box):
        return np.zeros(box.shape, bool) if self.painted is None else self.painted[box.slices]

    def read_labels(self, box, level=0):
        self.read.append((level, box))
        return self.labels[level][box.slices].compute()

    def read_uncertainty(self, box):
        return self.uncertainty[box.slices]

    def view(self, grid):
        if self.slide is not None:
            return View(self.slide, grid)
        if self.picture is None:
            raise SlideError("fake.svs is gone; put it back to see the slide")
        return FakeView(self.picture, grid, self.grid)
