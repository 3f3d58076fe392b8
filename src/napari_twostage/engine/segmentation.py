"""A result with its model, which can be refined."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Self

from napari_twostage.engine.checks import require_executor, require_inside, require_model
from napari_twostage.engine.progress import watch
from napari_twostage.engine.runner import run
from napari_twostage.errors import SegmentationError, SelectionError
from napari_twostage.geometry import Box
from napari_twostage.method.pipeline import no_focus, open_gate
from napari_twostage.method.selection import Plan, Selection
from napari_twostage.models import load_model
from napari_twostage.result.result import Result, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike

    from napari_twostage.engine.executor import Executor
    from napari_twostage.io.paths import Location
    from napari_twostage.method.pipeline import Focus, Gate
    from napari_twostage.method.steps import Step
    from napari_twostage.models.model import Model
    from napari_twostage.result.record import Record
    from napari_twostage.result.result import SlidePlace
    from napari_twostage.slides.base import Slide


class Segmentation(Result):
    """A two-stage segmentation of one slide, in a folder.

    Made by `segment`, opened again by `open`. Everything can be read while a run goes on.

    Parameters
    ----------
    path : Path or Url
        The result folder, which must exist.
    record : Record
        Content of its `record.json`.
    slide : Slide, optional
        The slide, if it is open already or was an array.
    model : Model, optional
        The model, if it is loaded already.
    """

    def __init__(
        self,
        path: Location,
        record: Record,
        *,
        slide: Slide | None = None,
        model: Model | None = None,
    ) -> None:
        super().__init__(path, record, slide=slide)
        self._model: Model | None = None
        if model is not None:
            self.attach_model(model)

    @classmethod
    def open(
        cls, path: str | Location, *, slide: SlidePlace | None = None, model: Model | None = None
    ) -> Self:
        """Open a result folder.

        Parameters
        ----------
        path : path or URL
            A folder that `segment` wrote.
        slide : Slide, path or URL, optional
            Needed to resume if the slide was an array or has moved.
        model : Model, optional
            Needed to resume if the model's folder has moved.

        Raises
        ------
        SegmentationError
            If the folder is no result, or slide or model are not those it was made with.
        """
        place, record = cls._read(path)
        if model is not None:
            require_model(model)
        seg = cls(place, record, slide=opened(record, slide), model=model)
        seg._files.tell_damage()
        return seg

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
            return self.attach_model(load_model(self.record.model.source))
        return self._model

    def attach_model(self, model: Model) -> Model:
        """Use this model, which must be the one that the result was made with.

        Its precision is the one that the result was begun in, unless it was loaded with another.
        """
        made_with = self.record.model
        if model.bundle.sha256 != made_with.sha256:
            raise SegmentationError(
                f"{self.path} was made with another model than {model.card.name} "
                f"{model.card.version}: {made_with.name} {made_with.version}, "
                f"sha256 {made_with.sha256[:12]}; choose another output folder"
            )
        begun = self.record.precision
        if begun not in (None, model.compute.precision):
            model = model.in_precision_of(begun)
        self._model = model
        return model

    def plan(
        self,
        threshold: float | None = None,
        *,
        fraction: float | None = None,
        budget_s: float | None = None,
        n_tiles: int | None = None,
        region: Box | Sequence[ArrayLike] | None = None,
    ) -> Plan:
        """Predict the cost and the gain of refining a selection; nothing is computed.

        Parameters
        ----------
        threshold : float, optional
            Tiles that score above it.
        fraction : float, optional
            The top share of scored tiles, in [0, 1].
        budget_s : float, optional
            The top tiles that can be refined in this many seconds.
        n_tiles : int, optional
            This many of the top tiles that are not refined yet.
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
            region=None if region is None else self.to_fine(self._inside(region)),
        )
        if selection == Selection():
            raise SelectionError("give one of threshold, fraction, budget_s, n_tiles, or a region")
        return self.select(selection, seconds_per_tile=self.model.seconds_per_tile)

    def _inside(self, region: Box | Sequence[ArrayLike]) -> Box | Sequence[ArrayLike]:
        """A region of level 0 that is on the slide."""
        shape = self.record.slide.level_shapes[0]
        return require_inside(region, shape) if isinstance(region, Box) else region

    @property
    def seconds_per_tile(self) -> float | None:
        """Stage 2's time for a tile, from the last run on this machine; None if there was none."""
        for past in reversed(self.record.runs):
            if past.refined and past.machine == platform.node() and past.workers is None:
                return past.seconds["refine"] / past.refined
        return None

    def iter_refine(
        self,
        wanted: Plan | Selection,
        *,
        focus: Focus = no_focus,
        gate: Gate = open_gate,
        cluster: Executor | None = None,
    ) -> Iterator[Step]:
        """Refine step by step; see `runner.run`."""
        return run(self, self.model, wanted, focus=focus, gate=gate, executor=cluster)

    def refine(
        self,
        plan: Plan | Selection,
        *,
        progress: bool | Callable[[Step], None] | None = None,
        cluster: Executor | None = None,
    ) -> Self:
        """Refine the tiles of a plan, after what is left of the coarse pass.

        Parameters
        ----------
        plan : Plan or Selection
            From `plan`.
        progress : bool or callable, optional
            True shows bars on stderr; a callable is given each step.
        cluster : Executor, optional
            From `distributed.connect`: processes that compute instead of this one.
        """
        require_executor(cluster)
        if not isinstance(plan, Plan | Selection):
            raise SelectionError(
                f"expected a plan or a selection; found {plan!r}; "
                "write seg.refine(seg.plan(fraction=0.2)), say"
            )
        self.repair()
        watch(self.iter_refine(plan, cluster=cluster), progress)
        return self
