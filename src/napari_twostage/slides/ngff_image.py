"""The image of an OME-Zarr folder that is the slide: its metadata and its checked arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import zarr

from napari_twostage.errors import SlideError, TwoStageError, reason_of
from napari_twostage.slides.channels import choose_channel, colour_channels
from napari_twostage.slides.ngff_metadata import Multiscale, parse_multiscales
from napari_twostage.slides.ngff_scenes import ImagePlace, find_images, open_group
from napari_twostage.slides.picture import COLOURS, Picture
from napari_twostage.slides.planes import pixel_type
from napari_twostage.slides.scenes import Scene, choose_scene, is_beside_scan
from napari_twostage.slides.zarr_arrays import within_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.channels import Colour

    Array = zarr.Array[Any]

_CHANNELS = 1024
"""Most channels of an image."""
_DESCRIBED = 64
"""Images of a plate whose sizes are read; those of more are taken to be as large as the first."""


@dataclass(frozen=True, slots=True)
class NgffImage:
    """One image of an OME-Zarr folder."""

    place: Location
    """Folder of its group."""
    metadata: Multiscale
    arrays: tuple[Array, ...]
    """One per level, axes as in the metadata."""

    @property
    def plane(self) -> tuple[int, int]:
        """Axes of rows and columns."""
        return self.metadata.axes.index("y"), self.metadata.axes.index("x")

    @property
    def shapes(self) -> list[Shape]:
        """Rows and columns of each level."""
        y, x = self.plane
        return [(array.shape[y], array.shape[x]) for array in self.arrays]

    @property
    def notices(self) -> list[str]:
        """What a user should know of how the metadata were understood."""
        scales = self.metadata.scales
        if scales is None:
            return []
        believed = all(
            math.isclose(mine, part / full, rel_tol=1e-9)
            for factor, scale in zip(self.factors, scales, strict=True)
            for mine, part, full in zip(factor, scale, scales[0], strict=True)
        )
        if believed:
            return []
        return ["the scales of the levels contradict their sizes, which are believed"]

    @property
    def factors(self) -> tuple[Scale, ...]:
        """Level-0 pixels per pixel (y, x) of each level."""
        y, x = self.plane
        chunks = [(array.chunks[y], array.chunks[x]) for array in self.arrays]
        return self.metadata.factors(self.shapes, chunks)

    def length(self, axis: str) -> int:
        """Length of an axis; 1 of one that the image lacks."""
        axes = self.metadata.axes
        return int(self.arrays[0].shape[axes.index(axis)]) if axis in axes else 1

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Name of each channel, its number where none is stated; empty if there is one."""
        count, stated = self.length("c"), self.metadata.channel_names
        if count > 1 and len(stated) == count and len({*stated}) == 1:
            stated = ()  # such as the name of the file, which tells no channel
        names = (
            stated[index] if index < len(stated) and stated[index] else str(index)
            for index in range(count)
        )
        return tuple(names) if count > 1 else ()

    @property
    def channel_colours(self) -> tuple[Colour | None, ...]:
        """Colour in which each channel is shown; empty if there is one, or none is stated."""
        stated = self.metadata.channel_colours
        count = self.length("c")
        return tuple(map(_rgb, stated)) if count == len(stated) > 1 else ()

    def choose_channel(self, wanted: int | str | None) -> int | tuple[int, ...]:
        """Index of the channel to read, or those of the colours in their order.

        Three 8-bit channels, and three or four as the last axis, are colours unless their names
        or the colours that they are shown in say otherwise.

        Raises
        ------
        SlideError
            If there are several and none was chosen, or another; the message begins with its
            verb.
        """
        count = self.length("c")
        last = self.metadata.axes[-1] == "c"
        names = self.channel_names or ("0",)
        if last and count == 4 and wanted in {None, COLOURS} and _say_nothing(names):
            return tuple(range(count))
        eight_bits = self.arrays[0].dtype.name == "uint8"
        stated = self.metadata.channel_colours
        shown = [_rgb(colour) for colour in stated] if eight_bits or last else []
        found = colour_channels(wanted, names, shown, assumed=last or eight_bits)
        return found or choose_channel(wanted, names) or 0


def choose_image(place: Location, picture: Picture) -> tuple[NgffImage, list[Scene], Picture]:
    """Open the image that was chosen, by default the largest scan.

    Returns
    -------
    (image, scenes, picture)
        Every image of the folder, none if there is only one; and the choice with the number of
        the scene.

    Raises
    ------
    SlideError
        If there is no such image, or it cannot be a slide.
    """
    root = open_group(place)
    places = find_images(place, root.attrs.asdict())
    if len(places) == 1 and picture.scene is None:
        return _open_image(place, places[0], root), [], picture
    scenes = _describe(place, places)
    try:
        number = choose_scene(picture.scene, scenes)
    except SlideError as error:
        raise SlideError(f"{place.name} {error}") from None
    image = _open_image(place, places[number])
    if len(places) == 1:
        return image, [], picture
    return image, scenes, replace(picture, scene=number)


def _say_nothing(names: Sequence[str]) -> bool:
    return all(name == str(number) for number, name in enumerate(names))


def _rgb(colour: str) -> Colour | None:
    """A colour of RRGGBB in hexadecimal digits; None for greys, which tell no channel."""
    try:
        red, green, blue = bytes.fromhex(colour.lstrip("#")[-6:])
    except ValueError:
        return None
    return None if red == green == blue else (red, green, blue)


def _describe(root: Location, places: list[ImagePlace]) -> list[Scene]:
    several = len(places) > _DESCRIBED
    first = _scene(root, places[0])
    if several:
        return [replace(first, name=one.name, scan=not is_beside_scan(one.name)) for one in places]
    return [first, *(_scene(root, one) for one in places[1:])]


def _scene(root: Location, place: ImagePlace) -> Scene:
    """Size of one image; an image that cannot be opened is no scan, so others can be read."""
    try:
        image = _open_image(root, place)
    except SlideError:
        return Scene(place.name, (0, 0), scan=False)
    return Scene(
        place.name, image.shapes[0], image.metadata.mpp, scan=not is_beside_scan(place.name)
    )


def _open_image(root: Location, place: ImagePlace, group: zarr.Group | None = None) -> NgffImage:
    """Open an image; `group` is the root's, if it is open already."""
    folder = root / place.path if place.path else root
    name = f"{root.name}/{place.path}" if place.path else root.name
    if group is None or place.path:
        group = open_group(folder)
    metadata = parse_multiscales(group.attrs.asdict(), name)[place.number]
    return NgffImage(folder, metadata, tuple(_open_levels(group, metadata, name)))


def _open_levels(group: zarr.Group, image: Multiscale, name: str) -> list[Array]:
    """Open the array of every level, and refuse those that cannot be a slide."""
    arrays = []
    for path in image.paths:
        try:
            array = group[path]
        except TwoStageError:
            raise
        except Exception as error:  # as when pixels are read
            raise SlideError(
                f"level {path} of {name}, promised by its metadata, cannot be opened "
                f"({reason_of(error)}); copy the image again"
            ) from error
        if not isinstance(array, zarr.Array) or array.ndim != len(image.axes):
            raise SlideError(
                f"level {path} of {name} is no array with axes {', '.join(image.axes)}; "
                "its metadata and its arrays contradict each other: convert the image again"
            )
        arrays.append(array)
    for array in arrays:
        _refuse_unusable(array, image.axes, name)
    for finer, coarser in pairwise(arrays):
        sides = zip(image.axes, finer.shape, coarser.shape, strict=True)
        fits = all(a >= b if axis in {"y", "x", "z"} else a == b for axis, a, b in sides)
        if not fits or finer.dtype != coarser.dtype:
            raise SlideError(
                f"the levels of {name} are not one image at ever lower resolution, finest first; "
                "convert the image again"
            )
    plane = image.axes.index("y"), image.axes.index("x")
    return [
        within_limits(array, plane, f"level {path} of {name}")
        for array, path in zip(arrays, image.paths, strict=True)
    ]


def _refuse_unusable(array: Array, axes: tuple[str, ...], name: str) -> None:
    """Raise SlideError for axes that are none of a slide's, empty planes, and other pixels."""
    for axis, length in zip(axes, array.shape, strict=True):
        if length == 0:
            raise SlideError(f"{name} has no pixels: its axis {axis} is of length 0")
        if axis == "c" and length > _CHANNELS:
            raise SlideError(
                f"{name} has {length} channels, at most {_CHANNELS} were expected; "
                "save the channels of interest as an image of their own"
            )
        if axis not in {"c", "t", "z", "y", "x"} and length > 1:
            raise SlideError(
                f"{name} has {length} planes along {axis}, axes t, c, z, y and x were expected; "
                f"save one {axis} plane as its own image"
            )
    try:
        pixel_type(array.dtype)
    except SlideError as error:
        raise SlideError(f"{name} {error}") from None
