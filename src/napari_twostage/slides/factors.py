"""Level-0 pixels per pixel of each level, from a file's own statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.geometry import level_factors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.geometry import Scale, Shape

_ROUNDING_PX = 1.0 + 1e-6
"""How far a level's size may be from the one that its stated factor leads to."""
_MOST = 2.0
"""How far a stated factor may be from the ratio of padded sizes."""
_WHOLE = 0.01
"""Share by which a stated factor may differ from a whole number that it is rounded to."""


def stated_factors(
    stated: Sequence[Scale], shapes: Sequence[Shape], tiles: Sequence[Shape]
) -> tuple[Scale, ...]:
    """Factors that a file states if the sizes of its levels do not contradict them.

    They tell the truth also where a level is padded, to whole tiles or more. They are not believed
    where a whole number explains the sizes better, or where both differ by 2 times or more, as
    those of writers that repeat the pixel size of level 0 on every level; then the sizes tell.

    Parameters
    ----------
    stated : sequence of (float, float)
        Factor (y, x) of each level, finest first.
    shapes : sequence of (int, int)
        Rows and columns of each level.
    tiles : sequence of (int, int)
        Rows and columns of the tiles of each level.

    Examples
    --------
    >>> stated_factors([(1.0, 1.0), (2.0, 2.0)], [(512, 600), (256, 320)], [(256, 256)] * 2)
    ((1.0, 1.0), (2.0, 2.0))
    >>> stated_factors([(1.0, 1.0), (1.0, 1.0)], [(512, 600), (256, 300)], [(256, 256)] * 2)
    ((1.0, 1.0), (2.0, 2.0))
    """
    fits = all(
        _explains(stated, shapes, tiles, level, axis)
        for level in range(1, len(shapes))
        for axis in (0, 1)
    )
    return tuple(stated) if fits else level_factors(shapes)


def whole_factors(factors: Sequence[Scale]) -> list[Scale]:
    """Factors from rounded pixel sizes, of which those close to a whole number are it.

    Examples
    --------
    >>> whole_factors([(1.0, 1.0), (4.0016, 3.9996), (2.5, 2.5)])
    [(1.0, 1.0), (4.0, 4.0), (2.5, 2.5)]
    """
    return [(_whole(y), _whole(x)) for y, x in factors]


def _whole(factor: float) -> float:
    nearest = float(round(factor))
    return nearest if abs(factor - nearest) <= _WHOLE * factor else factor


def _explains(
    factors: Sequence[Scale],
    shapes: Sequence[Shape],
    tiles: Sequence[Shape],
    level: int,
    axis: int,
) -> bool:
    """Whether a stated factor leads to a level's length, rounded or padded to whole tiles."""
    factor, finer = factors[level][axis], factors[level - 1][axis]
    length, above = shapes[level][axis], shapes[level - 1][axis]
    if length < above and factor <= finer:
        return False
    excess = length - shapes[0][axis] / factor
    # either level may be padded: this one, or the finest
    padding = tiles[level][axis] if excess > 0 else tiles[0][axis] / factor
    if abs(excess) < padding + _ROUNDING_PX:
        return True
    ratio = shapes[0][axis] / length
    whole = abs(shapes[0][axis] / round(ratio) - length) < _ROUNDING_PX if ratio >= 1 else False
    return not whole and 1 / _MOST < factor / ratio < _MOST
