"""Looks of a slide's channels, a layer each, and which layers are channels of one slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap

from napari_twostage.slides.channels import choose_channel
from napari_twostage.slides.stains import (
    display_colours,
    is_transmitted,
    named_nuclear_channel,
    nuclear_channel,
)
from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_twostage.slides.base import Slide

SHOWN = 6
"""Most channels that are visible at first: colours of more add up to white."""
PERCENTILES = (1.0, 99.8)
"""Percentiles of a coarse level between which a channel is shown."""
LEAST_SPAN = 15.0
"""Least range in standard deviations of the noise."""
_SAMPLE = 1 << 18
"""Values that the percentiles are taken from: a few milliseconds."""


def contrast_limits(pixels: NDArray[np.generic]) -> tuple[float, float]:
    """Values between which a grey level is shown: `PERCENTILES` of it, but not its noise alone.

    Parameters
    ----------
    pixels : (height, width) array
        A coarse level; NaN does not count.

    Examples
    --------
    >>> contrast_limits(np.arange(1001.0).repeat(9).reshape(1001, 9))
    (10.0, 998.0)
    >>> contrast_limits(np.full((4, 4), 7))
    (7.0, 8.0)
    """
    rows = pixels[:: max(1, pixels.size // _SAMPLE)].astype(np.float32)
    values = rows[np.isfinite(rows)]
    if not values.size:
        return 0.0, 1.0
    low, quarter, high = np.percentile(values, (PERCENTILES[0], 25, PERCENTILES[1])).tolist()
    noise = _dark_noise(rows)
    # an empty channel must not be stretched until its noise covers the others
    low = min(quarter, low + 3 * noise)
    high = max(high, low + LEAST_SPAN * noise)
    if high > low:
        return low, high
    low, high = float(values.min()), float(values.max())  # signal that is rarer than that
    return (low, high) if high > low else (low, low + 1.0)


def _dark_noise(pixels: NDArray[np.float32]) -> float:
    """Standard deviation of the noise in the darker half of pixels (height, width)."""
    middle = np.nanmedian(pixels)
    pairs = (pixels[:, 1:] <= middle) & (pixels[:, :-1] <= middle)
    steps = np.abs(np.diff(pixels, axis=1))[pairs]
    # of two normal values below their median, the median difference is 0.53 standard deviations
    return float(np.median(steps)) / 0.53 if steps.size else 0.0


def channel_looks(slide: Slide) -> list[dict[str, Any]]:
    """Arguments of the layer of each of a slide's channels: colour, blending, visibility."""
    names = [channel_name(slide, number) for number in range(len(slide.channel_names))]
    colours = display_colours(names, slide.channel_colours)
    nuclear = nuclear_channel(names)
    shown = [
        nuclear,
        *(n for n in range(len(names)) if n != nuclear and not is_transmitted(names[n])),
    ]
    return [
        {
            "colormap": _ramp(colour),
            "blending": "additive",
            "visible": number in shown[:SHOWN],
        }
        for number, colour in enumerate(colours)
    ]


def channel_name(slide: Slide, number: int) -> str:
    """Name of a channel, as it is shown."""
    name = slide.channel_names[number]
    return f"channel {number}" if name == str(number) else name


def channel_number(slide: Slide) -> int:
    """Index of the channel that a slide shows of several."""
    return choose_channel(slide.picture.channel, slide.channel_names) or 0


def _ramp(colour: tuple[int, int, int]) -> Colormap:
    """Colours from black to one colour."""
    name = "#" + bytes(colour).hex()
    return Colormap([(0, 0, 0, 1), (*(part / 255 for part in colour), 1)], name=name)


@dataclass(frozen=True)
class ChannelGroup:
    """Layers that are the channels of one slide; a slide without channels is a group of one."""

    name: str
    layers: tuple[Image, ...]
    channels: tuple[str, ...]
    """Name of each layer's channel."""

    @property
    def nuclear(self) -> Image:
        """Layer whose channel shows nuclei, by its name; the first if no name says so."""
        return self.layers[nuclear_channel(self.channels)]

    @property
    def is_named(self) -> bool:
        """Whether the name of a channel says that it shows nuclei."""
        return named_nuclear_channel(self.channels) is not None


def group_channels(layers: Iterable[Image]) -> list[ChannelGroup]:
    """Group layers that are channels of one slide, in the order of their first layers.

    Our reader's layers are so if they show one picture of one file. Layers of others are so if
    they lie in one place, have one shape and source, and are added to the first, as napari does
    with ``channel_axis``.

    Parameters
    ----------
    layers : iterable of Image
        Layers that may be slides.
    """
    groups: dict[Hashable, list[Image]] = {}
    for layer in layers:
        slide = slide_of_reader(layer)
        key: Hashable = layer
        if slide is not None and _is_channel(slide):
            key = (str(slide.path), slide.picture.scene)
        elif slide is None and not layer.rgb:
            key = _place(layer)
            if key in groups and layer.blending != "additive":
                key = layer
        groups.setdefault(key, []).append(layer)
    return [_group(found) for found in groups.values()]


def slide_of_reader(layer: Any) -> Slide | None:  # noqa: ANN401 - a layer of any kind
    """The slide that our reader opened for a layer; None for other layers."""
    slide: Slide | None = layer.metadata.get(METADATA_KEY, {}).get("slide")
    return slide


def _is_channel(slide: Slide) -> bool:
    return slide.channels == 1 and len(slide.channel_names) > 1 and slide.path is not None


def _place(layer: Image) -> Hashable:
    """What layers of one slide have in common."""
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    return (
        layer.source.path,
        tuple(shape),
        tuple(np.round(layer.scale, 9)),
        tuple(np.round(layer.translate, 6)),
        tuple(map(str, layer.units)),
    )


def _group(layers: Sequence[Image]) -> ChannelGroup:
    first, slide = layers[0], slide_of_reader(layers[0])
    if len(layers) == 1:
        return ChannelGroup(first.name, (first,), (first.name,))
    if slide is None:
        return ChannelGroup(first.name, tuple(layers), tuple(layer.name for layer in layers))
    slides = [(one, layer) for layer in layers if (one := slide_of_reader(layer)) is not None]
    ordered = sorted(slides, key=lambda pair: channel_number(pair[0]))
    names = [channel_name(slide, channel_number(one)) for one, _ in ordered]
    name = first.name.removesuffix(f" {channel_name(slide, channel_number(slide))}")
    return ChannelGroup(name, tuple(layer for _, layer in ordered), tuple(names))
