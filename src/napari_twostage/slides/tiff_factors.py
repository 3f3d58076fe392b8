"""How much coarser a level of a TIFF file is than the finest one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from napari_twostage.geometry import level_factors
from napari_twostage.slides.tiff_text import resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tifffile

    from napari_twostage.geometry import Scale, Shape

_STEPS = (2, 3, 4, 5, 6, 8, 10, 16)
"""Factors between neighbouring levels that padding may hide."""
_PADDED_PX = 64
"""Rows or columns that a level may be padded by, if it states its factor and has no tiles."""
_ROUNDED = 0.004
"""Relative difference of a stated factor from the whole number that was meant."""
_SAME_SHAPE = 0.02
"""Relative difference of the ratios of height and width up to which they may be one."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Level-0 pixels per pixel (y, x) of a level, and how it was found."""

    scale: Scale
    certain: bool
    """Whether nothing else explains the level's size."""
    fits: bool = True
    """Whether it may be used where the picture does not tell."""


def possible_factors(
    full: Shape, level: Shape, tile: Shape, finer: Scale, stated: Scale | None
) -> Iterator[Factor]:
    """Yield the factors that explain the size of a level, the likeliest first.

    Parameters
    ----------
    full : (int, int)
        Rows and columns of level 0.
    level : (int, int)
        The same of the level, which may be padded to whole tiles.
    tile : (int, int)
        Rows and columns of its tiles.
    finer : (float, float)
        Factor of the next finer level.
    stated : (float, float) or None
        What the file says.

    Examples
    --------
    >>> [one.scale for one in possible_factors((800, 600), (400, 300), (64, 64), (1.0, 1.0), None)]
    [(2.0, 2.0)]
    >>> padded = possible_factors((2900, 2150), (1536, 1280), (512, 256), (1.0, 1.0), None)
    >>> next(padded).scale
    (2.0, 2.0)
    """
    (whole,) = level_factors([full, level])[1:]
    is_whole = whole[0] == whole[1] == round(whole[0])
    has_stated = stated is not None and _explains(full, level, tile, stated)
    # sizes and resolutions are rounded: what they state is the whole number beside it
    agree = stated is not None and is_whole and _alike(stated, whole)
    if stated is not None and has_stated and not agree:
        yield Factor(stated, certain=not is_whole)
    if is_whole:
        yield Factor(whole, certain=agree or not has_stated)
    if is_whole or has_stated:
        return
    ratio = (full[0] / level[0], full[1] / level[1])
    padded = [
        scale
        for step in _STEPS
        if min(scale := (finer[0] * step, finer[1] * step)) > 1
        and all(
            -1 - size / part < rows - length / part < size  # level 0 may be padded, too
            for length, rows, part, size in zip(full, level, scale, tile, strict=True)
        )
    ]
    padded.sort(key=lambda scale: abs(scale[0] - ratio[0]))
    for scale in padded:
        yield Factor(scale, certain=False, fits=_fills_tiles(full, level, tile, scale))
    if abs(ratio[0] / ratio[1] - 1) <= max(_SAME_SHAPE, 2 / min(level)):
        alike = abs(level[1] - full[1] / ratio[0]) < 1 or abs(level[0] - full[0] / ratio[1]) < 1
        yield Factor(ratio, certain=False, fits=alike and not padded)


def stated_by_resolution(full: tifffile.TiffPage, level: tifffile.TiffPage) -> Scale | None:
    """Factor by the resolutions that both pages state; None where they state none, or the same."""
    fine, coarse = resolution(full), resolution(level)
    unit = 296
    if fine is None or coarse is None or full.tags.valueof(unit, 2) != level.tags.valueof(unit, 2):
        return None
    scale = (_rounded(fine[0] / coarse[0]), _rounded(fine[1] / coarse[1]))
    return scale if min(scale) > 1 else None


def content_shape(full: Shape, level: Shape, scale: Scale) -> Shape:
    """Rows and columns of a level without its padding."""

    def content(length: int, rows: int, part: float) -> int:
        return max(1, int(length / part)) if rows - length / part >= 1 else rows

    rows, columns = (content(*one) for one in zip(full, level, scale, strict=True))
    return rows, columns


def _explains(full: Shape, level: Shape, tile: Shape, scale: Scale) -> bool:
    """Whether a level has the size of a stated factor, where either may be padded."""
    return min(scale) >= 1 and all(
        abs(rows - length / part) <= max(size, _PADDED_PX)
        for length, rows, part, size in zip(full, level, scale, tile, strict=True)
    )


def _alike(one: Scale, other: Scale) -> bool:
    return all(abs(a / b - 1) <= _ROUNDED for a, b in zip(one, other, strict=True))


def _fills_tiles(full: Shape, level: Shape, tile: Shape, scale: Scale) -> bool:
    """Whether a level is exactly as large as the whole tiles that its factor needs."""
    return all(
        rows == ceil(ceil(length / part) / size) * size
        for length, rows, part, size in zip(full, level, scale, tile, strict=True)
    )


def _rounded(factor: float) -> float:
    """A factor that is a whole number but for the rounding of resolutions."""
    whole = float(round(factor))
    return whole if whole and abs(factor / whole - 1) <= _ROUNDED else factor
