"""Segment a slide in two stages: the front door of the engine."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.engine.runner import run, watch
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import SegmentationError, SelectionError, SlideError
from napari_twostage.geometry import Box, Grid
from napari_twostage.io.paths import locate, remove_tree, vacant
from napari_twostage.method.selection import EVERYTHING, NOTHING, Selection
from napari_twostage.method.uncertainty import MEASURES
from napari_twostage.models import load_model
from napari_twostage.result.record import FILE, read_record
from napari_twostage.slides import open_slide
from napari_twostage.slides.base import Slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage.distributed.cluster import Cluster
    from napari_twostage.io.paths import Location
    from napari_twostage.method.pipeline import Focus
    from napari_twostage.method.steps import Step
    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.model import Model
    from napari_twostage.slides.arrays import ArrayLike

Refine = Literal["selected", "none", "all"]


def prepare(
    slide: Slide | str | Location | ArrayLike,
    model: Model | str | Path,
    out: str | Location,
    *,
    region: Box | None = None,
    tissue: bool = True,
    uncertainty: str | None = None,
    channel: int | str | None = None,
    overwrite: bool = False,
) -> Segmentation:
    """Make or open the result folder of a run; computes nothing.

    Parameters are those of `segment`.

    Raises
    ------
    SegmentationError
        If `out` holds another result, or something else.
    """
    opened, loaded = _inputs(slide, model, channel)
    measure = uncertainty or loaded.card.uncertainty
    if measure not in MEASURES:
        raise SelectionError(f"uncertainty '{measure}' is unknown; known: {', '.join(MEASURES)}")
    box = None if region is None else region.clip(opened.level_shapes[0])
    if box is not None and not box.area:
        raise SelectionError(f"{region} lies outside the slide of {opened.level_shapes[0]} pixels")
    parameters = {
        "tissue": tissue,
        "region": None if box is None else [box.top, box.left, box.bottom, box.right],
        "uncertainty": measure,
        "channel": opened.channel if channel is None else channel,
    }
    path = locate(out).expanduser().absolute()
    if path.exists() and (overwrite or vacant(path)):
        _remove(path)
    if path.exists():
        return _resume(path, opened, loaded, parameters)
    path.parent.mkdir(parents=True, exist_ok=True)
    return Segmentation.create(path, opened, loaded, working_grid(opened, loaded.card), parameters)


def iter_segment(
    slide: Slide | str | Location | ArrayLike,
    model: Model | str | Path,
    out: str | Location,
    *,
    threshold: float | None = None,
    fraction: float | None = None,
    budget_s: float | None = None,
    refine: Refine = "selected",
    cluster: Cluster | None = None,
    **options: Any,  # noqa: ANN401 - those of `prepare`
) -> Iterator[Step]:
    """Segment step by step; parameters as for `segment`.

    Nothing runs until the first step is asked for; closing the iterator cancels, and calling
    again with the same arguments goes on.
    """
    wanted = wanted_tiles(threshold, fraction, budget_s, refine)
    seg = prepare(slide, model, out, **options)
    yield from carry_out(seg, wanted or model_choice(seg), cluster=cluster)


def carry_out(
    seg: Segmentation,
    wanted: Selection,
    *,
    focus: Focus | None = None,
    cluster: Cluster | None = None,
) -> Iterator[Step]:
    """Run what is left of both stages; where there is nothing to segment, leave no folder behind.

    Parameters
    ----------
    seg : Segmentation
        From `prepare`, or opened.
    wanted : Selection
        What to refine.
    focus : callable, optional
        See `pipeline.Work`.
    cluster : Cluster, optional
        See `segment`.
    """
    fresh = not seg.tissue_known
    try:
        yield from run(seg, wanted, focus=focus, cluster=cluster)
    except SlideError:
        if fresh and not seg.tissue_known:
            remove_tree(seg.path)
        raise


def segment(
    slide: Slide | str | Location | ArrayLike,
    model: Model | str | Path,
    out: str | Location,
    *,
    threshold: float | None = None,
    fraction: float | None = None,
    budget_s: float | None = None,
    refine: Refine = "selected",
    region: Box | None = None,
    tissue: bool = True,
    uncertainty: str | None = None,
    channel: int | str | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[Step], None] | None = None,
    cluster: Cluster | None = None,
) -> Segmentation:
    """Segment a slide: coarsely over the tissue, finely where that is uncertain.

    Parameters
    ----------
    slide : Slide, path, URL or array
        See `open_slide`, which also takes a pixel size.
    model : Model, str or path
        See `load_model`.
    out : path or URL
        Result folder. If it holds an unfinished or finished result of the same slide, model and
        settings, the run goes on from there.
    threshold, fraction, budget_s : float, optional
        What to refine: tiles that score above a threshold (the default: the model's own), the
        top fraction of tiles, or what can be refined in so many seconds.
    refine : str
        ``selected``, or ``none`` (stage 1 only), or ``all``.
    region : Box, optional
        Segment only tiles that touch this box of the slide's level 0.
    tissue : bool
        Look for tissue first; False segments everything.
    uncertainty : str, optional
        ``tent``, ``entropy`` or ``neg_plogp`` instead of the model's own.
    channel : int or str, optional
        Channel of a fluorescence slide that is given as a path or array.
    overwrite : bool
        Replace an earlier result in `out`.
    progress : bool or callable, optional
        True shows bars on stderr; a callable is given each step.
    cluster : Cluster, optional
        From `distributed.connect`: have both stages done by its workers, with the same labels.
        Its steps are `fields.PartitionStep` in place of windows and chips.

    Returns
    -------
    Segmentation

    Raises
    ------
    TwoStageError
        In one line: what was expected, what was found, what to do next.
    """
    opened, loaded = _inputs(slide, model, channel)
    steps = iter_segment(
        opened,
        loaded,
        out,
        threshold=threshold,
        fraction=fraction,
        budget_s=budget_s,
        refine=refine,
        region=region,
        tissue=tissue,
        uncertainty=uncertainty,
        channel=channel,
        overwrite=overwrite,
        cluster=cluster,
    )
    watch(steps, progress)
    return Segmentation.open(locate(out).expanduser().absolute(), slide=opened, model=loaded)


def _inputs(
    slide: Slide | str | Location | ArrayLike, model: Model | str | Path, channel: int | str | None
) -> tuple[Slide, Model]:
    """Open what is given by name."""
    return (
        slide if isinstance(slide, Slide) else open_slide(slide, channel=channel),
        load_model(model) if isinstance(model, str | PathLike) else model,
    )


def working_grid(slide: Slide, card: ModelCard) -> Grid:
    """The grid that stage 2 works on.

    A level of the slide whose pixel size the model was made for is used as it is; else the slide
    is resampled to the model's own pixel size.
    """
    low, high = card.mpp_range
    fitting = [
        (abs(max(mpp) / card.fine_mpp - 1), level)
        for level, factor in enumerate(slide.factors)
        if low <= min(mpp := (slide.mpp[0] * factor[0], slide.mpp[1] * factor[1]))
        and max(mpp) <= high
    ]
    if fitting:
        level = min(fitting)[1]
        y, x = slide.factors[level]
        return Grid(slide.level_shapes[level], (y, x), (slide.mpp[0] * y, slide.mpp[1] * x))
    y, x = (card.fine_mpp / mpp for mpp in slide.mpp)
    height, width = slide.level_shapes[0]
    shape = max(1, round(height / y)), max(1, round(width / x))
    return Grid(shape, (y, x), (card.fine_mpp, card.fine_mpp))


def model_choice(seg: Segmentation) -> Selection:
    """What is refined where nobody says what: tiles above the model's own threshold."""
    return Selection(threshold=seg.card.default_threshold)


def wanted_tiles(
    threshold: float | None, fraction: float | None, budget_s: float | None, refine: Refine
) -> Selection | None:
    """The selection that was asked for; None for the model's own threshold."""
    given = Selection(threshold=threshold, fraction=fraction, budget_s=budget_s)
    if refine not in ("selected", "none", "all"):
        raise SelectionError(f"refine must be selected, none or all; found '{refine}'")
    if refine != "selected":
        if given != Selection():
            raise SelectionError(f"refine='{refine}' leaves no room for a criterion: found {given}")
        return NOTHING if refine == "none" else EVERYTHING
    return None if given == Selection() else given


def _resume(path: Location, slide: Slide, model: Model, parameters: dict[str, Any]) -> Segmentation:
    found = read_record(path)["parameters"]
    differing = [name for name, value in parameters.items() if found[name] != value]
    if differing:
        listed = ", ".join(f"{name} = {found[name]}, not {parameters[name]}" for name in differing)
        raise SegmentationError(
            f"{path} was made with {listed}; choose another output folder, or overwrite it"
        )
    return Segmentation.open(path, slide=slide, model=model)


def _remove(path: Location) -> None:
    """Remove an earlier result, and nothing else."""
    if vacant(path) or (path / FILE).exists():
        remove_tree(path)
        return
    raise SegmentationError(f"{path} is no result folder, so it is not overwritten; name another")
