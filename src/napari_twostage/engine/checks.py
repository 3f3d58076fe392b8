"""Checks of a run's arguments, before anything is made or computed."""

from __future__ import annotations

import logging
from dataclasses import asdict
from math import isclose
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import (
    ClusterError,
    LocationError,
    ModelError,
    SegmentationError,
    SelectionError,
    SlideError,
    brief,
)
from napari_twostage.io.paths import is_vacant, locate, same_file
from napari_twostage.io.url import Url
from napari_twostage.models.card import REDUCED

if TYPE_CHECKING:
    from napari_twostage.geometry import Box, Scale, Shape
    from napari_twostage.io.paths import Location
    from napari_twostage.models.card import ModelCard
    from napari_twostage.result.record import Record
    from napari_twostage.result.record_parts import Parameters
    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.picture import Picture

log = logging.getLogger(__name__)

ENLARGED, ENLARGED_LIMIT = 2.0, 4.0
"""Factors by which a slide may be enlarged for a model: without a warning, and at all."""
REDUCED_LIMIT = 64.0
"""Factor by which its finest level may be reduced at all; without a warning, by `REDUCED`."""
EXAMPLE = "slide.twostage.zarr"
_SPELT = ("scene", "channel", "z", "t")
"""Settings of which the pixels tell whether they differ."""


def require_executor(cluster: object) -> None:
    """Refuse what is no cluster, such as its address."""
    if cluster is not None and not hasattr(cluster, "run_stages"):
        raise ClusterError(
            f"cluster must be what distributed.connect yields; found {brief(cluster)}; "
            "write: with connect(scheduler='tcp://host:8786') as cluster"
        )


def require_progress(progress: object) -> None:
    """Refuse progress that can be neither shown nor called."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise SegmentationError(
            f"progress must be True, False or a function of a step; found {brief(progress)}; "
            "pass progress=True, say"
        )


def require_model(model: object) -> None:
    """Refuse what is no model."""
    if not hasattr(model, "card") or not hasattr(model, "bundle"):
        raise ModelError(
            f"expected a bundled name, a path, or a model from load_model; found {brief(model)}; "
            "pass model='nuclei', say"
        )


def result_place(out: object) -> Location:
    """Absolute location of a result folder, which may not exist yet."""
    if not isinstance(out, str | PathLike | Url) or not str(out).strip():
        raise LocationError(
            f"out must be the path or URL of a result folder; found {brief(out)}; "
            f"pass out='{EXAMPLE}', say"
        )
    return locate(out).expanduser().absolute()


def require_place_for_result(path: Location, slide: Slide) -> None:
    """Refuse a place that holds something else than a result, or is the slide's own.

    Raises
    ------
    LocationError
        With the reason.
    """
    if slide.path is not None and same_file(path, slide.path):
        raise LocationError(f"{path} is the slide itself; choose another folder for the result")
    if isinstance(path, Url):
        return
    if slide.path is not None and slide.path.absolute() in path.parents:
        raise LocationError(f"{path} lies inside the slide; choose another folder")
    if path.exists() and not path.is_dir():
        raise LocationError(f"{path} is a file, a folder was expected; choose another name")
    where = path.resolve()
    for kind, place in (("current", Path.cwd()), ("home", Path.home())):
        if where == place.resolve() or where in place.resolve().parents:
            raise LocationError(
                f"{path} is the {kind} folder, or holds it; name a new one in it: {path / EXAMPLE}"
            )
    if path.is_dir() and path.is_mount() and is_vacant(path):
        raise LocationError(f"{path} is a drive; name a new folder in it: {path / EXAMPLE}")


def require_same(path: Location, record: Record, slide: Slide, wanted: Parameters) -> None:
    """Refuse to go on with a result of other settings.

    Raises
    ------
    SegmentationError
        With the settings that differ.
    """
    found = record.parameters
    before, now = _flat(found), _flat(wanted)
    differing = [name for name in now if before[name] != now[name]]
    # a choice has several spellings: its number, as text too, and its name
    if slide.fingerprint() == record.slide.fingerprint:
        differing = [name for name in differing if name not in _SPELT]
    if same_tissue(record, wanted.tissue):
        differing = [name for name in differing if name != "tissue"]
    listed = [f"{name} = {before[name]}, not {now[name]}" for name in differing]
    sizes = record.slide.mpp, slide.mpp
    if not all(isclose(a, b, rel_tol=1e-6) for a, b in zip(*sizes, strict=True)):
        made, given = (f"{y:.6g} × {x:.6g} µm" for y, x in sizes)
        listed.append(f"pixels of {made} ({record.slide.mpp_source}), not {given}")
    if listed:
        raise SegmentationError(
            f"{path} was made with {', '.join(listed)}; "
            "choose another output folder, or overwrite it"
        )


def same_tissue(record: Record, wanted: bool | None) -> bool:
    """Whether a result was made as `RunOptions.tissue` asks.

    None goes on with a search in a dark field, too, which version 0.1 made by default.
    """
    made_with = record.parameters.tissue
    if wanted is None or made_with == wanted:
        return made_with is not False or wanted is False
    return made_with is None and record.tissue is not None and record.tissue.searched == wanted


def _flat(parameters: Parameters) -> dict[str, Any]:
    """The settings by name, those of the picture among them."""
    values = parameters.as_dict()
    return {**values, **asdict(parameters.picture), "picture": None}


def require_picture(slide: Slide, wanted: Picture) -> None:
    """Refuse another scene, channel or plane than that of the slide that was opened.

    Raises
    ------
    SelectionError
        With what differs.
    """
    there = slide.picture.as_dict()
    for name, value in wanted.as_dict().items():
        # a slide knows its scene by number
        named = name == "scene" and value in {scene.name for scene in slide.scenes}
        number = there.get(name)
        found = slide.scenes[number].name if named and isinstance(number, int) else number
        if str(found) != str(value):
            raise SelectionError(
                f"{name} = {value!r} was asked for, the slide was opened with "
                f"{found!r}; pass {name}= to open_slide"
            )


def require_inside(region: Box, shape: Shape) -> Box:
    """Part of a region of level 0 that is on the slide.

    Raises
    ------
    SelectionError
        If there is none.
    """
    box = region.clip(shape)
    if not box.area:
        raise SelectionError(
            f"{region} lies outside the slide of {shape[0]} × {shape[1]} pixels; "
            "give rows and columns of level 0"
        )
    return box


def check_scale(slide: Slide, card: ModelCard) -> None:
    """Warn where the slide's pixels are far from the model's; refuse what cannot be meant.

    Raises
    ------
    SlideError
        If a pixel of the slide is more than 4 times as large as one of the model, or more than
        64 times as small.
    """
    enlarged, reduced = _change(slide, card)
    change = scale_warning(slide, card)
    if change is None:
        return
    text = (
        f"{slide.name} has {_described(slide.mpp)} per pixel ({slide.mpp_source}), model "
        f"{card.name} works at {card.fine_mpp:.4g} µm: the slide would be {change}"
    )
    if enlarged > ENLARGED_LIMIT or reduced > REDUCED_LIMIT:
        raise SlideError(f"{text}; check the pixel size (--mpp), or take another model")
    log.warning("%s; labels may be poor", text)


def scale_warning(slide: Slide, card: ModelCard) -> str | None:
    """How far a slide would be enlarged or reduced for a model; None if that does no harm."""
    enlarged, reduced = _change(slide, card)
    if enlarged > ENLARGED:
        return f"enlarged {enlarged:.3g}×"
    return f"reduced {reduced:.3g}×" if reduced > REDUCED else None


def _change(slide: Slide, card: ModelCard) -> tuple[float, float]:
    """Factors by which a slide's pixels are larger, and smaller, than those of a model."""
    return max(slide.mpp) / card.fine_mpp, card.fine_mpp / min(slide.mpp)


def _described(mpp: Scale) -> str:
    return f"{mpp[0]:.4g} × {mpp[1]:.4g} µm"
