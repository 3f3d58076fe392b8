"""A result on disk: everything a run computed and a user changed, for one slide and one model.

All access to the folder goes through `Result`: code outside this package touches neither the
journal, nor the zarr arrays, nor the record's file.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_twostage.errors import (
    LocationError,
    SegmentationError,
    SelectionError,
    SlideError,
    brief,
)
from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate, remove_tree
from napari_twostage.io.url import Url
from napari_twostage.method.dice_predictor import DicePredictor
from napari_twostage.method.ranking import Ranking
from napari_twostage.method.resample_labels import lazy_plane
from napari_twostage.method.selection import Selection
from napari_twostage.result.annotations import kept_annotations, save_annotations
from napari_twostage.result.check import PYRAMID, check, repair
from napari_twostage.result.layout import UNSET, checked_polygons
from napari_twostage.result.record import Record, read_record
from napari_twostage.result.result_files import ResultFiles
from napari_twostage.result.run_writer import RunWriter
from napari_twostage.result.slide_place import open_as_before, open_slide_of
from napari_twostage.result.undoing import Undoing
from napari_twostage.slides.base import Slide
from napari_twostage.slides.pyramid import PyramidSlide, with_pyramid
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import dask.array as da
    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.geometry import Grid, Polygons, Region
    from napari_twostage.io.annotations import Annotation
    from napari_twostage.io.paths import Location
    from napari_twostage.method.selection import Plan
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.card import LabelClass
    from napari_twostage.result.findings import Finding
    from napari_twostage.result.tally_files import TallyFiles
    from napari_twostage.result.uncertainty_map import UncertaintyMap
    from napari_twostage.result.writer_lock import Owner

    SlidePlace = Slide | str | Location


class Result:
    """A result folder, open for reading and writing.

    Everything can be read while a run writes. `Segmentation` adds computing.

    Parameters
    ----------
    path : Path or Url
        The folder, which must exist.
    record : Record
        Content of its `record.json`.
    slide : Slide, optional
        The slide, if it is open already or was an array.

    Raises
    ------
    SegmentationError
        If the slide is not the one that was segmented.
    """

    def __init__(self, path: Location, record: Record, *, slide: Slide | None = None) -> None:
        self._files = ResultFiles(path, record)
        self.path = path
        self.card = record.card
        self.grid = record.grid
        """The fine grid, on which labels and tiles lie."""
        self.layout = self._files.layout
        self.tiles = self.layout.tiles
        self._slide: Slide | None = None
        if slide is not None:
            self.attach_slide(slide)

    @classmethod
    def open(cls, path: str | Location, *, slide: SlidePlace | None = None) -> Self:
        """Open a result folder.

        Parameters
        ----------
        path : path or URL
            A folder that `segment` wrote.
        slide : Slide, path or URL, optional
            Needed if the slide was an array or has moved.

        Raises
        ------
        SegmentationError
            If the folder is no result, or the slide is another one.
        """
        place, record = cls._read(path)
        result = cls(place, record, slide=opened(record, slide))
        result._files.tell_damage()
        return result

    @staticmethod
    def _read(path: object) -> tuple[Location, Record]:
        """Location and record of a result folder."""
        if not isinstance(path, str | PathLike | Url) or not str(path).strip():
            raise LocationError(f"expected the path or URL of a result; found {brief(path)}")
        place = locate(path).expanduser()
        return place, read_record(place)

    @property
    def record(self) -> Record:
        """Slide, model, parameters and runs, as `record.json` states them."""
        return self._files.record

    @property
    def writer(self) -> RunWriter:
        """The side that runs write to."""
        return RunWriter(self._files)

    def check(self) -> list[Finding]:
        """Verify pixels, tables and edits; see `check.check`."""
        return list(check(self._files))

    def repair(self) -> list[Finding]:
        """Restore what can be, and have the rest computed again by the next run.

        Returns
        -------
        list of Finding
            What was damaged.

        Raises
        ------
        LockedError
            If another process or window is writing.
        StorageError
            If the disk is full, gone or refuses.
        """
        findings = repair(self._files)
        damaged = any(finding.file.startswith(f"{PYRAMID}/") for finding in findings)
        if damaged and isinstance(self._slide, PyramidSlide):
            self._slide = self._slide.base
        return findings

    # -- slide and grids ----------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the slide."""
        return self.record.slide.name

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the labels; 0 is the background."""
        return self.card.classes

    @property
    def least_object_um2(self) -> float:
        """Least area of objects in square micrometres: the one asked for, or the model's."""
        asked = self.record.least_object_um2
        return self.card.least_object_um2 if asked is None else asked

    @property
    def coarse_grid(self) -> Grid:
        """The grid of stage 1 and of `uncertainty`."""
        return self.layout.coarse

    @property
    def slide_mpp(self) -> tuple[float, float]:
        """Micrometres per pixel (y, x) of the slide's level 0."""
        return self.record.slide.mpp

    @property
    def pyramid_folder(self) -> Location:
        """Folder of the coarse levels made for a slide that has none."""
        return self.path / PYRAMID

    @property
    def slide(self) -> Slide:
        """The slide: beside the result, or where it was when it was segmented.

        Raises
        ------
        SegmentationError
            If it was an array, or is no longer the slide that was segmented.
        SlideError
            If it cannot be opened.
        """
        if self._slide is None:
            return self.attach_slide(open_slide_of(self.path, self.record))
        return self._slide

    def attach_slide(self, slide: Slide) -> Slide:
        """Use this slide, which must be the one that was segmented."""
        if slide.fingerprint() != self.record.slide.fingerprint:
            raise SegmentationError(
                f"{self.path} was made from another slide than {slide.name}: "
                f"{self.name}, with other pixels; choose another output folder"
            )
        if self.pyramid_folder.exists() and not isinstance(slide, PyramidSlide):
            with suppress(SlideError):  # interrupted: the next run builds it again
                slide = with_pyramid(slide, self.pyramid_folder)
        self._slide = slide
        return slide

    def discard(self) -> None:
        """Remove the folder with all that is in it.

        Raises
        ------
        LockedError
            If another process or window is writing.
        """
        with self._files.lock.hold():
            remove_tree(self.path)

    def view(self, grid: Grid) -> View:
        """The slide as 8-bit RGB on a grid."""
        return View(self.slide, grid)

    @property
    def level_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each level of `labels`."""
        return self.layout.level_shapes

    def to_fine(self, region: Box | Sequence[ArrayLike]) -> Region:
        """A region of level 0 on the fine grid; see `Layout.to_fine`."""
        return self.layout.to_fine(region)

    def box_to_fine(self, box: Box) -> Box:
        """A box of level 0 on the fine grid, grown to whole pixels and clipped to the slide."""
        return self.layout.box_to_fine(box)

    # -- tiles ----------------------------------------------------------------------------------

    @property
    def tissue_known(self) -> bool:
        """Whether tissue detection has run: the first thing that a run keeps."""
        return self._files.scores.tissue_known

    @property
    def tissue(self) -> NDArray[np.bool_]:
        """Tiles to segment: (rows, columns); once `tissue_known`."""
        return self._files.scores.tissue

    @property
    def slide_tissue(self) -> NDArray[np.bool_]:
        """Tiles with tissue, also those outside `Record.scope`: (rows, columns)."""
        return self._files.scores.slide_tissue

    @property
    def tissue_mask(self) -> tuple[NDArray[np.bool_], Grid]:
        """Tissue as a mask (H, W), and the mask's grid; once `tissue_known`."""
        return self._files.scores.tissue_mask

    @property
    def artefacts(self) -> tuple[NDArray[np.uint8], Grid] | None:
        """`method.artefacts.Artefact` of each pixel (H, W), and their grid; once `tissue_known`.

        None if there are none, or none were looked for.
        """
        return self._files.scores.artefacts

    @property
    def coarse_complete(self) -> bool:
        """Whether stage 1 has seen all tissue."""
        return self._files.scores.complete

    @property
    def windows_done(self) -> frozenset[Box]:
        """Cores, inside the slide, of the coarse windows that are done."""
        return frozenset(self._files.log.windows)

    @property
    def windows_needed(self) -> NDArray[np.bool_]:
        """Coarse windows with tissue, once `tissue_known`: (rows, columns)."""
        return self._files.scores.windows_needed

    @property
    def windows_left(self) -> NDArray[np.bool_]:
        """Coarse windows with tissue that stage 1 has not seen: (rows, columns)."""
        return self._files.scores.windows_left

    @property
    def refined(self) -> NDArray[np.bool_]:
        """Tiles that stage 2 has seen: (rows, columns); a copy."""
        return self._files.log.refined.copy()

    @property
    def failures(self) -> dict[Tile, str]:
        """Tiles that could not be read or computed, and why."""
        return dict(self._files.log.failed)

    @property
    def acceptances(self) -> list[tuple[Tile, ...]]:
        """Tiles whose labels the user accepted as they are, together each time; oldest first."""
        return self._files.log.acceptances

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Tiles of `acceptances`: (rows, columns)."""
        return self._mask(tile for tiles in self.acceptances for tile in tiles)

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Tiles that no refinement changes: refined, or accepted by the user: (rows, columns)."""
        return self.refined | self.accepted

    def accept(self, tiles: Iterable[Tile], *, take_back: bool = False) -> None:
        """Keep that the user left tiles as they are, or took that back; no refinement runs on them.

        Raises
        ------
        LockedError
            If another process or window is writing.
        StorageError
            If the disk is full, gone or refuses; nothing has changed.
        """
        self.writer.record_accepted(tuple(tiles), taken_back=take_back)

    def _mask(self, tiles: Iterable[Tile]) -> NDArray[np.bool_]:
        """Mask of some tiles: (rows, columns)."""
        mask = np.zeros(self.tiles.shape, bool)
        mask[tuple(np.array(list(tiles), int).reshape(-1, 2).T)] = True
        return mask

    @property
    def scores(self) -> NDArray[np.float32]:
        """Score of each tile (rows, columns), in [0, 1] for two classes; NaN where unscored."""
        return self._files.scores.statistics.score

    @property
    def states(self) -> NDArray[np.uint8]:
        """`tiling.TileState` of each tile (rows, columns)."""
        return self._files.log.states(~np.isnan(self.scores))

    def extend(self, region: Sequence[ArrayLike] | None = None) -> None:
        """Have the next run segment more of the slide: polygons of level 0, or else all of it.

        Whatever the order in which parts are asked for, labels are those of a run over all.

        Parameters
        ----------
        region : sequence of (n, 2) arrays, optional
            Vertices (y, x) of polygons. A coarse pass of the whole slide that was stopped goes on
            in them alone.

        Raises
        ------
        SelectionError
            If the polygons hold no tissue, or are no polygons.
        LockedError
            If another process or window is writing.
        """
        scope = () if region is None else self._scope_with(checked_polygons(region))
        if scope != self.record.scope:
            self.writer.record_scope(scope)

    def _scope_with(self, polygons: Polygons) -> Polygons:
        if self.tissue_known:
            windows = self.layout.windows_touching(polygons)
            if not (self.slide_tissue & self.layout.tiles_of_windows(windows)).any():
                raise SelectionError(
                    "the region holds no tissue; draw it elsewhere, or segment the glass as well"
                )
        known = self.record.scope
        if not known and self.coarse_complete:
            return ()
        if not known:
            known = self._polygons_of(self.windows_done)
        return (*known, *(one for one in polygons if one not in known))

    def _polygons_of(self, cores: Iterable[Box]) -> Polygons:
        """Coarse windows, those side by side as one, as polygons of level 0."""
        rows: list[Box] = []
        for core in sorted(cores):
            last = rows[-1] if rows else None
            if last is not None and (last.top, last.right) == (core.top, core.left):
                rows[-1] = replace(last, right=core.right)
            else:
                rows.append(core)
        y, x = self.coarse_grid.downsample
        # a little smaller: rounding must not let them touch the windows beside them
        return tuple(
            (
                ((top + 0.25) * y, (left + 0.25) * x),
                ((top + 0.25) * y, (right - 0.25) * x),
                ((bottom - 0.25) * y, (right - 0.25) * x),
                ((bottom - 0.25) * y, (left + 0.25) * x),
            )
            for top, left, bottom, right in (row.as_list() for row in rows)
        )

    def is_segmented(self, region: Sequence[ArrayLike]) -> bool:
        """Whether stage 1 has seen all tissue of the windows that polygons of level 0 touch."""
        if not self.tissue_known:
            return False
        layout = self.layout
        windows = layout.windows_touching(checked_polygons(region))
        left = layout.tiles_of_windows(windows & ~self._files.store.windows)
        return not (self.slide_tissue & left).any()

    def tiles_touching(self, region: Region) -> NDArray[np.bool_]:
        """Tiles that share a point with a region of the fine grid: (rows, columns)."""
        if not isinstance(region, Box):
            return self.tiles.touching_polygons(region)
        touched = np.zeros(self.tiles.shape, bool)
        inside = region.clip(self.tiles.plane)
        if inside.area:
            touched[inside.scaled(1 / self.tiles.tile_px).slices] = True
        return touched

    @property
    def ranking(self) -> Ranking:
        """All scored tiles as they stand, the highest score first."""
        statistics = self._files.scores.statistics
        return Ranking(statistics, self.card.refinement_gain, self._no_dice, self.predictor)

    @property
    def predictor(self) -> DicePredictor | None:
        """Prediction of true Dice for this slide; None if it was not compared."""
        domain, check = self.card.domain, self.record.domain
        if domain is None or check is None or not check.features:
            return None
        return DicePredictor.of(domain.dice, check.features)

    @property
    def _no_dice(self) -> str:
        """Reason why no expected Dice is stated; empty if it is."""
        if not self.tissue_known:
            return "no tissue was searched yet"
        if not self.coarse_complete:
            return "the coarse pass is unfinished"
        if self.unfit:
            return self.unfit
        known = self._files.scores.statistics
        found = np.nansum(known.true_positives) + np.nansum(known.false_positives)
        # otherwise a ratio of nothing to nearly nothing
        return "" if found else "the coarse pass found no objects"

    @property
    def unfit(self) -> str:
        """Reason why measured quality says nothing about this slide; empty if there is none."""
        if self.card.is_onnx:
            return "nobody has calibrated the network's probabilities"
        if unfit := self.card.unfit_for(self.slide_mpp):
            return unfit
        check = self.record.domain
        return f"the slide is {check.text}" if check is not None and check.unlike else ""

    def select(self, selection: Selection, *, seconds_per_tile: float | None = None) -> Plan:
        """Turn a selection, its region on the fine grid, into a plan.

        Parameters
        ----------
        selection : Selection
            The tiles that are wanted.
        seconds_per_tile : float, optional
            Stage 2's time for a tile; a time budget needs it.
        """
        ranking, settled = self.ranking, self.settled
        region = None if selection.region is None else self.tiles_touching(selection.region)
        chosen = ranking.select(selection, seconds_per_tile, region, settled)
        if region is not None and selection == Selection(region=selection.region):
            # those that stage 1 could not read have no score: the slide may have been mended
            unseen = self._mask(self.failures) & np.isnan(self.scores)
            chosen = np.concatenate([chosen, np.flatnonzero(region & unseen)])
        return ranking.plan(selection, chosen, settled, seconds_per_tile)

    # -- pixels -------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> list[da.Array]:
        """Lazy (H, W) uint8 labels, one a level; level k is 2**k times as coarse as `grid`."""
        return [
            lazy_plane(partial(self.read_labels, level=level), shape, np.uint8)
            for level, shape in enumerate(self.level_shapes)
        ]

    def read_labels(self, box: Box, level: int = 0) -> NDArray[np.uint8]:
        """Labels of a box inside a level: edited, else refined, else upsampled coarse ones."""
        return self._files.read(lambda: self._files.store.read_labels(box, level))

    def read_logits(self, box: Box) -> NDArray[np.float16]:
        """Logits (K, height, width) of a box inside `coarse_grid`; NaN where there are none."""
        return self._files.store.read_logits(box)

    @cached_property
    def uncertainty(self) -> da.Array:
        """Lazy (H, W) float32 uncertainty on `coarse_grid`; 0 outside the tissue."""
        return lazy_plane(self.read_uncertainty, self.coarse_grid.shape, np.float32)

    @property
    def tells_objects_apart(self) -> bool:
        """Whether the model gave, beside the labels, what touching objects are told apart by."""
        return self._files.store.has_depth

    def read_depth(self, box: Box) -> NDArray[np.uint8]:
        """Depth inside objects of a box of the fine grid, if `tells_objects_apart`."""
        return self._files.store.read_depth(box)

    def read_painted(self, box: Box) -> NDArray[np.bool_]:
        """Pixels of a box of the fine grid whose labels the user painted."""
        return np.not_equal(self._files.store.read_edits(box), UNSET)

    def read_uncertainty(self, box: Box) -> NDArray[np.float32]:
        """Uncertainty of a box inside `coarse_grid`; 0 outside the tissue."""
        doubt = self._files.scores.pixel_scores.uncertainty(box)
        return np.asarray(np.nan_to_num(doubt, nan=0.0))

    @property
    def uncertainty_map(self) -> UncertaintyMap:
        """Mean uncertainty of small cells: small enough to view a whole slide."""
        return self._files.scores.uncertainty_map

    @property
    def tallies(self) -> TallyFiles:
        """Measurements of blocks that were kept; see `measure.tallies`."""
        return self._files.tallies

    def update_pyramid(self) -> None:
        """Rebuild, in memory, the levels of `labels` that a killed run left out of date."""
        self._files.store.pyramid.update()

    # -- the user's edits ---------------------------------------------------------------------

    @property
    def edit_boxes(self) -> list[Box]:
        """Box of each edit that stands, on the fine grid; the oldest first."""
        return [edit.box for edit in self._files.log.edits]

    def check_edit(self, box: Box, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Validate an edit as `edit` does, without changing anything; returns labels as uint8."""
        return self._files.edits.check(box, labels)

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
        LockedError
            If another process or window is writing.
        StorageError
            If the disk is full, gone or refuses; nothing has changed.
        """
        with self._files.changing():
            self._files.edits.add(box, labels)

    def undo_edit(self) -> bool:
        """Undo the last edit of this object, or that was there when it was opened.

        Returns
        -------
        bool
            False if there is none.

        Raises
        ------
        LockedError
            If another process or window is writing.
        SegmentationError
            If another window has edited the same place since.
        """
        return self.undoing.undo_edit()

    @cached_property
    def undoing(self) -> Undoing:
        """Undo and redo of edits and of refinement."""
        return Undoing(self._files)

    # -- the user's annotations ---------------------------------------------------------------

    def read_annotations(self) -> list[Annotation]:
        """Named regions that are kept with the result, as `annotations.geojson` has them."""
        return kept_annotations(self.path, self.record.slide.bounds)

    def save_annotations(self, annotations: Sequence[Annotation]) -> None:
        """Keep named regions with the result, in place of those that were.

        Raises
        ------
        LockedError
            If another process or window is writing.
        StorageError
            If the disk is full, gone or refuses.
        """
        with self._files.writing():
            save_annotations(self.path, annotations, self.record.slide.bounds)

    @property
    def other_writer(self) -> Owner | None:
        """The process or window that is writing this result; None if nobody else is."""
        return self._files.lock.other

    @property
    def events_taken(self) -> int:
        """Number of events that were recorded or followed: it grows with every change."""
        return self._files.log.events_taken

    def follow(self) -> None:
        """Take in what another process or window has recorded, as every read of labels does."""
        self._files.follow()

    def take_over(self) -> None:
        """Remove the lock of a process on another machine, which is known to be gone.

        Raises
        ------
        LockedError
            If a process of this machine holds it and runs.
        """
        self._files.lock.take_over()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by place: another process opens the folder, and its lazy labels share that."""
        slide = self._slide
        if slide is not None and slide.path is not None:
            recorded = self.record.slide.path
            slide = None if str(slide.path.absolute()) == recorded else slide
        made = f"{self.record.created} {self.record.slide.fingerprint} {self.record.model.sha256}"
        return _reopen, (type(self), self.path.absolute(), made, slide)

    def __repr__(self) -> str:
        height, width = self.grid.shape
        refined = int(self._files.log.refined.sum())
        return (
            f"<{type(self).__name__} of {self.name}: {height} × {width}, {refined} tiles refined>"
        )


def _reopen(kind: type[Result], path: Location, made: str, slide: Slide | None) -> Result:
    result: Result = _shared(kind, path, made)  # type: ignore[arg-type]  # a class is hashable
    if slide is not None:
        result.attach_slide(slide)
    return result


@lru_cache(maxsize=4)
def _shared(
    kind: type[Result],
    path: Location,
    made: str,  # noqa: ARG001 - tells a result that took the place of another
) -> Result:
    """Result that this process has opened for chunks that came from another."""
    return kind.open(path)


def opened(record: Record, slide: SlidePlace | None) -> Slide | None:
    """A slide that may be given as a path, opened as it was for the result."""
    if isinstance(slide, str | PathLike | Url):
        return open_as_before(record, slide)
    if slide is not None and not isinstance(slide, Slide):
        raise SlideError(
            f"a slide, or its path or URL, was expected; found {brief(slide)}; "
            "pass slide=open_slide(...)"
        )
    return slide
