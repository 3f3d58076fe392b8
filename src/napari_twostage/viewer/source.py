"""From a layer that somebody opened to a slide that the engine can read."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.slides import open_slide
from napari_twostage.slides.arrays import open_arrays
from napari_twostage.viewer.settings import KEY, display_cache_bytes

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.base import Slide


def slide_of_layer(
    layer: Layer, *, mpp: float | Scale | None = None, channel: int | None = None
) -> Slide:
    """Use an image layer as a slide.

    Parameters
    ----------
    layer : napari layer
        Opened by our reader, by another plugin, or made of arrays; one level or several.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x), instead of what the layer or its file state.
    channel : int, optional
        Channel of the layer's file, where that has several.

    Returns
    -------
    Slide
        From the layer's file where that holds the same pixels, else from the layer's arrays.

    Raises
    ------
    MissingPixelSizeError
        If neither the layer nor its file states a pixel size, and none is given.
    SlideError
        If this is no 2-D image of 8 or 16 bit.
    """
    _check(layer)
    ours = layer.metadata.get(KEY, {})
    if ours.get("role") == "slide" and mpp is None and ours["mpp_known"]:
        slide: Slide = ours["slide"]
        return slide
    found = mpp_of_layer(layer)
    size, words = found if mpp is None and found else (mpp, "given by the user")
    opened = _from_file(layer, size, channel)
    if opened is None:
        if size is None:
            raise MissingPixelSizeError(
                f"layer {layer.name} states no pixel size: its units are "
                f"{', '.join(map(str, layer.units))}; give micrometres per pixel"
            )
        levels = list(layer.data) if layer.multiscale else [layer.data]
        opened = open_arrays(levels, name=layer.name, mpp=size, format="napari layer")
    if size is not None:
        opened.mpp_source = words
    return opened


def mpp_of_layer(layer: Layer) -> tuple[Scale, str] | None:
    """Micrometres per pixel (y, x) that a layer states, and where; None where it does not.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> mpp_of_layer(Image(np.zeros((8, 8)), scale=(250, 250), units=("nm", "nm")))
    ((0.25, 0.25), "the layer's scale")
    >>> mpp_of_layer(Image(np.zeros((8, 8)), scale=(2, 2)))  # pixels are no length
    """
    units = layer.units[-2:]
    if not all(unit.is_compatible_with("um") for unit in units):
        return None
    y, x = (
        abs(float(step)) * float((1 * unit).to("um").magnitude)
        for step, unit in zip(layer.scale[-2:], units, strict=True)
    )
    return (y, x), "the layer's scale"


def _check(layer: Layer) -> None:
    """Refuse what is no plane of an image."""
    from napari.layers import Image

    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        raise SlideError(f"layer {layer.name} is a {kind} layer; choose an image layer")
    if layer.ndim != 2:
        raise SlideError(
            f"layer {layer.name} has {layer.ndim} axes, shape {tuple(layer.data.shape)}, a 2-D "
            "image was expected; take one plane: right-click the layer, Split Stack"
        )


def _from_file(layer: Any, mpp: float | Scale | None, channel: int | None) -> Slide | None:  # noqa: ANN401 - an Image
    """The layer's file as a slide, if it shows the same pixels; reading it is the faster way."""
    if not layer.source.path:
        return None
    with suppress(SlideError):
        slide = open_slide(
            layer.source.path, mpp=mpp, channel=channel, cache_bytes=display_cache_bytes()
        )
        shape = tuple(layer.data.shape)
        if slide.level_shapes[0] == shape[:2] and slide.channels == (*shape, 1)[2]:
            return slide
    return None
