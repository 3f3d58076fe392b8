"""Slides for the engine, made from napari image layers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.slides import open_slide
from napari_twostage.slides.arrays import open_arrays
from napari_twostage.slides.first_picture import first_focus
from napari_twostage.slides.limits import PLAUSIBLE_MPP
from napari_twostage.slides.picture import Picture
from napari_twostage.viewer.settings import METADATA_KEY, display_cache_bytes
from napari_twostage.viewer.stack_plane import StackPlane

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.base import Slide


def slide_of_layer(
    layer: Layer,
    *,
    mpp: float | Scale | None = None,
    channel: int | None = None,
    focus: int | Literal["max"] | None = None,
) -> Slide:
    """Slide that an image layer shows.

    Parameters
    ----------
    layer : napari layer
        Opened by our reader or another plugin, or made from arrays; single- or multiscale.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x); overrides the layer and its file.
    channel : int, optional
        Channel of the layer's file, if it has several.
    focus : int or "max", optional
        Plane of a layer that is a stack, or the maximum over all; by default `first_focus`.

    Returns
    -------
    Slide
        Reads the layer's file if that holds the same pixels, else the layer's arrays.

    Raises
    ------
    MissingPixelSizeError
        If no pixel size is given and neither the layer nor its file states one.
    SlideError
        If the layer is no image of one plane, or of a stack of planes.
    """
    _check_is_image(layer)
    ours = layer.metadata.get(METADATA_KEY, {})
    found = mpp_of_layer(layer)
    own: Slide | None = ours["slide"] if ours.get("role") == "slide" else None
    if own is not None and mpp is None and ours["mpp_known"] and _is_size_of(own, found):
        return own
    size, mpp_source = found if mpp is None and found else (mpp, "given by the user")
    opened = None
    if planes_of(layer) == 1:
        opened = _from_file(layer, size, own.picture if own else Picture(channel=channel))
    if opened is None:
        if size is None:
            raise MissingPixelSizeError(
                f"layer {layer.name} states no pixel size: its units are "
                f"{', '.join(map(str, layer.units))}; give micrometres per pixel"
            )
        opened = open_arrays(
            _levels(layer, focus), name=layer.name, mpp=size, format="napari layer"
        )
    if size is not None:
        opened.mpp_source = mpp_source
    return opened


def mpp_of_layer(layer: Layer) -> tuple[Scale, str] | None:
    """Micrometres per pixel (y, x) and their source; None if the layer states no length.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> mpp_of_layer(Image(np.zeros((8, 8)), scale=(250, 250), units=("nm", "nm")))
    ((0.25, 0.25), "the layer's scale")
    >>> mpp_of_layer(Image(np.zeros((8, 8)), scale=(2, 2)))  # pixels are not a length
    """
    units = layer.units[-2:]
    if not all(unit.is_compatible_with("um") for unit in units):
        return None
    y, x = (
        abs(float(step)) * float((1 * unit).to("um").magnitude)
        for step, unit in zip(layer.scale[-2:], units, strict=True)
    )
    return (y, x), "the layer's scale"


def stated_size(slide: Slide) -> tuple[Scale, str] | None:
    """Pixel size (y, x) that a slide's file states and its source; None if it states none."""
    if slide.path is None:
        return None
    with suppress(SlideError), open_slide(slide.path, **slide.picture.as_dict()) as opened:
        return opened.mpp, opened.mpp_source
    return None


def suggested_mpp(layer: Layer) -> Scale | None:
    """Scale (y, x) of a layer without units that may be its pixel size; None if it is none."""
    if mpp_of_layer(layer) is not None:
        return None
    y, x = (abs(float(step)) for step in layer.scale[-2:])
    likely = all(PLAUSIBLE_MPP[0] <= step <= PLAUSIBLE_MPP[1] for step in (y, x))
    return (y, x) if likely and (y, x) != (1.0, 1.0) else None


def _is_size_of(slide: Slide, found: tuple[Scale, str] | None) -> bool:
    """Whether a layer still has the scale that its slide gave it; a user may have set another."""
    return found is None or np.allclose(found[0], slide.mpp, rtol=1e-6)


def planes_of(layer: Layer) -> int:
    """Number of planes of a layer that is a stack; 1 for a plane."""
    return int(layer.data.shape[0]) if layer.ndim == 3 else 1


def _levels(layer: Any, focus: int | Literal["max"] | None) -> list[Any]:  # noqa: ANN401 - an Image
    """Levels of a layer, each one plane."""
    levels = list(layer.data) if layer.multiscale else [layer.data]
    if layer.ndim == 2:
        return levels
    planes = planes_of(layer)
    if focus is None:
        focus = first_focus(planes, grey=not layer.rgb)
    return [StackPlane(level, focus, planes) for level in levels]


def _check_is_image(layer: Layer) -> None:
    """Raise a SlideError unless the layer is an image of one plane, or of a stack of them."""
    from napari.layers import Image

    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        raise SlideError(f"layer {layer.name} is a {kind} layer; choose an image layer")
    if layer.ndim not in {2, 3}:
        raise SlideError(
            f"layer {layer.name} has {layer.ndim} axes, shape {tuple(layer.data.shape)}, a 2-D "
            "image or a stack of planes was expected; right-click the layer, Split Stack"
        )


def _from_file(layer: Any, mpp: float | Scale | None, picture: Picture) -> Slide | None:  # noqa: ANN401 - an Image
    """Layer's file as a slide, which is faster to read; None if it holds other pixels."""
    if not layer.source.path:
        return None
    with suppress(SlideError):
        cache = display_cache_bytes()
        slide = open_slide(layer.source.path, mpp=mpp, cache_bytes=cache, **picture.as_dict())
        shape = tuple(layer.data.shape)
        if slide.level_shapes[0] == shape[:2] and slide.channels == (*shape, 1)[2]:
            return slide
    return None
