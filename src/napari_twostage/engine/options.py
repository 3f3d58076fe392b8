"""The settings of a run, as one value."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - a reader of `RunKeywords` looks it up
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from numpy.typing import ArrayLike  # noqa: TC002

from napari_twostage.engine.checks import require_inside, require_picture, same_tissue
from napari_twostage.errors import SelectionError, SlideError, brief
from napari_twostage.geometry import Box
from napari_twostage.measure.objects import checked_least_object
from napari_twostage.method.selection import EVERYTHING, NOTHING, Selection
from napari_twostage.method.uncertainty import GAIN, MEASURES
from napari_twostage.result.layout import checked_polygons
from napari_twostage.result.record_parts import Parameters
from napari_twostage.slides.picture import Picture

if TYPE_CHECKING:
    from napari_twostage.geometry import Polygons
    from napari_twostage.models.card import ModelCard
    from napari_twostage.result.record import Record
    from napari_twostage.slides.base import Slide

Refine = Literal["selected", "none", "all"]


class RunKeywords(TypedDict, total=False):
    """The fields of `RunOptions` as keyword arguments of `segment` and `iter_segment`."""

    threshold: float | None
    fraction: float | None
    budget_s: float | None
    refine: Refine
    region: Box | Sequence[ArrayLike] | None
    tissue: bool | None
    uncertainty: str | None
    scene: int | str | None
    channel: int | str | None
    z: int | Literal["max"] | None
    t: int | None
    intensity: tuple[float, float] | None
    overwrite: bool
    take_over: bool
    least_object_um2: float | None


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
    region: Box | Sequence[ArrayLike] | None = None
    """Part of the slide's level 0 to segment. A box: only tiles that touch it, and all figures are
    of the box, to which the result is bound. Polygons with vertices (y, x): the coarse windows
    that they touch; later runs may add polygons, or the whole slide."""
    tissue: bool | None = None
    """True looks for tissue first, False segments everything; None looks for tissue on bright glass
    and segments everything of a dark field."""
    uncertainty: str | None = None
    """A name in `uncertainty.MEASURES`; the model's own if None."""
    scene: int | str | None = None
    """Scene of a slide that is given as a path; this and what follows as for `open_slide`."""
    channel: int | str | None = None
    """Channel of a slide that is given as a path or array."""
    z: int | Literal["max"] | None = None
    """Focal plane of a slide that is given as a path."""
    t: int | None = None
    """Time point of a slide that is given as a path."""
    intensity: tuple[float, float] | None = None
    """Pixel values shown as black and white, of a slide that is given as a path or array."""
    overwrite: bool = False
    """Replace an earlier result in the output folder."""
    take_over: bool = False
    """Remove the lock that a process of another machine left, which is known to be gone."""
    least_object_um2: float | None = None
    """Least area of objects in square micrometres; the result's or the model's own if None."""

    def __post_init__(self) -> None:
        _ = self.scope
        checked_least_object(self.least_object_um2)
        if not isinstance(self.tissue, bool | None):
            raise SelectionError(f"tissue must be True, False or None; found {self.tissue!r}")
        for name in ("overwrite", "take_over"):
            if not isinstance(getattr(self, name), bool):
                found = brief(getattr(self, name))
                raise SelectionError(
                    f"{name} must be True or False; found {found}; pass {name}=True, say"
                )
        try:
            _ = self.picture
        except SlideError as error:
            raise SelectionError(str(error)) from None
        if str(self.refine) not in get_args(Refine):
            raise SelectionError(
                f"refine must be 'selected', 'none' or 'all'; found {brief(self.refine)}; "
                "leave it out for 'selected'"
            )
        criterion = self._criterion
        if self.refine != "selected" and criterion != Selection():
            raise SelectionError(
                f"refine='{self.refine}' leaves no room for a criterion: found {criterion}"
            )
        names = (*MEASURES, GAIN)
        known = isinstance(self.uncertainty, str) and self.uncertainty in names
        if self.uncertainty is not None and not known:
            raise SelectionError(
                f"uncertainty {brief(self.uncertainty)} is unknown; known: {', '.join(names)}"
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
    def picture(self) -> Picture:
        """Picture of a slide that is given as a path or array."""
        return Picture(
            scene=self.scene, channel=self.channel, z=self.z, t=self.t, intensity=self.intensity
        )

    @property
    def scope(self) -> Polygons:
        """Polygons of level 0 that the coarse pass is asked for; none for the box, or the slide."""
        if self.region is None or isinstance(self.region, Box):
            return ()
        return checked_polygons(self.region)

    @property
    def _criterion(self) -> Selection:
        return Selection(threshold=self.threshold, fraction=self.fraction, budget_s=self.budget_s)

    def selection(self, card: ModelCard) -> Selection:
        """The tiles to refine: those asked for, else those above the model's own threshold."""
        if self.refine != "selected":
            return NOTHING if self.refine == "none" else EVERYTHING
        given = self._criterion
        return Selection(threshold=card.default_threshold) if given == Selection() else given

    def fit(self, record: Record) -> bool:
        """Whether a coarse pass goes on with a result: same search for tissue, same measure."""
        uncertainty = self.uncertainty or record.card.uncertainty
        return same_tissue(record, self.tissue) and record.parameters.uncertainty == uncertainty

    def parameters(self, slide: Slide, card: ModelCard) -> Parameters:
        """The settings that a result folder is bound to.

        Raises
        ------
        SelectionError
            If the region lies outside the slide, the slide was opened as another picture than
            these settings ask for, or the model does not give the uncertainty.
        """
        require_picture(slide, self.picture)
        if self.uncertainty is not None and self.uncertainty not in card.measures:
            raise SelectionError(
                f"model {card.name} has no uncertainty {self.uncertainty}; "
                f"take one of {', '.join(card.measures)}"
            )
        shape = slide.level_shapes[0]
        return Parameters(
            tissue=self.tissue,
            region=require_inside(self.region, shape) if isinstance(self.region, Box) else None,
            uncertainty=self.uncertainty or card.uncertainty,
            picture=slide.picture,
        )
