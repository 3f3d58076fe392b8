"""The settings of a run, as one value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from napari_twostage.engine.checks import require_inside
from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.method.selection import EVERYTHING, NOTHING, Selection
from napari_twostage.method.uncertainty import MEASURES
from napari_twostage.result.record import Parameters

if TYPE_CHECKING:
    from napari_twostage.models.card import ModelCard
    from napari_twostage.slides.base import Slide

Refine = Literal["selected", "none", "all"]


class RunKeywords(TypedDict, total=False):
    """The fields of `RunOptions` as keyword arguments of `segment` and `iter_segment`."""

    threshold: float | None
    fraction: float | None
    budget_s: float | None
    refine: Refine
    region: Box | None
    tissue: bool | None
    uncertainty: str | None
    channel: int | str | None
    overwrite: bool
    take_over: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """The settings of a run.

    Raises
    ------
    SelectionError
        If two of them contradict each other, or one is unknown or out of its range.
    """

    threshold: float | None = None
    """Refine tiles that score above it; the model's own threshold if no criterion is given."""
    fraction: float | None = None
    """Refine the top share of the tiles, in [0, 1]."""
    budget_s: float | None = None
    """Refine the top tiles that fit in this many seconds."""
    refine: Refine = "selected"
    """``selected``, ``none`` (stage 1 only) or ``all``."""
    region: Box | None = None
    """Segment only tiles that touch this box of the slide's level 0."""
    tissue: bool | None = None
    """True looks for tissue first, False segments everything; None looks for tissue on bright glass
    and segments everything of a dark field."""
    uncertainty: str | None = None
    """A name in `uncertainty.MEASURES`; the model's own if None."""
    channel: int | str | None = None
    """Channel of a fluorescence slide that is given as a path or array."""
    overwrite: bool = False
    """Replace an earlier result in the output folder."""
    take_over: bool = False
    """Remove the lock that a process of another machine left, which is known to be gone."""

    def __post_init__(self) -> None:
        if self.region is not None and not isinstance(self.region, Box):
            raise SelectionError(
                f"region must be a Box(top, left, bottom, right) of level 0; found {self.region!r}"
            )
        if not isinstance(self.tissue, bool | None):
            raise SelectionError(f"tissue must be True, False or None; found {self.tissue!r}")
        for name in ("overwrite", "take_over"):
            if not isinstance(getattr(self, name), bool):
                raise SelectionError(f"{name} must be True or False; found {getattr(self, name)!r}")
        if isinstance(self.channel, bool) or not isinstance(self.channel, int | str | None):
            raise SelectionError(f"channel must be a number or a name; found {self.channel!r}")
        if self.refine not in get_args(Refine):
            raise SelectionError(f"refine must be selected, none or all; found '{self.refine}'")
        criterion = self._criterion
        if self.refine != "selected" and criterion != Selection():
            raise SelectionError(
                f"refine='{self.refine}' leaves no room for a criterion: found {criterion}"
            )
        if self.uncertainty is not None and self.uncertainty not in list(MEASURES):
            raise SelectionError(
                f"uncertainty '{self.uncertainty}' is unknown; known: {', '.join(MEASURES)}"
            )

    @classmethod
    def from_keywords(cls, keywords: RunKeywords) -> RunOptions:
        """Take the keyword arguments of `segment`.

        Raises
        ------
        TypeError
            If one is unknown.
        """
        known = [entry.name for entry in fields(cls)]
        if unknown := [name for name in keywords if name not in known]:
            raise TypeError(f"unknown argument {', '.join(unknown)}; known: {', '.join(known)}")
        return cls(**keywords)

    @property
    def _criterion(self) -> Selection:
        return Selection(threshold=self.threshold, fraction=self.fraction, budget_s=self.budget_s)

    def selection(self, card: ModelCard) -> Selection:
        """The tiles to refine: those asked for, else those above the model's own threshold."""
        if self.refine != "selected":
            return NOTHING if self.refine == "none" else EVERYTHING
        given = self._criterion
        return Selection(threshold=card.default_threshold) if given == Selection() else given

    def parameters(self, slide: Slide, card: ModelCard) -> Parameters:
        """The settings that a result folder is bound to.

        Raises
        ------
        SelectionError
            If the region lies outside the slide.
        """
        shape = slide.level_shapes[0]
        return Parameters(
            tissue=self.tissue,
            region=None if self.region is None else require_inside(self.region, shape),
            uncertainty=self.uncertainty or card.uncertainty,
            channel=slide.channel if self.channel is None else self.channel,
        )
