"""Reader: slides as lazy image layers, result folders as slide and labels."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import MissingPixelSizeError, SlideError, TwoStageError
from napari_twostage.io.paths import is_folder, locate
from napari_twostage.result.record import FILE as RECORD
from napari_twostage.slides import formats, open_slide
from napari_twostage.viewer.lazy_levels import label_levels, slide_levels
from napari_twostage.viewer.preview_slide import OverviewSlide, needs_overview
from napari_twostage.viewer.settings import KEY, display_cache_bytes
from napari_twostage.viewer.transforms import place_in_um

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.base import Slide

    LayerData = tuple[Any, dict[str, Any], str]
    Read = Callable[[str], list[LayerData]]

_SHARED = (".tif", ".tiff")
"""Endings that images of other kinds have, too."""


def get_reader(path: str | Sequence[str]) -> Read | None:
    """Find out whether this is ours to read.

    Parameters
    ----------
    path : str or sequence of str
        A file or folder; of stacks there is no slide.

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
    if found is None or found.reader not in {"tiff", "openslide"}:
        return None
    if place.suffix.lower() in _SHARED and isinstance(place, Path) and _is_no_plane(place):
        return None
    return read_slide if formats.is_installed(found.extra) else None


def read_slide(path: str) -> list[LayerData]:
    """Open a slide as one image layer; one with several channels as a layer for each.

    Raises
    ------
    SlideError
        In one line: what was expected, what was found, what to do next.
    """
    _show_scale_bar()
    try:
        return [_slide_layer(*_open(path))]
    except SlideError:
        layers = _channel_layers(path)
        if not layers:
            raise
        return layers


def read_result(path: str) -> list[LayerData]:
    """Open a result folder: the slide, where its file still is, and the labels above it.

    Raises
    ------
    SegmentationError
        If the folder cannot be read.
    """
    from napari_twostage.engine.segmentation import Segmentation

    _show_scale_bar()
    seg = Segmentation.open(path)
    layers = []
    try:
        layers.append(_slide_layer(_slide_of(seg), mpp_known=True, result=seg.path))
    except TwoStageError as error:
        _warn(f"the labels are shown without their slide: {error}")
    return [*layers, _labels_layer(seg)]


def _open(path: str, channel: int | None = None) -> tuple[Slide, bool]:
    """The slide, and whether its pixel size is known; else one pixel counts as one unit."""
    cache = display_cache_bytes()
    try:
        return open_slide(path, channel=channel, cache_bytes=cache), True
    except MissingPixelSizeError:
        return open_slide(path, mpp=1.0, channel=channel, cache_bytes=cache), False


def _slide_of(seg: Segmentation) -> Slide:
    """The slide of a result, opened for display and checked to be the one it was made from."""
    facts = seg.record.slide
    if facts.path is None:
        raise SlideError(f"{seg.name} was an array; add it as a layer first")
    slide = open_slide(
        facts.path,
        mpp=seg.slide_mpp,
        channel=seg.record.parameters.channel,
        cache_bytes=display_cache_bytes(),
    )
    return seg.attach_slide(slide)


def _channel_layers(path: str) -> list[LayerData]:
    """A layer for each channel; none where the trouble is not that there are several."""
    layers: list[LayerData] = []
    with suppress(SlideError):  # after the last channel
        while True:
            slide, mpp_known = _open(path, len(layers))
            data, options, kind = _slide_layer(slide, mpp_known=mpp_known)
            options["name"] += f" channel {len(layers)}"
            options["blending"] = "additive"
            layers.append((data, options, kind))
    return layers


def _slide_layer(slide: Slide, mpp_known: bool, result: Location | None = None) -> LayerData:
    shown = slide
    if needs_overview(slide):
        shown = OverviewSlide(slide)
        _warn(
            f"{slide.name} has no overview levels: zoomed out it is shown from a sample of its "
            "tiles; zoom in to see every pixel"
        )
    options: dict[str, Any] = {
        "name": _stem(slide.name),
        "scale": slide.mpp,
        "units": ("um", "um") if mpp_known else ("pixel", "pixel"),
        "multiscale": True,
        "rgb": slide.channels > 1,
        "metadata": {
            KEY: {"role": "slide", "slide": slide, "result": result, "mpp_known": mpp_known}
        },
    }
    if slide.channels == 1:
        options |= {"colormap": "gray", "contrast_limits": shown.intensity_range}
    return slide_levels(shown, _warn), options, "image"


def _labels_layer(seg: Segmentation) -> LayerData:
    from napari_twostage.viewer.layers import class_colormap

    options = {
        "name": f"{seg.name} labels",
        "multiscale": True,
        "opacity": 0.5,
        "colormap": class_colormap(seg.classes),
        "metadata": {KEY: {"role": "labels", "result": seg.path, "mpp_known": True}},
        **place_in_um(seg.grid, seg.slide_mpp),
    }
    return label_levels(seg), options, "labels"


def _is_zarr_array(folder: Location) -> bool:
    """Whether a zarr folder is one array, without the metadata of an image."""
    if (folder / ".zarray").exists():
        return True
    try:
        return bool(json.loads((folder / "zarr.json").read_bytes())["node_type"] == "array")
    except (OSError, ValueError, KeyError, TypeError):
        return False  # zarr 2, or damaged: our message says what to do


def _is_no_plane(path: Path) -> bool:
    """Whether a TIFF holds whole images that are no slide; a damaged file is not one of them."""
    from tifffile import TiffFile

    from napari_twostage.slides.tiff_series import NeedsStitchingError, check_plane, main_series

    try:
        with TiffFile(path) as tif:
            series = main_series(tif)
            try:
                check_plane(tif, series)
            except NeedsStitchingError:
                return False
            except SlideError:
                return bool(series.keyframe.imagelength)
    except (SlideError, OSError, ValueError, KeyError, IndexError, TypeError):
        return False  # damaged: our message says what to do
    return False


def _stem(name: str) -> str:
    return Path(name).stem.removesuffix(".ome")


def _warn(message: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(message)


def _show_scale_bar() -> None:
    """Slides have a size: let the window that opens one say so."""
    import napari

    if (viewer := napari.current_viewer()) is not None:
        viewer.canvas.overlays.scale_bar.visible = True
