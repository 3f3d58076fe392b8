"""The picture that is read of a TIFF file: its scene, levels, planes and pixel size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.slides.scenes import Scene, choose_scene
from napari_twostage.slides.tiff_bare import bare_images
from napari_twostage.slides.tiff_factors import content_shape
from napari_twostage.slides.tiff_images import named_images
from napari_twostage.slides.tiff_levels import LevelFinder
from napari_twostage.slides.tiff_names import channel_colours, channel_names
from napari_twostage.slides.tiff_pixel_size import contradiction, stated_pixel_size, unknown_unit
from napari_twostage.slides.tiff_pixels import ignored_sample
from napari_twostage.slides.tiff_planes import (
    Part,
    Selection,
    check_stack,
    count_channels,
    named_axes,
    select,
)
from napari_twostage.slides.tiff_stack import level_stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tifffile

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.byte_source import PositionedFile, RemoteFile
    from napari_twostage.slides.channels import Colour
    from napari_twostage.slides.picture import Picture
    from napari_twostage.slides.tiff_images import TiffImage
    from napari_twostage.slides.tiff_levels import Level
    from napari_twostage.slides.tiff_stack import LevelStack

_ALPHA_PX = 1 << 22
"""Size of a level up to which its alpha is looked at."""


@dataclass(frozen=True, kw_only=True)
class TiffPicture:
    """One picture of a TIFF file, as it is read."""

    kind: str
    """tifffile's name of the kind of file."""
    levels: tuple[LevelStack, ...]
    factors: tuple[Scale, ...]
    """Level-0 pixels per pixel (y, x) of each level."""
    scenes: tuple[Scene, ...]
    """All images of the file if there are several."""
    choice: Picture
    """What the user chose; of several scans also which one is read."""
    channel: int | None
    """Number of the channel, if there are several."""
    channel_names: tuple[str, ...]
    channel_colours: tuple[Colour | None, ...]
    """Colour in which each channel is shown; empty if none is stated."""
    focal_planes: int
    stated: tuple[Scale, str] | None
    """Pixel size (y, x) in micrometres that the file states, and its source in words."""
    unknown_unit: str | None
    """Unit of the pixel size, if it is none of length."""
    notices: tuple[str, ...]
    """Facts that a user should know, a sentence each."""


def tiff_images(tif: tifffile.TiffFile, finder: LevelFinder) -> tuple[str, Sequence[TiffImage]]:
    """All images of a file, and tifffile's name of its kind.

    Raises
    ------
    SlideError
        If there is none; the message begins with its verb, to follow the file's name.
    """
    named = named_images(tif)
    if named is not None:
        return named
    kind, images = bare_images(tif)
    return kind, finder.gathered(images) if len(images) > 1 else images


def find_picture(
    tif: tifffile.TiffFile, file: PositionedFile | RemoteFile, choice: Picture
) -> TiffPicture:
    """Find the picture that a user chose.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open file.
    file : PositionedFile or RemoteFile
        The same file, for its pixels.
    choice : Picture
        The user's choice.

    Raises
    ------
    SlideError
        If it is not there, or cannot be read; the message begins with its verb, to follow the
        file's name.
    """
    finder = LevelFinder(file)
    kind, images = tiff_images(tif, finder)
    scenes = tuple(
        Scene(image.name or str(number), image.shape, _size(tif, image), image.scan)
        for number, image in enumerate(images)
    )
    number = choose_scene(choice.scene, scenes)
    image = images[number]
    check_stack(image.levels[0])
    found = [(named_axes(stack, choice), scale) for stack, scale in finder.levels(image)]
    first = found[0][0]
    count = count_channels(first)
    names = channel_names(tif, image, first, count)
    colours = channel_colours(tif, image, first, count)
    # of more bits, programs show any first three channels in red, green and blue
    telling = colours if first.keyframe.dtype == "uint8" else ()
    selection = select(first, choice, names, telling)
    levels = _opened(found, selection)
    notices = [contradiction(tif, image), ignored_sample(first.keyframe)]
    if _is_clear(file, levels[-1]):
        levels = _opened(found, _without_alpha(selection))
        notices.append("its alpha is 0 everywhere, which would show nothing, and is left out")
    if sum(scene.scan for scene in scenes) > 1 or choice.scene is not None:
        choice = replace(choice, scene=number)
    return TiffPicture(
        kind=kind,
        levels=tuple(levels),
        factors=tuple(scale for _, scale in found),
        scenes=scenes if len(scenes) > 1 else (),
        choice=choice,
        channel=selection.channel,
        channel_names=names if count > 1 else (),
        channel_colours=colours if count > 1 else (),
        focal_planes=first.size("Z"),
        stated=stated_pixel_size(tif, image),
        unknown_unit=unknown_unit(image),
        notices=tuple(notice for notice in notices if notice),
    )


def _size(tif: tifffile.TiffFile, image: TiffImage) -> Scale | None:
    stated = stated_pixel_size(tif, image)
    return None if stated is None else stated[0]


def _opened(found: Sequence[Level], selection: Selection) -> list[LevelStack]:
    """Levels of the chosen planes, without their padding."""
    (first, _), *_ = found
    levels = []
    for stack, scale in found:
        level = level_stack(stack, selection)
        levels.append(level.cropped(content_shape(first.shape, stack.shape, scale)))
    return levels


def _is_clear(file: PositionedFile | RemoteFile, level: LevelStack) -> bool:
    """Whether the alpha of a level is 0 everywhere; False for a level that is large."""
    plane = level.planes[0]
    if len(level.planes) > 1 or not plane.format.keeps_alpha or prod(level.shape) > _ALPHA_PX:
        return False
    try:
        return all(not level.read_tile(file, *cell)[..., 3].any() for cell in _cells(level))
    except TwoStageError:
        return False


def _cells(level: LevelStack) -> Iterator[tuple[int, int]]:
    rows, columns = (-(-side // part) for side, part in zip(level.shape, level.tile, strict=True))
    return ((row, column) for row in range(rows) for column in range(columns))


def _without_alpha(selection: Selection) -> Selection:
    """The same picture by its colours alone."""
    parts = tuple(Part(part.channel, (0, 1, 2)) for part in selection.parts)
    return replace(selection, parts=parts)
