"""Live state of one slide: what is open, what was computed, what runs now.

No Qt, no napari: a panel, a notebook or a script calls the same methods and listens to the same
signals. Everything is called from one thread, the owner's. Work runs in threads of the session,
and its news wait until the owner calls `Session.poll`, which takes them into the state and emits
the signals: state changes in one place, and listeners never meet a thread.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate
from napari_twostage.method.selection import Forecast, Selection
from napari_twostage.method.uncertainty import expected_wrong_px
from napari_twostage.models.bundle import Bundle, read_bundle
from napari_twostage.result.layout import UNSET
from napari_twostage.session import tasks
from napari_twostage.session.events import RunState
from napari_twostage.session.script import script
from napari_twostage.session.state import SessionCore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.io.paths import Location
    from napari_twostage.models.model import Model
    from napari_twostage.session.jobs import Job
    from napari_twostage.slides.base import Slide

    Begin = Callable[[Job], Iterator[object]]

EDIT_PX = 4096
"""Side of the largest place that can be edited at once."""


class Session(SessionCore):
    """Everything one can do with one slide.

    Parameters
    ----------
    device, precision : str
        What models run on; see `load_model`.

    Examples
    --------
    >>> import napari_twostage as ts
    >>> session = ts.Session()  # doctest: +SKIP
    >>> session.set_slide(ts.open_slide("slide.svs"))  # doctest: +SKIP
    >>> session.set_model("nuclei")  # doctest: +SKIP
    >>> session.run_coarse()  # doctest: +SKIP
    >>> session.wait().refine_uncertain()  # doctest: +SKIP
    """

    # -- what to work on ---------------------------------------------------------------------

    def set_slide(self, slide: Slide | None) -> None:
        """Work on this slide from now on; what ran on another one is cancelled."""
        self.leave()
        self.slide = slide
        self.slide_changed.emit()
        self._look_for_result()

    def set_model(self, model: str | Path | Bundle | Model) -> None:
        """Use this model from now on: a bundled name, a bundle's path, or one that is loaded.

        Raises
        ------
        ModelError
            If it is none of these.
        """
        if isinstance(model, str | Path):
            model = read_bundle(model)
        self.leave()
        if isinstance(model, Bundle):
            self._bundle = model
        else:
            self._bundle = model.bundle
            self._shelf.put(model)
        self.card = self._bundle.card
        self.uncertainty = None
        self._threshold = self.card.default_threshold
        self.model_changed.emit()
        self._look_for_result()

    def set_out(self, path: str | Location) -> None:
        """Keep results of this slide with this model in this folder; one that is there is opened.

        Raises
        ------
        SelectionError
            If slide or model are missing.
        """
        self._inputs()
        self.leave()
        self.out = locate(path).expanduser().absolute()
        self._look_for_result(self.out)

    def open_result(self, path: str | Location) -> None:
        """Go on with a result folder: its slide must be set, its model comes from its record.

        Raises
        ------
        SegmentationError
            If the folder is no result, or of another slide.
        ModelError
            If its model is no longer where it was.
        """
        seg = Segmentation.open(path, slide=self.slide)
        self.leave()
        self.out = seg.path
        self._bundle = read_bundle(seg.record.model.source)
        self.card = self._bundle.card
        self._threshold = self.card.default_threshold
        self.model_changed.emit()
        self._look_for_result(seg.path)

    def look_at(self, view: Box | None) -> None:
        """Say what is being looked at, a box of the slide's level 0: it is computed first."""
        self._view = view

    def get_ready(self) -> None:
        """Load the model and warm it up, in a thread, so that the first run begins sooner."""
        if (bundle := self._bundle) is not None:
            self._do("get ready", lambda _job: tasks.get_ready(bundle, self._shelf))

    def set_options(self, *, tissue_only: bool = True, uncertainty: str | None = None) -> None:
        """Choose how the next coarse pass works; a result made otherwise is left as it is."""
        self.tissue_only, self.uncertainty = tissue_only, uncertainty

    # -- running -----------------------------------------------------------------------------

    @property
    def model_source(self) -> str | None:
        """Where the model came from: a bundled name, or a path."""
        return None if self._bundle is None else self._bundle.source

    def run_coarse(self) -> None:
        """Segment the tissue coarsely; goes on where an earlier pass was left.

        Raises
        ------
        SelectionError
            If slide or model are missing, or something runs.
        """
        slide, bundle = self._inputs()
        steps = partial(
            tasks.coarse,
            slide,
            bundle,
            self.out,
            self.seg,
            self._shelf,
            tissue_only=self.tissue_only,
            uncertainty=self.uncertainty or bundle.card.uncertainty,
            view=lambda: self._view,
        )
        self._start("coarse", lambda job: steps(job=job), RunState.COARSE)

    def refine(self, selection: Selection) -> None:
        """Refine the tiles of a selection, its region on the fine grid."""
        if not self.coarse_done:
            raise SelectionError("there is no coarse result yet; run Coarse first")
        seg, (_, bundle) = self._result, self._inputs()
        steps = partial(tasks.refine, seg, bundle, self._shelf, selection, lambda: self._view)
        self._start("refine", lambda job: steps(job=job), RunState.REFINING)

    def refine_uncertain(self) -> None:
        """Refine the tiles that score above the threshold."""
        self.refine(Selection(threshold=self.threshold))

    def refine_region(self, region: Box | Sequence[ArrayLike]) -> None:
        """Refine all tiles that touch a box, or one of some polygons, of the slide's level 0."""
        self.refine(Selection(region=self._result.to_fine(region)))

    def refine_next(self, n_tiles: int = 20) -> None:
        """Refine the most uncertain tiles that are left."""
        self.refine(Selection(n_tiles=n_tiles))

    def pause(self) -> None:
        """Wait after the chip at work."""
        if self._run and not self._run.cancelled:
            self._run.pause()
            self._clock.pause()
            self._enter(RunState.PAUSED)

    def resume(self) -> None:
        """Go on after a pause."""
        if self._run and self._run.paused:
            self._run.resume()
            self._clock.resume()
            self._enter(self._run_state)

    def cancel(self) -> None:
        """Stop after the batch at work; what is done is kept, and edits are still written."""
        for job in [*([self._run] if self._run else []), *self._tasks]:
            job.cancel()
        if self._run:
            self._enter(RunState.CANCELLING)

    # -- what refining would bring -----------------------------------------------------------

    @property
    def threshold(self) -> float:
        """Tiles that score above it are refined by `refine_uncertain`."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = float(value)
        self.forecast_changed.emit()

    @property
    def expected_wrong_px(self) -> float | None:
        """The threshold in words: tiles with more pixels expected wrong than this are refined.

        Pixels of the slide at the model's fine pixel size; None without a model, or if its
        uncertainty does not state them.
        """
        if self.card is None:
            return None
        return expected_wrong_px(self.card.uncertainty, self._threshold, self.card.tile_px)

    @property
    def forecast(self) -> Forecast | None:
        """What refining above the threshold would cost and bring; None before the coarse pass."""
        return None if self.curve is None else self.curve.at(self._threshold)

    def next_place(self) -> Box:
        """The most uncertain tile not refined and not shown yet, on the slide's level 0.

        Raises
        ------
        SelectionError
            If there is none.
        """
        seg = self._result
        left = np.where(seg.refined, np.nan, seg.scores).ravel()
        left[list(self._visited)] = np.nan
        if np.isnan(left).all():
            self._visited.clear()
            raise SelectionError("every tile was refined or shown; the next call starts over")
        tile = int(np.nanargmax(left))
        self._visited.add(tile)
        row, column = divmod(tile, seg.tiles.shape[1])
        return seg.tiles.box((row, column)).scaled(seg.grid.downsample)

    # -- correcting --------------------------------------------------------------------------

    def edit(self, place: Box) -> None:
        """Begin to edit a box of the slide's level 0; `edit_started` brings its labels.

        Raises
        ------
        SelectionError
            If it is larger than `EDIT_PX` on a side, empty, or another edit is open.
        """
        seg = self._result
        if self.editing is not None or self.reading_edit:
            raise SelectionError("another edit is open; commit or discard it first")
        box = seg.box_to_fine(place)
        if not box.area:
            raise SelectionError("the place lies outside the slide; move the view to the slide")
        if max(box.shape) > EDIT_PX:
            raise SelectionError(
                f"the place has {box.height:,} × {box.width:,} pixels, at most "
                f"{EDIT_PX:,} × {EDIT_PX:,} can be edited at once; zoom in"
            )

        self.reading_edit = True
        self._do("edit", lambda _job: tasks.read_patch(seg, box))

    def commit_edit(self, labels: NDArray[np.uint8]) -> None:
        """Write the pixels that were changed back as the user's; the edit ends once they are.

        Parameters
        ----------
        labels : (height, width) uint8 array
            Of the open `editing` patch.

        Raises
        ------
        SelectionError
            If no edit is open, or it is being written already.
        SegmentationError
            If the shape or a value does not fit.
        """
        seg, patch = self._result, self._patch
        if self.writing_edit:
            raise SelectionError("the edit is being written already; wait a moment")
        labels = seg.check_edit(patch.box, labels)
        changed = labels != patch.labels
        if not changed.any():
            self.discard_edit()
            self.say("nothing was changed, so nothing was written")
            return
        part = Box.around(changed)
        pixels = np.where(changed, labels, np.uint8(UNSET))[part.slices]
        box = part.shift(patch.box.top, patch.box.left)
        self.writing_edit = True
        self._do("commit", lambda _job: tasks.write_edit(seg, box, pixels), whole=True)

    def discard_edit(self) -> None:
        """End the edit and forget it."""
        self.editing = None
        self.edit_ended.emit()

    def undo_edit(self) -> None:
        """Take back the last edit as one step."""
        seg = self._result
        self._do("undo", lambda _job: tasks.undo(seg), whole=True)

    # -- results -----------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure areas and count objects of each class; `measured` brings them."""
        seg = self._result
        self._do("measure", lambda job: tasks.measure(seg, job))

    def export(self, path: str | Location) -> None:
        """Write the result in the format that the name asks for; see `export.export`."""
        seg = self._result
        self._do("export", lambda job: tasks.write_file(seg, locate(path), job))

    def as_python(self) -> str:
        """The script that makes this result again, without a window."""
        return script(self._result)

    def _inputs(self) -> tuple[Slide, Bundle]:
        if self.slide is None:
            raise SelectionError("there is no slide; open one and choose it in the panel first")
        if self._bundle is None:
            raise SelectionError("there is no model; choose one first")
        return self.slide, self._bundle
