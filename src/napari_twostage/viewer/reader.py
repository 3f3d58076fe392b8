"""Reader for napari: slides as lazy image layers, result folders as slide and labels."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import MissingPixelSizeError, SlideError, TwoStageError
from napari_twostage.io.paths import is_folder, locate
from napari_twostage.result.record import FILE as RECORD
from napari_twostage.result.slide_place import open_slide_of
from napari_twostage.samples import sample_slide
from napari_twostage.slides import formats, open_slide
from napari_twostage.slides.first_picture import open_first_picture
from napari_twostage.slides.picture import Picture
from napari_twostage.slides.stains import nuclear_channel
from napari_twostage.viewer.channel_layers import (
    channel_looks,
    channel_name,
    channel_number,
    contrast_limits,
)
from napari_twostage.viewer.lazy_levels import label_levels, slide_levels
from napari_twostage.viewer.offer import offer_panel
from napari_twostage.viewer.preview_slide import PreviewSlide, needs_preview
from napari_twostage.viewer.settings import METADATA_KEY, display_cache_bytes
from napari_twostage.viewer.transforms import transform_from_mpp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_twostage.io.paths import Location
    from napari_twostage.result.result import Result
    from napari_twostage.slides.base import Slide
    from napari_twostage.viewer.lazy_levels import LazyLevel

    LayerData = tuple[Any, dict[str, Any], str]
    ReadLayers = Callable[[str], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> ReadLayers | None:
    """Reader for a path, or None if the path is not ours to read.

    Parameters
    ----------
    path : str or sequence of str
        A file or folder; a sequence of paths is a stack, which is never a slide.

    Returns
    -------
    `read_result`, `read_slide` or None: plain images and bare zarr arrays are for other readers.
    """
    if not isinstance(path, str):
        return None
    place = locate(path)
    if is_folder(place):
        if (place / RECORD).is_file():
            return read_result
        return read_slide if formats.by_contents(place) and not _is_zarr_array(place) else None
    found = formats.by_ending(place.name)
    if found is None or found.reader in {"ome_zarr", "image"}:
        return None
    return read_slide if formats.is_readable(found) else None


def read_slide(path: str, scene: int | None = None) -> list[LayerData]:
    """Layers of a slide: one image layer, or one for each of several channels.

    Parameters
    ----------
    path : str
        File, folder or URL.
    scene : int, optional
        Number of the scene to read of a file with several; by default the largest scan.

    Raises
    ------
    SlideError
        If the slide cannot be opened; one line that says what to do.
    """
    _show_scale_bar()
    offer_panel()
    return _slide_layers(path, Picture(scene=scene))


def read_result(path: str) -> list[LayerData]:
    """Layers of a result folder: the slide, if its file can be opened, and the labels above it.

    Raises
    ------
    SegmentationError
        If the folder cannot be read.
    """
    from napari_twostage.result.result import Result

    _show_scale_bar()
    result = Result.open(path)
    layers: list[LayerData] = []
    try:
        layers += _layers_of(_slide_of(result), result=result.path)
    except TwoStageError as error:
        _warn(f"the labels are shown without their slide: {error}")
    return [*layers, _labels_layer(result)]


def sample_skin() -> list[LayerData]:
    """Layers of the bundled sample slide, H&E-stained skin: 2220 × 2967 pixels at 0.499 µm."""
    return read_slide(str(sample_slide()))


def _slide_layers(path: str, picture: Picture) -> list[LayerData]:
    """Layers of a file of which no result is known."""
    known = True

    def open_picture(wanted: Picture) -> Slide:
        nonlocal known
        opening = partial(open_slide, path, cache_bytes=display_cache_bytes(), **wanted.as_dict())
        try:
            known = True
            return opening()
        except MissingPixelSizeError:
            known = False
            return opening(mpp=1.0)

    return _layers_of(open_first_picture(open_picture, picture), mpp_known=known)


def _layers_of(
    slide: Slide, *, mpp_known: bool = True, result: Location | None = None
) -> list[LayerData]:
    """Layers of a slide and of the other channels of its file.

    The nuclear channel comes first, which makes it the lowest and the one that is chosen; where a
    result is shown, its own channel does.
    """
    if slide.channels > 1 or len(slide.channel_names) < 2 or slide.path is None:
        return [_slide_layer(slide, mpp_known, result)]
    own = channel_number(slide)
    layers = []
    for number, look in enumerate(channel_looks(slide)):
        shown = slide if number == own else other_picture(slide, channel=number)
        data, options, kind = _slide_layer(shown, mpp_known, result if number == own else None)
        options["name"] += f" {channel_name(slide, number)}"
        layers.append((data, options | look, kind))
    first = own if result is not None else nuclear_channel(slide.channel_names)
    return [layers.pop(first), *layers]


def other_picture(slide: Slide, **changes: Any) -> Slide:  # noqa: ANN401 - fields of a Picture
    """Open another picture of a slide's file: another channel, or focal plane.

    Raises
    ------
    SlideError
        If there is no such picture.
    """
    if slide.path is None:
        raise SlideError(f"{slide.name} is an array; it has no other picture")
    picture = replace(slide.picture, **changes)
    cache = display_cache_bytes()
    other = open_slide(slide.path, mpp=slide.mpp, cache_bytes=cache, **picture.as_dict())
    other.mpp_source = slide.mpp_source
    return other


def _slide_of(result: Result) -> Slide:
    """Slide of a result, opened for display; raises if it is not the one that was segmented."""
    if result.record.slide.path is None:
        raise SlideError(f"{result.name} was an array; add it as a layer first")
    cache = display_cache_bytes()
    return result.attach_slide(open_slide_of(result.path, result.record, cache_bytes=cache))


def displayed_levels(slide: Slide) -> list[LazyLevel | NDArray[np.generic]]:
    """Levels of a slide as its layer shows them; the coarsest is in memory."""
    if not needs_preview(slide):
        return slide_levels(slide, _warn)
    _warn(
        f"{slide.name} has no overview levels: zoomed out it is shown from a sample of its "
        "tiles; zoom in to see every pixel"
    )
    return slide_levels(PreviewSlide(slide), _warn)


def _slide_layer(slide: Slide, mpp_known: bool, result: Location | None = None) -> LayerData:
    levels = displayed_levels(slide)
    options: dict[str, Any] = {
        "name": formats.stem(slide.name) + _scene_name(slide),
        "scale": slide.mpp,
        "units": ("um", "um") if mpp_known else ("pixel", "pixel"),
        "multiscale": True,
        "rgb": slide.channels > 1,
        "metadata": {
            METADATA_KEY: {
                "role": "slide",
                "slide": slide,
                "result": result,
                "mpp_known": mpp_known,
            }
        },
    }
    if slide.channels == 1:
        # not the slide's own range, which takes seconds to measure
        limits = slide.picture.intensity or contrast_limits(np.asarray(levels[-1]))
        options |= {"colormap": "gray", "contrast_limits": limits}
    return levels, options, "image"


def _labels_layer(result: Result) -> LayerData:
    from napari_twostage.viewer.colormaps import class_colormap

    options = {
        "name": f"{result.name} labels",
        "multiscale": True,
        "opacity": 0.5,
        "colormap": class_colormap(result.classes),
        "metadata": {METADATA_KEY: {"role": "labels", "result": result.path, "mpp_known": True}},
        **transform_from_mpp(result.grid, result.slide_mpp),
    }
    return label_levels(result, _warn), options, "labels"


def _is_zarr_array(folder: Location) -> bool:
    """Whether a zarr folder is a single array without image metadata."""
    if (folder / ".zarray").exists():
        return True
    try:
        return bool(json.loads((folder / "zarr.json").read_bytes())["node_type"] == "array")
    except (OSError, ValueError, KeyError, TypeError):
        return False  # zarr 2, or damaged: open_slide says what to do


def _scene_name(slide: Slide) -> str:
    """What tells a scene's layer from those of other scenes; empty where there are none."""
    number = slide.picture.scene
    if sum(scene.scan for scene in slide.scenes) < 2 or not isinstance(number, int):
        return ""
    name = slide.scenes[number].name
    return f" scene {number}" if name == str(number) else f" {name}"


def _warn(message: str) -> None:
    """Show a line in napari."""
    from napari.utils.notifications import show_warning

    show_warning(message)


def _show_scale_bar() -> None:
    """Turn on the scale bar of the current window."""
    import napari

    if (viewer := napari.current_viewer()) is not None:
        viewer.canvas.overlays.scale_bar.visible = True
