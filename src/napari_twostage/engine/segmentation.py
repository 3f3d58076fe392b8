"""A result on disk: what was computed, what the user changed, how to go on."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from napari_twostage.engine.runner import run, watch
from napari_twostage.errors import SegmentationError, SelectionError, SlideError
from napari_twostage.geometry import Box, Grid
from napari_twostage.io.paths import appearing, locate
from napari_twostage.method.resample_labels import lazy_plane
from napari_twostage.method.selection import Plan, Ranking, Selection
from napari_twostage.method.tiling import TileGrid
from napari_twostage.method.uncertainty import MEASURES, probabilities
from napari_twostage.models import ModelCard, load_model
from napari_twostage.result.edits import Edits
from napari_twostage.result.journal import Journal
from napari_twostage.result.label_store import Store
from napari_twostage.result.layout import Layout
from napari_twostage.result.record import Record, new_record, read_record, write_record
from napari_twostage.result.tile_log import Ledger
from napari_twostage.result.tile_scores import Findings
from napari_twostage.slides import open_slide
from napari_twostage.slides.pyramid import PyramidSlide, with_pyramid
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import dask.array as da
    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.distributed.cluster import Cluster
    from napari_twostage.geometry import Region
    from napari_twostage.io.paths import Location
    from napari_twostage.method.pipeline import Focus
    from napari_twostage.method.steps import Step
    from napari_twostage.method.tiling import Tile
    from napari_twostage.method.tissue import Tissue
    from napari_twostage.method.uncertainty import Measure
    from napari_twostage.models import LabelClass
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide


class Segmentation:
    """A two-stage segmentation of one slide, in a folder.

    Made by `segment`, opened again by `open`. Everything can be read while a run goes on.

    Parameters
    ----------
    path : Path or Url
        The result folder, which must exist with its record.
    slide : Slide, optional
        The slide, where it is open already or was an array.
    model : Model, optional
        The model, where it is loaded already.
    """

    def __init__(
        self, path: Location, *, slide: Slide | None = None, model: Model | None = None
    ) -> None:
        self.path = path
        self.record: Record = read_record(path)
        self.card = ModelCard.from_json(json.dumps(self.record["card"]), str(path))
        grid = self.record["grid"]
        self.grid = Grid(tuple(grid["shape"]), tuple(grid["downsample"]), tuple(grid["mpp"]))
        self.tiles = TileGrid(self.grid.shape, self.card.tile_px, self.card.halo_px)
        self.layout = Layout(self.grid, self.card, self.tiles)
        self.store = Store(path, self.layout)
        self.ledger = Ledger(Journal(path / "journal.jsonl"), self.tiles)
        edited = np.zeros(self.tiles.shape, bool)
        for _, box in self.ledger.edits:
            edited |= self.tiles_touching(box)
        self.store.mark_written(self.ledger.refined, edited)
        self.store.mark_stale(self.ledger.behind, self.ledger.windows_behind)
        self._slide: Slide | None = None
        self._model = model
        self.findings = Findings(path, self.store, self.ledger, self._measure)
        self.edits = Edits(path / "undo", self.store, self.ledger)
        if slide is not None:
            self.attach_slide(slide)

    @property
    def _measure(self) -> Measure:
        return MEASURES[self.record["parameters"]["uncertainty"]]

    @property
    def pyramid_folder(self) -> Location:
        """Where coarse levels are kept for a slide that has none."""
        return self.path / "pyramid"

    @classmethod
    def open(
        cls,
        path: str | Location,
        *,
        slide: Slide | None = None,
        model: Model | None = None,
    ) -> Segmentation:
        """Open a result folder.

        Parameters
        ----------
        path : path or URL
            What `segment` wrote.
        slide : Slide, optional
            Needed to go on where the slide was an array or has moved.
        model : Model, optional
            Needed to go on where the model's folder has moved.

        Raises
        ------
        SegmentationError
            If the folder is no result, or slide or model are not those it was made with.
        """
        segmentation = cls(locate(path).expanduser(), slide=slide)
        if model is not None:
            segmentation.attach_model(model)
        return segmentation

    @classmethod
    def create(
        cls, path: Location, slide: Slide, model: Model, fine: Grid, parameters: dict[str, Any]
    ) -> Segmentation:
        """Make an empty result folder."""
        record = new_record(slide, model, fine, parameters)
        tiles = TileGrid(fine.shape, model.card.tile_px, model.card.halo_px)
        with appearing(path) as folder:
            Store(folder, Layout(fine, model.card, tiles), create=True)
            write_record(folder, record)
        return cls(path, slide=slide, model=model)

    @property
    def name(self) -> str:
        """Name of the slide."""
        return str(self.record["slide"]["name"])

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the labels; 0 is the background."""
        return self.card.classes

    @property
    def coarse_grid(self) -> Grid:
        """The grid of stage 1 and of `uncertainty`."""
        return self.layout.coarse

    @property
    def slide_mpp(self) -> tuple[float, float]:
        """Micrometres per pixel (y, x) of the slide's level 0."""
        y, x = self.record["slide"]["mpp"]
        return y, x

    @property
    def slide(self) -> Slide:
        """The slide.

        Raises
        ------
        SegmentationError
            If it is no file, or no longer the one that was segmented.
        SlideError
            If it cannot be opened.
        """
        if self._slide is None:
            path = self.record["slide"]["path"]
            if path is None:
                raise SegmentationError(
                    f"{self.path} was made from an array; open it with slide=open_slide(array, ...)"
                )
            channel = self.record["parameters"]["channel"]
            return self.attach_slide(open_slide(path, mpp=self.slide_mpp, channel=channel))
        return self._slide

    @property
    def model(self) -> Model:
        """The model.

        Raises
        ------
        ModelError
            If it cannot be loaded.
        SegmentationError
            If it is not the one that this result was made with.
        """
        if self._model is None:
            return self.attach_model(load_model(self.record["model"]["source"]))
        return self._model

    def attach_slide(self, slide: Slide) -> Slide:
        """Go on with this slide, which must be the one that was segmented."""
        if slide.fingerprint() != self.record["slide"]["fingerprint"]:
            raise SegmentationError(
                f"{self.path} was made from another slide than {slide.name}: "
                f"{self.name}, with other pixels; choose another output folder"
            )
        if self.pyramid_folder.exists() and not isinstance(slide, PyramidSlide):
            with suppress(SlideError):  # interrupted: the next run builds it again
                slide = with_pyramid(slide, self.pyramid_folder)
        self._slide = slide
        return slide

    def attach_model(self, model: Model) -> Model:
        """Go on with this model, which must be the one that was used."""
        if model.bundle.sha256 != self.record["model"]["sha256"]:
            made_with = self.record["model"]
            raise SegmentationError(
                f"{self.path} was made with another model than {model.card.name} "
                f"{model.card.version}: {made_with['name']} {made_with['version']}, "
                f"sha256 {made_with['sha256'][:12]}; choose another output folder"
            )
        self._model = model
        return model

    def view(self, grid: Grid) -> View:
        """The slide as 8-bit RGB on a grid."""
        return View(self.slide, grid)

    # -- what is known of tiles -------------------------------------------------------------

    @property
    def tissue_known(self) -> bool:
        """Whether the tissue was looked for: the first thing that a run keeps."""
        return self.findings.tissue_known

    @property
    def tissue(self) -> NDArray[np.bool_]:
        """Which tiles are to be segmented: (rows, columns); once `tissue_known`."""
        return self.findings.tissue

    @property
    def coarse_complete(self) -> bool:
        """Whether stage 1 has seen all tissue."""
        return self.findings.complete

    def save_tissue(self, tissue: Tissue, tiles: NDArray[np.bool_]) -> None:
        """Keep where the tissue is, and which tiles follow from it."""
        self.record["tissue"] = {
            "searched": self.record["parameters"]["tissue"],
            "bright_field": tissue.bright_field,
            "area_mm2": tissue.area_mm2,
            "tiles": int(tiles.sum()),
            "intensity_range": list(self.slide.intensity_range),
        }
        write_record(self.path, self.record)
        self.findings.save_tissue(tissue, tiles)

    def tiles_of_window(self, core: Box) -> Iterator[Tile]:
        """Tiles of a coarse window."""
        return self.tiles.touching(self.layout.fine_box(core))

    def tiles_touching(self, region: Region) -> NDArray[np.bool_]:
        """Which tiles share a point with a region of the fine grid: (rows, columns)."""
        if not isinstance(region, Box):
            return self.tiles.touching_polygons(region)
        touched = np.zeros(self.tiles.shape, bool)
        for tile in self.tiles.touching(region):
            touched[tile] = True
        return touched

    @property
    def scores(self) -> NDArray[np.float32]:
        """Score of each tile (rows, columns), in [0, 1] for two classes; NaN where unscored."""
        return self.findings.statistics.score

    @property
    def states(self) -> NDArray[np.uint8]:
        """`tiling.TileState` of each tile (rows, columns)."""
        return self.ledger.states(~np.isnan(self.scores))

    @property
    def failures(self) -> dict[Tile, str]:
        """Tiles that could not be read or computed, and why."""
        return dict(self.ledger.failed)

    # -- pixels -------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> list[da.Array]:
        """Lazy (H, W) uint8 labels, one a level; level k is 2**k times as coarse as `grid`."""
        return [
            lazy_plane(partial(self.read_labels, level=level), shape, np.uint8)
            for level, shape in enumerate(self.layout.level_shapes)
        ]

    def read_labels(self, box: Box, level: int = 0) -> NDArray[np.uint8]:
        """Labels of a box inside a level: edited, else refined, else upsampled coarse ones."""
        return self.store.read_labels(box, level)

    @cached_property
    def uncertainty(self) -> da.Array:
        """Lazy (H, W) float32 uncertainty on `coarse_grid`; 0 outside the tissue."""
        return lazy_plane(self.read_uncertainty, self.coarse_grid.shape, np.float32)

    def read_uncertainty(self, box: Box) -> NDArray[np.float32]:
        """Uncertainty of a box inside `coarse_grid`; 0 outside the tissue."""
        probability = probabilities(self.store.read_logits(box))
        return np.nan_to_num(self._measure(probability), nan=0.0)

    # -- choosing and refining ----------------------------------------------------------------

    def plan(
        self,
        threshold: float | None = None,
        *,
        fraction: float | None = None,
        budget_s: float | None = None,
        n_tiles: int | None = None,
        region: Box | Sequence[ArrayLike] | None = None,
    ) -> Plan:
        """Say what refining would cost and bring; nothing is computed.

        Parameters
        ----------
        threshold : float, optional
            Tiles that score above it.
        fraction : float, optional
            The top share of scored tiles, in [0, 1].
        budget_s : float, optional
            The top tiles that can be refined in so many seconds.
        n_tiles : int, optional
            So many of the top tiles that are not refined yet.
        region : Box or sequence of (n, 2) arrays, optional
            Only tiles that touch this box, or one of these polygons with vertices (y, x), of the
            slide's level 0; without a criterion, all.

        Returns
        -------
        Plan

        Raises
        ------
        SelectionError
            If there is no criterion, two, or one out of its range.
        """
        selection = Selection(
            threshold=threshold,
            fraction=fraction,
            budget_s=budget_s,
            n_tiles=n_tiles,
            region=None if region is None else self.to_fine(region),
        )
        if selection == Selection():
            raise SelectionError("give one of threshold, fraction, budget_s, n_tiles, or a region")
        return self.select(selection, seconds_per_tile=self.model.seconds_per_tile)

    @property
    def ranking(self) -> Ranking:
        """All scored tiles as they stand, the highest score first."""
        return Ranking(self.findings.statistics, self.card.refinement_gain)

    @property
    def seconds_per_tile(self) -> float | None:
        """Stage 2's time for a tile, from the last run on this machine; None where none was."""
        for entry in reversed(self.record["runs"]):
            done = entry.get("refined", 0)
            if done and entry["machine"] == platform.node() and "workers" not in entry:
                return float(entry["seconds"]["refine"] / done)
        return None

    def select(self, selection: Selection, *, seconds_per_tile: float | None = None) -> Plan:
        """Turn a selection, its region on the fine grid, into a plan.

        Parameters
        ----------
        selection : Selection
        seconds_per_tile : float, optional
            Of stage 2; a time budget has it measured.
        """
        ranking, refined = self.ranking, self.ledger.refined
        region = None if selection.region is None else self.tiles_touching(selection.region)
        if selection.budget_s is not None and seconds_per_tile is None:
            seconds_per_tile = self.model.seconds_per_tile
        chosen = ranking.select(selection, seconds_per_tile, region, refined)
        return ranking.plan(selection, chosen, refined, seconds_per_tile)

    @overload
    def to_fine(self, region: Box) -> Box: ...
    @overload
    def to_fine(self, region: Box | Sequence[ArrayLike]) -> Region: ...
    def to_fine(self, region: Box | Sequence[ArrayLike]) -> Region:
        """A region of level 0 on the fine grid; a box grows to whole pixels.

        Raises
        ------
        SelectionError
            If a polygon has fewer than three vertices.
        """
        y, x = self.grid.downsample
        if isinstance(region, Box):
            return region.scaled((1 / y, 1 / x)).clip(self.grid.shape)
        polygons = []
        for vertices in region:
            points = np.asarray(vertices, float)
            if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
                raise SelectionError(
                    f"a polygon of shape {points.shape} was given, three or more vertices (y, x) "
                    "were expected; draw it again"
                )
            polygons.append(tuple((row / y, column / x) for row, column in points.tolist()))
        return tuple(polygons)

    def iter_refine(
        self,
        wanted: Plan | Selection,
        *,
        focus: Focus | None = None,
        cluster: Cluster | None = None,
    ) -> Iterator[Step]:
        """Refine step by step; see `run.run`."""
        return run(self, wanted, focus=focus, cluster=cluster)

    def refine(
        self,
        plan: Plan | Selection,
        *,
        progress: bool | Callable[[Step], None] | None = None,
        cluster: Cluster | None = None,
    ) -> Segmentation:
        """Refine the tiles of a plan, after what is left of the coarse pass.

        Parameters
        ----------
        plan : Plan or Selection
            From `plan`.
        progress : bool or callable, optional
            True shows bars on stderr; a callable is given each step.
        cluster : Cluster, optional
            From `distributed.connect`: have it done there.
        """
        watch(self.iter_refine(plan, cluster=cluster), progress)
        return self

    def end_run(self, entry: dict[str, Any]) -> None:
        """Add a run to the record."""
        self.record["runs"].append(entry)
        write_record(self.path, self.record)

    # -- the user's edits ---------------------------------------------------------------------

    def edit(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Put the user's labels above everything computed.

        Parameters
        ----------
        box : Box
            Inside the fine grid.
        labels : (box.height, box.width) uint8 array
            Class values; 255 leaves a pixel as it is.

        Raises
        ------
        SegmentationError
            If the shape or a value does not fit.
        """
        self.edits.add(box, labels)
        self.refresh()

    def undo_edit(self) -> bool:
        """Take back the last edit that stands; False where there is none."""
        undone = self.edits.undo()
        self.refresh()
        return undone

    def refresh(self) -> None:
        """Write the coarser levels of `labels`, which readers see up to date in any case."""
        with self.store.lock:  # else the journal may call a tile shown that came in between
            if self.store.overview.stale:
                self.store.overview.refresh()
                self.ledger.overview_fresh()

    def __repr__(self) -> str:
        height, width = self.grid.shape
        refined = int(self.ledger.refined.sum())
        return f"<Segmentation of {self.name}: {height} × {width}, {refined} tiles refined>"
