"""Slides for the engine, made from napari image layers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.slides import open_slide
from napari_twostage.slides.arrays import open_arrays
from napari_twostage.slides.picture import Picture
from napari_twostage.viewer.settings import METADATA_KEY, display_cache_bytes

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.base import Slide


def slide_of_layer(
    layer: Layer, *, mpp: float | Scale | None = None, channel: int | None = None
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

    Returns
    -------
    Slide
        Reads the layer's file if that holds the same pixels, else the layer's arrays.

    Raises
    ------
    MissingPixelSizeError
        If no pixel size is given and neither the layer nor its file states one.
    SlideError
        If the layer is not a 2-D image of 8 or 16 bit.
    """
    _check_is_plane(layer)
    ours = layer.metadata.get(METADATA_KEY, {})
    found = mpp_of_layer(layer)
    own: Slide | None = ours["slide"] if ours.get("role") == "slide" else None
    if own is not None and mpp is None and ours["mpp_known"] and _is_size_of(own, found):
        return own
    size, mpp_source = found if mpp is None and found else (mpp, "given by the user")
    opened = _from_file(layer, size, own.picture if own else Picture(channel=channel))
    if opened is None:
        if size is None:
            raise MissingPixelSizeError(
                f"layer {layer.name} states no pixel size: its units are "
                f"{', '.join(map(str, layer.units))}; give micrometres per pixel"
            )
        levels = list(layer.data) if layer.multiscale else [layer.data]
        opened = open_arrays(levels, name=layer.name, mpp=size, format="napari layer")
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


def _is_size_of(slide: Slide, found: tuple[Scale, str] | None) -> bool:
    """Whether a layer still has the scale that its slide gave it; a user may have set another."""
    return found is None or np.allclose(found[0], slide.mpp, rtol=1e-6)


def _check_is_plane(layer: Layer) -> None:
    """Raise a SlideError unless the layer is a 2-D image."""
    from napari.layers import Image

    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        raise SlideError(f"layer {layer.name} is a {kind} layer; choose an image layer")
    if layer.ndim != 2:
        raise SlideError(
            f"layer {layer.name} has {layer.ndim} axes, shape {tuple(layer.data.shape)}, a 2-D "
            "image was expected; take one plane: right-click the layer, Split Stack"
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
