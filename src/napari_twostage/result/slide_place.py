"""Where the slide of a result lies: beside the result, or where it was when it was segmented."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_twostage.errors import SegmentationError, SlideError
from napari_twostage.io.paths import locate
from napari_twostage.io.url import Url
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.io.paths import Location
    from napari_twostage.result.record import Record
    from napari_twostage.slides.base import Slide

_CACHE_BYTES = 256 << 20


def open_as_before(
    record: Record, place: str | Location, *, cache_bytes: int = _CACHE_BYTES
) -> Slide:
    """Open a slide with the pixel size, scene and channel that a result was made with."""
    chosen = record.parameters.picture.as_dict()
    slide = open_slide(place, mpp=record.slide.mpp, cache_bytes=cache_bytes, **chosen)
    slide.mpp_source = record.slide.mpp_source  # not the user, who gives none now
    return slide


def open_slide_of(folder: Location, record: Record, *, cache_bytes: int = _CACHE_BYTES) -> Slide:
    """Find and open the slide of a result, also after both were moved together.

    Parameters
    ----------
    folder : Path or Url
        The result.
    record : Record
        Its record.
    cache_bytes : int
        Memory for decoded tiles.

    Raises
    ------
    SegmentationError
        If the result was made from an array, or only other slides are found.
    SlideError
        If the slide is gone, or cannot be opened.
    """
    known = record.slide
    if known.path is None:
        raise SegmentationError(
            f"{folder} was made from an array; open it with slide=open_slide(array, ...)"
        )
    other, broken = None, None
    for place in _places(folder, known.path, known.seen_from_result):
        try:
            slide = open_as_before(record, place, cache_bytes=cache_bytes)
        except SlideError as error:
            broken = broken or error
            continue
        if slide.fingerprint() == known.fingerprint:
            return slide
        slide.close()
        other = place
    if other is not None:
        raise SegmentationError(
            f"{other} is another slide than the one of {folder}: {known.name}, with other pixels; "
            "name the right one with --slide, or slide= in Python"
        )
    if broken is not None:
        raise broken
    raise SlideError(
        f"{known.name} is neither beside {folder} nor at {known.path}; put it back, or name it "
        "with --slide, or slide= in Python"
    )


def _places(folder: Location, path: str, seen_from_result: str | None) -> Iterator[Location]:
    """Places where the slide may be, each once: as seen from the result, beside it, as it was."""
    was = locate(path)
    places: list[Location] = []
    if isinstance(folder, Path):
        if seen_from_result is not None:
            relative = PurePosixPath(seen_from_result)
            places.append(Path(os.path.normpath(folder.absolute() / relative)))
        places.append(folder.absolute().parent / was.name)
    places.append(was)
    seen = set[str]()
    for place in places:
        if str(place) not in seen and (isinstance(place, Url) or place.exists()):
            yield place
        seen.add(str(place))
