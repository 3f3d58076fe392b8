"""Small results of every kind, for campaigns that damage them or write to them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from tests.fakes import CLASSES, MPP, FakeModel, make_card, noise
from tests.proofs.helpers import write_tiff

from napari_twostage import Box, Segmentation, iter_segment, open_slide, segment
from napari_twostage.engine import runner
from napari_twostage.measure.areas import areas

if TYPE_CHECKING:
    from collections.abc import Callable

dask.config.set(scheduler="synchronous")  # its threads would be missing in forks

FIXTURES = Path(__file__).parents[1] / "fixtures"
SHAPE = 40, 2060
"""Rows and columns of the slide: the label pyramid has two levels, and a built pyramid two."""
EDITS = (
    (Box(3, 5, 20, 40), 1),
    (Box(10, 20, 30, 70), 0),
    (Box(0, 300, 40, 420), 1),
    (Box(5, 1000, 12, 1009), 0),
    (Box(12, 30, 36, 64), 1),
    (Box(2, 2000, 38, 2060), 1),
)
"""Edits by box and label; some lie over others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A result to damage, and how it is made."""

    name: str
    result: Path
    slide: Path
    model: Callable[[], FakeModel]
    options: dict[str, Any]
    """Arguments of `segment`; calling it again with them finishes the result."""
    is_old: bool = False
    """Whether version 0.1 made it: without checksums, and with one copy of record and edits."""
    has_pyramid: bool = False
    """Whether coarse levels of the slide are in the folder."""
    expected: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a whole one shows: ``now``, and ``finished`` once `segment` ran again."""

    def open(self, result: Path) -> Segmentation:
        """Open a copy of the result."""
        return Segmentation.open(result, slide=open_slide(self.slide, mpp=MPP))

    def segment_again(self, result: Path) -> Segmentation:
        """Run the command that made the result again."""
        runner.OVERVIEW_LIMIT_PX = 10_000 if self.has_pyramid else 1 << 24
        return segment(open_slide(self.slide, mpp=MPP), self.model(), result, **self.options)


def shown(seg: Segmentation) -> dict[str, Any]:
    """All that a result shows: labels of every level, scores, states, edits, areas."""
    return {
        **{f"labels {k}": np.asarray(level) for k, level in enumerate(seg.labels)},
        "scores": np.array(seg.scores),
        "states": seg.states,
        "edits": seg.edit_boxes,
        "areas": [area.pixels for area in areas(seg)],
        "failures": seg.failures,
    }


def subjects(folder: Path) -> list[Subject]:
    """Make one result of each kind."""
    slide = write_tiff(folder / "slide.tif", noise(*SHAPE), tile=(64, 64))
    card = make_card(tile_px=32, coarse_window_px=36)
    options = {"fraction": 0.2, "tissue": False}
    made = [
        Subject(
            name=name,
            result=folder / f"{name}.twostage.zarr",
            slide=slide,
            model=lambda: FakeModel(card),
            options=options,
            has_pyramid=name == "pyramid",
        )
        for name in ("finished", "stopped", "refining", "edited", "pyramid")
    ]
    for subject in made:
        _make(subject)
    made += [_unpacked(name, folder) for name in ("finished", "stopped")]
    for subject in made:
        subject.expected["now"] = shown(subject.open(subject.result))
        copy = folder / f"whole.{subject.result.name}"
        shutil.copytree(subject.result, copy)
        subject.segment_again(copy)
        subject.expected["finished"] = shown(subject.open(copy))
        shutil.rmtree(copy)
    return made


def _make(subject: Subject) -> None:
    if subject.name in ("stopped", "refining"):
        steps = iter_segment(subject.slide, subject.model(), subject.result, **subject.options)
        for _ in range(8 if subject.name == "stopped" else 30):
            next(steps)
        steps.close()
        return
    seg = subject.segment_again(subject.result)
    if subject.name == "edited":
        for number, (box, label) in enumerate(EDITS):
            seg.edit(box, np.full(box.shape, label, np.uint8))
            if number % 2:
                seg.undo_edit()


def _unpacked(name: str, folder: Path) -> Subject:
    """A result of version 0.1."""
    shutil.unpack_archive(FIXTURES / f"{name}.twostage.zarr.zip", folder / "old")
    slide = Path(shutil.copy(FIXTURES / "slide.tif", folder / "old"))
    return Subject(
        name=f"old-{name}",
        result=folder / "old" / f"{name}.twostage.zarr",
        slide=slide,
        model=lambda: FakeModel(make_card(classes=CLASSES)),
        options={"refine": "all", "tissue": False},
        is_old=True,
    )
