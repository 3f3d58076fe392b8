"""Reader for napari: slides as lazy image layers, result folders as slide and labels."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import MissingPixelSizeError, SlideError, TwoStageError
from napari_twostage.io.paths import is_folder, locate
from napari_twostage.result.record import FILE as RECORD
from napari_twostage.result.slide_place import open_slide_of
from napari_twostage.samples import sample_slide
from napari_twostage.slides import formats, open_slide
from napari_twostage.viewer.lazy_levels import label_levels, slide_levels
from napari_twostage.viewer.offer import offer_panel
from napari_twostage.viewer.preview_slide import PreviewSlide, needs_preview
from napari_twostage.viewer.settings import METADATA_KEY, display_cache_bytes
from napari_twostage.viewer.transforms import transform_from_mpp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_twostage.io.paths import Location
    from napari_twostage.result.result import Result
    from napari_twostage.slides.base import Slide

    LayerData = tuple[Any, dict[str, Any], str]
    ReadLayers = Callable[[str], list[LayerData]]

_SHARED_SUFFIXES = (".tif", ".tiff")
"""Suffixes that other kinds of images have, too."""


def get_reader(path: str | Sequence[str]) -> ReadLayers | None:
    """Reader for a path, or None if the path is not ours to read.

    Parameters
    ----------
    path : str or sequence of str
        A file or folder; a sequence of paths is a stack, which is never a slide.

    Returns
    -------
    `read_result`, `read_slide` or None: stacks, floating-point images and bare zarr arrays are
    for other readers.
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
    from napari_twostage.slides.tiff import is_general_image

    if (
        place.suffix.lower() in _SHARED_SUFFIXES
        and isinstance(place, Path)
        and is_general_image(place)
    ):
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
    try:
        return [_slide_layer(*_open(path, scene))]
    except SlideError:
        layers = _channel_layers(path, scene)
        if not layers:
            raise
        return layers


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
    layers = []
    try:
        layers.append(_slide_layer(_slide_of(result), mpp_known=True, result=result.path))
    except TwoStageError as error:
        _warn(f"the labels are shown without their slide: {error}")
    return [*layers, _labels_layer(result)]


def sample_skin() -> list[LayerData]:
    """Layers of the bundled sample slide, H&E-stained skin: 2220 × 2967 pixels at 0.499 µm."""
    return read_slide(str(sample_slide()))


def _open(path: str, scene: int | None, channel: int | None = None) -> tuple[Slide, bool]:
    """Slide, and whether its pixel size is known; if not, it is set to 1."""
    opening = partial(open_slide, path, scene=scene, channel=channel)
    cache = display_cache_bytes()
    try:
        return opening(cache_bytes=cache), True
    except MissingPixelSizeError:
        return opening(mpp=1.0, cache_bytes=cache), False


def _slide_of(result: Result) -> Slide:
    """Slide of a result, opened for display; raises if it is not the one that was segmented."""
    if result.record.slide.path is None:
        raise SlideError(f"{result.name} was an array; add it as a layer first")
    cache = display_cache_bytes()
    return result.attach_slide(open_slide_of(result.path, result.record, cache_bytes=cache))


def _channel_layers(path: str, scene: int | None) -> list[LayerData]:
    """A layer for each channel; empty if the slide fails to open for another reason."""
    layers: list[LayerData] = []
    with suppress(SlideError):  # raised after the last channel
        while True:
            slide, mpp_known = _open(path, scene, len(layers))
            data, options, kind = _slide_layer(slide, mpp_known=mpp_known)
            options["name"] += f" {_channel_name(slide, len(layers))}"
            options["blending"] = "additive"
            layers.append((data, options, kind))
    return layers


def _channel_name(slide: Slide, number: int) -> str:
    name = slide.channel_names[number] if number < len(slide.channel_names) else str(number)
    return f"channel {number}" if name == str(number) else name


def _slide_layer(slide: Slide, mpp_known: bool, result: Location | None = None) -> LayerData:
    displayed = slide
    if needs_preview(slide):
        displayed = PreviewSlide(slide)
        _warn(
            f"{slide.name} has no overview levels: zoomed out it is shown from a sample of its "
            "tiles; zoom in to see every pixel"
        )
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
        options |= {"colormap": "gray", "contrast_limits": displayed.intensity_range}
    return slide_levels(displayed, _warn), options, "image"


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
