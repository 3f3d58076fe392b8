"""Choice of the slide and its levels among the images of a TIFF file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.slides.limits import CHANNELS, check_sides
from napari_twostage.slides.tiff_metadata import tiles_overlap

if TYPE_CHECKING:
    import tifffile

_RGB, _YCBCR = 2, 6
_YCBCR_CODECS = {6, 7, 33003, 33004, 33005, 33007, 34712, 34892}
"""Compressions whose decoders convert YCbCr to RGB."""


class NeedsStitchingError(SlideError):
    """A file with overlapping tiles: OpenSlide can place them, this reader cannot."""


def main_series(tif: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The largest image: labels, macro pictures and thumbnails are smaller."""
    series = tif.series
    if not series:
        raise SlideError("holds no image, its tables may be cut off; copy it again")
    return max(series, key=lambda one: one.keyframe.imagelength * one.keyframe.imagewidth)


def check_plane(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse anything but a 2-D plane of 8- or 16-bit pixels, all in this file."""
    page = series.keyframe
    check_sides(page.imagelength, page.imagewidth)
    for axis, length in zip(series.axes, series.shape, strict=True):
        if axis not in "YXSC" and length > 1:
            raise SlideError(
                f"is a stack of {length} planes (axis {axis}), a 2-D image was expected; "
                "export one plane or a projection"
            )
    channels = max(page.samplesperpixel, len(series.pages))
    if channels > CHANNELS:
        raise SlideError(f"has {channels:,} channels, at most {CHANNELS:,} can be read; export one")
    if page.imagedepth > 1:
        raise SlideError(
            f"is a volume of {page.imagedepth} planes, a 2-D image was expected; "
            "export one plane or a projection"
        )
    if series.kind == "bif" and tiles_overlap(page):
        raise NeedsStitchingError(
            "has overlapping tiles; install OpenSlide, which places them: "
            "pip install 'napari-twostage[openslide]'"
        )
    if page.dtype is None or page.dtype.name not in {"uint8", "uint16"}:
        found = "an unknown type" if page.dtype is None else page.dtype.name
        raise SlideError(f"has {found} pixels; convert it to uint8 or uint16")
    if any(part is None or part.parent is not tif for part in series.pages):
        raise SlideError("is spread over several files; export it as one OME-TIFF")
    mixed = int(page.photometric) == _YCBCR and int(page.compression) not in _YCBCR_CODECS
    if mixed or int(page.photometric) not in {0, 1, _RGB, _YCBCR}:
        name = getattr(page.photometric, "name", page.photometric)
        raise SlideError(f"has {name} pixels, grey or RGB were expected; convert it to RGB")


def is_rgb(page: tifffile.TiffPage) -> bool:
    """Whether the page holds colours rather than channels."""
    return int(page.photometric) in {_RGB, _YCBCR} and page.samplesperpixel in {3, 4}


def pyramid_levels(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> list[tifffile.TiffPageSeries]:
    """The levels of one image, finest first, without images of another shape or kind."""
    levels = list(series.levels)
    if len(levels) == 1:
        # reduced pages by a factor that tifffile does not look for
        levels += [one for one in tif.series if one is not series and one.keyframe.is_reduced]
    levels.sort(key=lambda one: -one.keyframe.imagelength * one.keyframe.imagewidth)
    kept = [series]
    for level in levels:
        if _is_coarser(level, kept[-1], series):
            kept.append(level)
    return kept


def _is_coarser(
    level: tifffile.TiffPageSeries,
    finer: tifffile.TiffPageSeries,
    finest: tifffile.TiffPageSeries,
) -> bool:
    """Whether a level shows the same plane as `finest` with fewer pixels than `finer`."""
    page, full = level.keyframe, finest.keyframe
    if page.imagelength >= finer.keyframe.imagelength or min(page.imagelength, page.imagewidth) < 1:
        return False
    same_kind = (page.dtype, page.samplesperpixel, len(level.pages)) == (
        full.dtype,
        full.samplesperpixel,
        len(finest.pages),
    )
    # scanners round sizes up or down, and some pad the last tile
    expected = full.imagelength * page.imagewidth / full.imagewidth
    return same_kind and abs(page.imagelength - expected) <= max(2, 0.02 * expected)
