"""Writing a run's results: pixels first, then the event that records them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.tissue import mask_area_mm2
from napari_twostage.result.journal_events import (
    PyramidFlushed,
    TilesAccepted,
    TilesFailed,
    TilesRefined,
    WindowDone,
)
from napari_twostage.result.label_store import SURE, sure_background
from napari_twostage.result.record_parts import SlideRecord, TissueRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid, Polygons
    from napari_twostage.method.artefacts import Artefact
    from napari_twostage.method.domain import DomainCheck
    from napari_twostage.method.steps import CoarseWindowDone
    from napari_twostage.method.tiling import Tile
    from napari_twostage.method.tissue import Tissue
    from napari_twostage.result.record_parts import RunRecord
    from napari_twostage.result.result_files import ResultFiles
    from napari_twostage.result.tile_scores import WindowScores
    from napari_twostage.slides.base import Slide


class RunWriter:
    """The side of a result that runs write to; `Result.writer` makes it.

    Parameters
    ----------
    files : ResultFiles
        The opened folder.
    """

    def __init__(self, files: ResultFiles) -> None:
        self._files = files

    def save_tissue(
        self, tissue: Tissue, tiles: NDArray[np.bool_], intensity_range: tuple[float, float]
    ) -> None:
        """Keep the tissue, and the tiles that follow from it."""
        record = self._files.record
        slide, measured = Box(0, 0, *record.slide.level_shapes[0]), record.measured_box
        found = TissueRecord(
            searched=tissue.searched,
            bright_field=tissue.bright_field,
            area_mm2=mask_area_mm2(tissue.measured, tissue.grid, measured),
            tiles=int(tiles.sum()),
            intensity_range=intensity_range,
            slide_mm2=mask_area_mm2(tissue.measured, tissue.grid, slide),
            left_out_mm2=mask_area_mm2(tissue.left_out, tissue.grid, measured) or None,
            artefacts_mm2=self._areas(tissue.artefacts, tissue.grid, tissue.looked_for),
        )
        self._files.write_record(replace(record, tissue=found))
        self._files.scores.save_tissue(tissue, tiles)

    def save_artefacts(self, found: NDArray[np.uint8], kinds: Sequence[Artefact]) -> None:
        """Keep artefacts that are tissue, once `save_tissue` has kept that.

        Parameters
        ----------
        found : (H, W) uint8 array
            `Artefact` of each pixel of `Result.tissue_mask`, or 0.
        kinds : sequence of Artefact
            Those that were looked for.
        """
        record, known = self._files.record, self._files.record.tissue
        if known is None:  # repaired meanwhile: the next run looks for all of it again
            return
        _, grid = self._files.scores.tissue_mask
        self._files.scores.add_artefacts(found)
        areas = {**(known.artefacts_mm2 or {}), **self._areas(found, grid, kinds)}
        self._files.write_record(replace(record, tissue=replace(known, artefacts_mm2=areas)))

    def _areas(
        self, artefacts: NDArray[np.uint8], grid: Grid, kinds: Sequence[Artefact]
    ) -> dict[str, float]:
        """Square millimetres of artefacts by name, in the part that figures are of."""
        box = self._files.record.measured_box
        return {kind.words: mask_area_mm2(artefacts == kind, grid, box) for kind in kinds}

    def save_domain(self, check: DomainCheck) -> None:
        """Keep the comparison with the training images."""
        self._files.write_record(replace(self._files.record, domain=check))

    def write_window(self, step: CoarseWindowDone) -> tuple[WindowScores, dict[Tile, str]]:
        """Write the pixels of a coarse window; `record_window` makes them part of the result.

        Parameters
        ----------
        step : CoarseWindowDone
            Output of stage 1; kept for tiles with tissue only. Pen marks become background.

        Returns
        -------
        scores : WindowScores
            Statistics and uncertainty of its tiles, for `record_window`.
        unreadable : dict of tile to str
            Unreadable tiles that hold tissue.
        """
        layout, tissue = self._files.layout, self._files.scores.tissue
        core, logits, unreadable = step.core, step.logits.copy(), step.unreadable
        gain = None if step.gain is None else step.gain.copy()
        if (marks := self._marks(core, layout.coarse)) is not None:
            logits[:, marks] = sure_background(len(logits))[:, 0]
            if gain is not None:
                gain[marks] = -SURE
        for tile in layout.tiles.touching(layout.fine_box(core)):
            if not tissue[tile] or tile in unreadable:
                place = layout.coarse_box(tile).shift(-core.top, -core.left)
                logits[:, *place.slices] = np.nan
        lost = {tile: why for tile, why in unreadable.items() if tissue[tile]}
        self._files.store.write_window(core, logits, step.depth, gain)
        return self._files.scores.of_window(logits, gain), lost

    def record_window(
        self,
        core: Box,
        scores: WindowScores,
        unreadable: dict[Tile, str],
        *,
        in_pyramid: bool = False,
    ) -> None:
        """Record a coarse window whose pixels are written."""
        self._files.scores.window_done(core, scores)
        self._files.store.mark_window(core)
        self._files.log.record(WindowDone(core, unreadable, in_pyramid))

    def finish_coarse_pass(self) -> None:
        """Keep the statistics of all tiles: the coarse pass is complete."""
        self._files.log.commit()
        self._files.scores.save_statistics()

    def squares(self, core: Box, labels: NDArray[np.uint8]) -> dict[Tile, NDArray[np.uint8]]:
        """Labels of a chip's core, by tile: full squares, also beyond the slide's edge.

        Pen marks become background.
        """
        if (marks := self._marks(core, self._files.layout.fine)) is not None:
            labels = np.where(marks, 0, labels).astype(np.uint8)
        return self._by_tile(core, labels)

    def depths(self, core: Box, depth: NDArray[np.uint8] | None) -> dict[Tile, NDArray[np.uint8]]:
        """Depth inside objects of a chip's core, by tile; empty if there is none."""
        return {} if depth is None else self._by_tile(core, depth)

    def _by_tile(self, core: Box, pixels: NDArray[np.uint8]) -> dict[Tile, NDArray[np.uint8]]:
        size = self._files.layout.tiles.tile_px
        return {
            (box.top // size, box.left // size): pixels[box.shift(-core.top, -core.left).slices]
            for box in core.blocks(size)
        }

    def _marks(self, box: Box, grid: Grid) -> NDArray[np.bool_] | None:
        """Pixels of a box on a grid whose centres lie on pen marks and the like; None if none."""
        found = self._files.scores.left_out
        if found is None:
            return None
        mask, over = found
        rows, columns = (
            ((np.arange(*edges) + 0.5) * step / size).astype(int).clip(0, length - 1)
            for edges, step, size, length in zip(
                ((box.top, box.bottom), (box.left, box.right)),
                grid.downsample,
                over.downsample,
                mask.shape,
                strict=True,
            )
        )
        inside = mask[np.ix_(rows, columns)]
        return inside if inside.any() else None

    def write_tile(
        self, tile: Tile, labels: NDArray[np.uint8], depth: NDArray[np.uint8] | None = None
    ) -> None:
        """Write the refined pixels of a tile's full square; `record_refined` makes them count."""
        self._files.store.write_tile(tile, labels, depth)

    def write_tiles(
        self,
        squares: Mapping[Tile, NDArray[np.uint8]],
        depths: Mapping[Tile, NDArray[np.uint8]] | None = None,
    ) -> None:
        """Write several tiles, also while another process writes the same ones."""
        self._files.store.write_tiles(squares, depths)

    def record_refined(self, tiles: Sequence[Tile]) -> None:
        """Record refined tiles whose pixels are written."""
        self._files.log.record(TilesRefined(tuple(tiles)))

    def record_failed(self, tiles: Sequence[Tile], reason: str) -> None:
        """Record tiles that could not be refined."""
        self._files.log.record(TilesFailed(tuple(tiles), reason))

    def record_accepted(self, tiles: Sequence[Tile], *, taken_back: bool = False) -> None:
        """Record tiles that the user left as they are, or took that back; at once on disk."""
        with self.writing():
            self._files.log.record(TilesAccepted(tuple(tiles), taken_back), at_once=True)

    def record_run(self, run: RunRecord) -> None:
        """Put a run into the record: when it begins, and again when it ends."""
        self._files.write_record(self._files.record.with_run(run))

    def record_slide(self, slide: Slide) -> None:
        """Put the place where the slide was found into the record, if it is another one."""
        if slide.path is None:
            return
        record = self._files.record
        found = SlideRecord.of(slide, self._files.path)
        moved = replace(record.slide, path=found.path, seen_from_result=found.seen_from_result)
        if moved != record.slide:
            self._files.write_record(replace(record, slide=moved))

    def record_least_object(self, area_um2: float) -> None:
        """Put the least area of objects into the record, in square micrometres."""
        with self.writing():
            record = replace(self._files.record, least_object_um2=area_um2)
            self._files.write_record(record)

    def record_scope(self, scope: Polygons) -> None:
        """Put the part of the slide to segment into the record; see `Record.scope`."""
        with self.writing():
            # first, as it lacks the tiles that come: after a crash it is computed again
            self._files.scores.remove_statistics()
            self._files.write_record(replace(self._files.record, scope=scope))

    def writing(self) -> AbstractContextManager[None]:
        """Be the one writer of the folder; see `ResultFiles.writing`."""
        return self._files.writing()

    def commit(self) -> None:
        """Put all that is recorded on the disk; otherwise it gets there within a second."""
        self._files.log.commit()

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the label pyramid buffered in memory, not yet flushed."""
        return self._files.store.pyramid.buffered_bytes

    def flush(self) -> None:
        """Write the buffered levels of `Result.labels`; readers see them up to date anyway."""
        self._files.flush()

    # -- what processes of a cluster share ------------------------------------------------------

    def detach(self, box: Box, step: int) -> dict[int, NDArray[np.uint8]]:
        """Write this box only from now on; see `LabelPyramid.detach`."""
        return self._files.store.pyramid.detach(box, step)

    def flush_detached(self) -> None:
        """Flush the box of `detach` to the disk; the owner of the run records it."""
        self._files.store.pyramid.flush()
        self._files.log.commit()

    def follow(self) -> None:
        """Take in what the owner of the run has recorded."""
        self._files.follow(writing=True)

    def record_partition(
        self,
        box: Box,
        shared: dict[int, NDArray[np.uint8]],
        *,
        refined: Sequence[Tile] = (),
    ) -> None:
        """Record a box that another process has written.

        Parameters
        ----------
        box : Box
            Box of the fine grid.
        shared : dict of int to uint8 array
            Labels of the box at the levels that processes share, from `detach`.
        refined : sequence of Tile
            Tiles that the process refined.
        """
        self._files.store.pyramid.attach(box, shared)
        if refined:
            self._files.log.record(TilesRefined(tuple(refined)))
            self._files.log.record(PyramidFlushed())
            self._files.store.mark_written(self._files.log.refined, self._files.log.windows)
