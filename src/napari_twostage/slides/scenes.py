"""Scenes of a file: those there are, and the one that is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.geometry import Scale, Shape

_OVERVIEW = 4.0
"""How much coarser than the finest scene one is that was taken to find the others."""
_SHOWN_SCENES = 10
_BESIDE_SCAN = re.compile(
    r"(?:^|[\s\[(#:/_-])(?:label|macro|overview|thumbnail|barcode|slide ?preview)"
    r"(?:[\s_-]*image)?[\])]?\s*$",
    re.IGNORECASE,
)
"""End of the name of a picture that is taken beside the scan."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One scan in a file that may hold several."""

    name: str
    """The file's own name for it, else its number."""
    shape: Shape
    """Rows and columns of its finest level."""
    mpp: Scale | None = None
    """Micrometres per pixel (y, x) of that level; None if the file states none."""
    scan: bool = True
    """False for labels, macro pictures and thumbnails, which are chosen by name only."""


def is_beside_scan(name: str) -> bool:
    """Whether a name is that of a label, macro picture or the like.

    Examples
    --------
    >>> is_beside_scan("CMU-1.svs [macro image]"), is_beside_scan("Label-free tissue")
    (True, False)
    """
    return _BESIDE_SCAN.search(name) is not None


def choose_scene(wanted: int | str | None, scenes: Sequence[Scene]) -> int:
    """Find the index of a scene.

    By default it is the largest of the scans, by the area of glass where every pixel size is
    known. Overviews, four times coarser than the finest scan or more, come last.

    Parameters
    ----------
    wanted : int or str or None
        Number or name of a scene; None for the default.
    scenes : sequence of Scene
        All scenes of the file, at least one.

    Returns
    -------
    int

    Raises
    ------
    SlideError
        If there is no such scene; the message begins with its verb, to follow the file's name.

    Examples
    --------
    >>> overview, scan = Scene("0", (900, 900), (4.0, 4.0)), Scene("1", (800, 800), (0.25, 0.25))
    >>> choose_scene(None, [overview, scan]), choose_scene("0", [overview, scan])
    (1, 0)
    """
    if wanted is not None:
        return _named_scene(wanted, scenes)
    finest = min((max(one.mpp) for one in scenes if one.scan and one.mpp), default=0.0)
    sized = all(one.mpp for one in scenes if one.scan)

    def rank(number: int) -> tuple[bool, bool, float, int]:
        scene = scenes[number]
        overview = scene.mpp is not None and max(scene.mpp) >= _OVERVIEW * finest
        y, x = scene.mpp if sized and scene.mpp else (1.0, 1.0)
        return scene.scan, not overview, scene.shape[0] * y * scene.shape[1] * x, -number

    return max(range(len(scenes)), key=rank)


def scene_notice(chosen: int, scenes: Sequence[Scene]) -> str | None:
    """Say which of several scans is read; None if there is only one.

    Examples
    --------
    >>> scene_notice(1, [Scene("left", (80, 90)), Scene("right", (90, 90))])
    'scene 1 (right) of 2 is read; choose another of 0 (left), 1 (right) with scene=, or --scene'
    """
    scans = [number for number, scene in enumerate(scenes) if scene.scan]
    if len(scans) < 2 and chosen in scans:
        return None
    return (
        f"scene {_shown(chosen, scenes)} of {len(scans)} is read; choose another of "
        f"{_listed(scenes, scans)} with scene=, or --scene"
    )


def _named_scene(wanted: int | str, scenes: Sequence[Scene]) -> int:
    names = [scene.name for scene in scenes]
    if str(wanted) in names and not isinstance(wanted, int):
        return names.index(str(wanted))
    if str(wanted).isdecimal() and int(wanted) < len(scenes):
        return int(wanted)
    count = "one scene" if len(scenes) == 1 else f"{len(scenes)} scenes"
    raise SlideError(
        f"has {count} and none is {wanted!r}; choose one of "
        f"{_listed(scenes, range(len(scenes)))} with scene=, or --scene on the command line"
    )


def _listed(scenes: Sequence[Scene], numbers: Sequence[int]) -> str:
    shown = [_shown(number, scenes) for number in numbers[:_SHOWN_SCENES]]
    return ", ".join([*shown, "..."] if len(numbers) > _SHOWN_SCENES else shown)


def _shown(number: int, scenes: Sequence[Scene]) -> str:
    name = scenes[number].name
    return str(number) if name == str(number) else f"{number} ({name})"
