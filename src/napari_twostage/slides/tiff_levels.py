"""Levels of the images of a TIFF file: which pages are levels, and by what factor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.slides.tiff_factors import possible_factors, stated_by_resolution
from napari_twostage.slides.tiff_likeness import ALIKE, likeness, places_to_compare
from napari_twostage.slides.tiff_pixels import channel_samples
from napari_twostage.slides.tiff_planes import Part, Selection
from napari_twostage.slides.tiff_stack import level_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tifffile

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.byte_source import PositionedFile, RemoteFile
    from napari_twostage.slides.tiff_factors import Factor
    from napari_twostage.slides.tiff_images import TiffImage
    from napari_twostage.slides.tiff_likeness import Places
    from napari_twostage.slides.tiff_planes import Stack
    from napari_twostage.slides.tiff_stack import LevelStack

Level = tuple["Stack", "Scale"]
"""Planes of a level, and level-0 pixels per pixel (y, x) of it."""
_MOST_COMPARED = 64
"""Comparisons of pictures in one file; pyramids have ten levels."""


@dataclass(slots=True)
class LevelFinder:
    """Search for the levels of images, by words and sizes, then by their pictures.

    Parameters
    ----------
    file : PositionedFile or RemoteFile
        Open file.
    """

    file: PositionedFile | RemoteFile
    _compared: int = field(default=0, init=False)
    _places: Places = field(default_factory=list, init=False)

    def levels(self, image: TiffImage) -> list[Level]:
        """Levels of an image whose factor can be told, finest first.

        Others are left out: what is found on them would lie at the wrong place.
        """
        first, *coarser = image.levels
        if not image.scan:
            return [(first, (1.0, 1.0))]
        numbered = sorted(enumerate(coarser, start=1), key=lambda one: -prod(one[1].shape))
        stated = [image.stated(n) for n, _ in numbered]
        candidates = [stack for _, stack in numbered]
        return self._settled(first, candidates, stated, sure=image.sure)

    def gathered(self, images: Sequence[TiffImage]) -> list[TiffImage]:
        """Make one image of those that show the same picture at different resolutions.

        For files that do not say which of their pages belong together.

        Parameters
        ----------
        images : sequence of TiffImage
            Images in the order of the file.

        Returns
        -------
        Images that are left, in that order; those that the file flags as reduced, and which are
        levels of none, are no scans.
        """
        left = dict(enumerate(images))
        areas = [prod(one.shape) for one in images]
        by_size = sorted(left, key=lambda n: -areas[n])
        for number in by_size:
            image = left.get(number)
            if image is None or not image.scan or len(image.levels) > 1:
                continue
            smaller = [
                other
                for other in by_size
                if other in left and areas[other] < areas[number] and len(left[other].levels) == 1
            ]
            stacks = [left[other].levels[0] for other in smaller]
            found = self._settled(image.levels[0], stacks, [None] * len(stacks), sure=False)
            kept = {id(stack) for stack, _ in found}
            for other, stack in zip(smaller, stacks, strict=True):
                if id(stack) in kept:
                    del left[other]
            left[number] = replace(
                image,
                levels=tuple(stack for stack, _ in found),
                factors=tuple(scale for _, scale in found),
            )
        scans = [one for one in left.values() if one.scan and not one.keyframe.is_reduced]
        return [
            replace(one, scan=False) if scans and one.keyframe.is_reduced else one
            for _, one in sorted(left.items())
        ]

    def _settled(
        self,
        first: Stack,
        candidates: Sequence[Stack],
        stated: Sequence[Scale | None],
        *,
        sure: bool,
    ) -> list[Level]:
        """Levels among candidates that are ordered from fine to coarse."""
        kept: list[Level] = [(first, (1.0, 1.0))]
        usable = [_same_kind(first, stack) for stack in candidates]
        smallest = next(
            (s for s, use in zip(reversed(candidates), reversed(usable), strict=True) if use), None
        )
        self._places = []
        for stack, own, use in zip(candidates, stated, usable, strict=True):
            finer, scale = kept[-1]
            if not use or stack.shape[0] > finer.shape[0] or stack.shape[1] > finer.shape[1]:
                continue
            told = own or stated_by_resolution(first.keyframe, stack.keyframe)
            found = self._factor(first, kept[-1], stack, told, sure=sure, smallest=smallest)
            if found is not None and found[0] * found[1] > scale[0] * scale[1]:
                kept.append((stack, found))
        return kept

    def _factor(
        self,
        first: Stack,
        finer: Level,
        stack: Stack,
        stated: Scale | None,
        *,
        sure: bool,
        smallest: Stack | None,
    ) -> Scale | None:
        """Factor of a level; None if it shows another picture, or its factor cannot be told."""
        page = stack.keyframe
        tile = (page.tilelength or 1, page.tilewidth or 1) if page.is_tiled else (1, 1)
        options = list(possible_factors(first.shape, stack.shape, tile, finer[1], stated))
        if not options:
            return None
        if sure and options[0].certain:
            return options[0].scale
        judged = [(self._likeness(finer, stack, one, smallest or stack), one) for one in options]
        told = [(score, n) for n, (score, _) in enumerate(judged) if score is not None]
        if told:
            score, n = max(told, key=lambda one: (one[0], -one[1]))
            return options[n].scale if score >= ALIKE else None
        fitting = [one for one in options if one.certain or (sure and one.fits)]
        likely = sure or page.is_reduced or _same_tiles(first.keyframe, page)
        return fitting[0].scale if fitting and likely else None

    def _likeness(
        self, finer: Level, stack: Stack, factor: Factor, smallest: Stack
    ) -> float | None:
        """Likeness of a level to the next finer one, if it is coarser by `factor`."""
        step = (factor.scale[0] / finer[1][0], factor.scale[1] / finer[1][1])
        self._compared += 1
        if min(step) <= 1 or self._compared > _MOST_COMPARED:
            return None
        try:
            fine, coarse = first_plane(finer[0]), first_plane(stack)
            if not self._places:
                self._places = places_to_compare(self.file, first_plane(smallest))
        except SlideError:
            return None
        return likeness(self.file, fine, coarse, step, self._places)


def first_plane(stack: Stack) -> LevelStack:
    """The first plane of a level, whatever the user chose: its picture is that of the image."""
    channels = channel_samples(stack.keyframe)
    part = Part(0, None if channels == 1 else (0,))
    return level_stack(stack, Selection((part,), (0,), 0, None))


def _same_tiles(one: tifffile.TiffPage, other: tifffile.TiffPage) -> bool:
    """Whether two pages are tiled alike, as the levels of a pyramid are."""
    return bool(
        one.is_tiled
        and other.is_tiled
        and (one.tilelength, one.tilewidth) == (other.tilelength, other.tilewidth)
    )


def _same_kind(first: Stack, stack: Stack) -> bool:
    """Whether a stack has the planes and pixels of another."""
    one, other = first.keyframe, stack.keyframe
    return (one.dtype, one.samplesperpixel, first.axes, first.sizes) == (
        other.dtype,
        other.samplesperpixel,
        stack.axes,
        stack.sizes,
    )
