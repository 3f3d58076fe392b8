"""Images of TIFF files that do not say which pages belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.slides.tiff_images import (
    NeedsStitchingError,
    TiffImage,
    is_no_scan,
)
from napari_twostage.slides.tiff_planes import Stack

if TYPE_CHECKING:
    import tifffile

_PAGE_NAME = 285
_NAME_CHARACTERS = 40
_PICTURES = 64
"""Pages up to which a file may hold several pictures; more are the planes of a stack."""


def bare_images(tif: tifffile.TiffFile) -> tuple[str, list[TiffImage]]:
    """Images of a file by its series, each with the SubIFDs of its pages as levels.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open file.

    Returns
    -------
    tifffile's name of the kind of file, and the images in the file's order.

    Raises
    ------
    SlideError
        If there is none, or planes that the file states are missing; the message begins with
        its verb.
    """
    series = tif.series
    if not series:
        raise SlideError("holds no image, its tables may be cut off; copy it again")
    _refuse_cut_stack(tif, series[0])
    _refuse_overlap(tif.pages.first)
    every = _split([level for one in series for level in one.levels])
    tops = [one for one in every if not one.keyframe.is_subifd]
    below: dict[int, list[Stack]] = {}
    for one in every:
        if one.keyframe.is_subifd:
            below.setdefault(one.keyframe.treeindex[0], []).append(Stack.of_series(one))
    tops.sort(key=lambda one: one.keyframe.index)
    images = []
    for one in tops:
        name = _name(one)
        levels = (Stack.of_series(one), *below.get(one.keyframe.index, []))
        scan = not is_no_scan(name) and not one.keyframe.is_mask
        images.append(TiffImage(name=name, levels=levels, scan=scan))
    return series[0].kind, images


def _split(series: list[tifffile.TiffPageSeries]) -> list[tifffile.TiffPageSeries]:
    """Take apart pages that tifffile grouped by their layout alone, below one that has no planes.

    A label may happen to have the layout of a level.
    """
    largest = max(series, key=lambda one: one.keyframe.imagelength * one.keyframe.imagewidth)
    pages = sum(len(one.pages) for one in series)
    if largest.kind != "generic" or len(largest.pages) > 1 or pages > _PICTURES:
        return series
    return [
        type(one)([page], page.shape, page.dtype, page.axes, kind=one.kind)
        for one in series
        for page in one.pages
        if page is not None
    ]


def _name(series: tifffile.TiffPageSeries) -> str:
    page = series.keyframe
    for name in (page.tags.valueof(_PAGE_NAME), series.name, page.description):
        text = str(name or "").strip()
        if text and len(text) <= _NAME_CHARACTERS and text.isprintable():
            return text
    return ""


def _refuse_cut_stack(tif: tifffile.TiffFile, first: tifffile.TiffPageSeries) -> None:
    """Refuse a stack of ImageJ's whose later planes are cut off: tifffile then sees the first."""
    stated = int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1
    if first.kind != "imagej" and stated > len(tif.pages):
        raise SlideError(
            f"is truncated: it states {stated} planes and has {len(tif.pages)}; copy it again"
        )


def _refuse_overlap(page: tifffile.TiffPage) -> None:
    """Refuse files of Trestle's MedScan whose tiles overlap."""
    found = re.search(r"OverlapsXY\s*=\s*([\d\s]+)", page.description)
    if found and page.software.startswith("MedScan") and any(map(int, found[1].split())):
        raise NeedsStitchingError
