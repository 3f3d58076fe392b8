"""Planes of one image in a TIFF file: focal planes, channels, time points, behind pages or one."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.slides.channels import choose_channel, colour_channels
from napari_twostage.slides.limits import CHANNELS, check_sides
from napari_twostage.slides.picture import COLOURS
from napari_twostage.slides.planes import PROJECTION, choose_focal_plane, choose_time_point
from napari_twostage.slides.tiff_pixels import channel_samples, check_pixels, is_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tifffile

    from napari_twostage.geometry import Shape
    from napari_twostage.slides.channels import Colour
    from napari_twostage.slides.picture import Picture

Page = Any
"""A tifffile.TiffPage, or a TiffFrame, which has another's tags."""
_UNNAMED_AXES = "IQ"
"""Axes of which tifffile knows only that they are there."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes of one size that belong together: one level of an image."""

    pages: tuple[Page | None, ...]
    """A page for each plane, the last axis running fastest; or one page, whose planes follow each
    other in the file. None for planes that the file lacks."""
    axes: str = ""
    """A letter for each axis of the planes, such as ``TZC``."""
    sizes: tuple[int, ...] = ()
    """Length of each axis."""

    @classmethod
    def of_series(cls, series: tifffile.TiffPageSeries) -> Stack:
        """Take the planes of tifffile's series.

        Raises
        ------
        SlideError
            If the file states other planes than it has.
        """
        named = zip(series.axes, series.shape, strict=True)  # without some axes of length 1
        kept = [(axis, size) for axis, size in named if axis not in "YXS"]
        pages = tuple(series.pages[: len(series.pages)])
        samples = series.keyframe.samplesperpixel
        # channels may be the samples of each page
        count = prod(size for _, size in kept)
        if len(pages) * samples == count and ("C", samples) in kept and samples > 1:
            kept = [(axis, size) for axis, size in kept if axis != "C"]
        kept = [(axis, size) for axis, size in kept if size != 1]
        stack = cls(pages, "".join(axis for axis, _ in kept), tuple(size for _, size in kept))
        if len(pages) not in {stack.count, 1}:
            raise SlideError(
                f"states {stack.count} planes and has {len(pages)}; export the image again"
            )
        return stack

    @property
    def count(self) -> int:
        """Number of planes."""
        return prod(self.sizes)

    @property
    def keyframe(self) -> tifffile.TiffPage:
        """Page whose tags hold for all."""
        page: tifffile.TiffPage = next(page for page in self.pages if page is not None).keyframe
        return page

    @property
    def shape(self) -> Shape:
        """Rows and columns of a plane."""
        return self.keyframe.imagelength, self.keyframe.imagewidth

    def size(self, axis: str) -> int:
        """Length of an axis; 1 if there is none of that letter."""
        return dict(zip(self.axes, self.sizes, strict=True)).get(axis, 1)

    def renamed(self, axis: str, other: str) -> Stack:
        """The same planes with another letter for one axis."""
        return Stack(self.pages, self.axes.replace(axis, other), self.sizes)

    def number(self, **places: int) -> int:
        """Number of a plane among all, by its place along axes, 0 by default."""
        index = [places.get(axis, 0) for axis in self.axes]
        return int(np.ravel_multi_index(index, self.sizes)) if index else 0

    def plane(self, **places: int) -> tuple[Page, int]:
        """Find a plane by its place along axes, 0 by default.

        Returns
        -------
        The page, and the number of the plane among those that the page has.
        """
        number = self.number(**places)
        page = self.pages[0] if len(self.pages) == 1 else self.pages[number]
        if page is None:
            raise SlideError("lacks the chosen plane; choose another, or export the image again")
        return page, number if len(self.pages) == 1 else 0


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of the picture that are read together."""

    channel: int
    """Place along the axis of channels."""
    samples: tuple[int, ...] | None
    """Samples of the pages' pixels; None for all colours, or the one grey value."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The picture that is read of an image with several planes."""

    parts: tuple[Part, ...]
    """Red, green and blue if they are three; else one."""
    z: tuple[int, ...]
    """Focal planes, of which the maximum is taken."""
    t: int
    channel: int | None
    """Number of the channel; None for colours, or where there is only one."""

    def planes(self, stack: Stack, part: Part) -> list[tuple[Page, int]]:
        """Pages and plane numbers of one part of one level, a pair for each focal plane."""
        return [stack.plane(C=part.channel, Z=z, T=self.t) for z in self.z]


def count_channels(stack: Stack) -> int:
    """Channels among which the user may choose; 1 for one plane of grey or colours."""
    return stack.size("C") * channel_samples(stack.keyframe)


def check_stack(stack: Stack) -> None:
    """Refuse what is no 2-D plane of numbers; the message begins with its verb."""
    page = stack.keyframe
    check_sides(page.imagelength, page.imagewidth)
    channels = stack.size("C") * page.samplesperpixel
    if channels > CHANNELS:
        raise SlideError(f"has {channels:,} channels, at most {CHANNELS:,} can be read; export one")
    if page.imagedepth > 1:
        raise SlideError(
            f"is a volume of {page.imagedepth} planes, a 2-D image was expected; "
            "export one plane or a projection"
        )
    check_pixels(page)


def named_axes(stack: Stack, picture: Picture) -> Stack:
    """Name the axis that the file leaves open by what the user chose of it.

    Raises
    ------
    SlideError
        If an axis is one along which no plane can be chosen.
    """
    for axis, size in zip(stack.axes, stack.sizes, strict=True):
        if axis in "ZTC":
            continue
        free = [one for one in "ZTC" if one not in stack.axes]
        choices = {"C": picture.channel, "Z": picture.z, "T": picture.t}
        chosen = [one for one in free if choices[one] is not None]
        if axis not in _UNNAMED_AXES or not chosen or stack.axes.count(axis) > 1:
            hint = "choose one with z=, or --z on the command line, or " if free else ""
            raise SlideError(
                f"is a stack of {size} planes (axis {axis}), a 2-D image was expected; "
                f"{hint if axis in _UNNAMED_AXES else ''}export one plane or a projection"
            )
        stack = stack.renamed(axis, chosen[0])
    return stack


def select(
    stack: Stack,
    picture: Picture,
    names: Sequence[str],
    colours: Sequence[Colour | None] = (),
) -> Selection:
    """Choose the planes that make the picture.

    Parameters
    ----------
    stack : Stack
        Planes of the finest level, with named axes.
    picture : Picture
        The user's choice.
    names : sequence of str
        Name of each channel.
    colours : sequence of (int, int, int) or None
        Colours of the channels, as `colour_channels` takes them.

    Raises
    ------
    SlideError
        If a choice is missing or not there; the message begins with its verb.
    """
    depth = stack.size("Z")
    chosen = choose_focal_plane(picture, depth)
    z = tuple(range(depth)) if chosen == PROJECTION else (int(chosen),)
    t = choose_time_point(picture, stack.size("T"))
    samples = channel_samples(stack.keyframe)

    def part(channel: int) -> Part:
        place, sample = divmod(channel, samples)
        return Part(place, None if samples == 1 else (sample,))

    wanted = picture.channel
    if len(names) == 1 and is_rgb(stack.keyframe) and str(wanted).lower() == COLOURS:
        wanted = None  # they are colours anyway
    red_green_blue = colour_channels(wanted, names, colours)
    if red_green_blue is None:
        channel = choose_channel(wanted, names)
        return Selection((part(channel or 0),), z, t, channel)
    parts = [part(channel) for channel in red_green_blue]
    if samples >= len(parts) and len({one.channel for one in parts}) == 1:  # one page has all
        parts = [Part(parts[0].channel, tuple(n % samples for n in red_green_blue))]
    return Selection(tuple(parts), z, t, None)
