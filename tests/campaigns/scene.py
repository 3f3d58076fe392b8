"""A small slide, a model without weights and its results: shared by the campaigns of faults."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.campaigns.changes import SHAPE, UNSET, Change, boxes_after, random_changes
from tests.campaigns.runner import WrongResultError
from tests.campaigns.victims import Victim, in_child
from tests.fakes import FakeModel, noise
from tests.proofs.helpers import outcome, write_tiff

from napari_twostage import Box, Segmentation
from napari_twostage.engine.api import iter_segment
from napari_twostage.measure.summary import summarise
from napari_twostage.method.selection import EVERYTHING
from napari_twostage.method.steps import ChipRefined, CoarseWindowDone
from napari_twostage.result.writer_lock import WriterLock
from napari_twostage.slides import tiff  # noqa: F401 - victims are not killed while they import

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.campaigns.victims import Action

    from napari_twostage.method.steps import Step

    Reporter = Callable[[object], None]
    Levels = list[np.ndarray]

SLIDES = 3
EDITS = 30
LATEST_S = 2.5
"""Seconds after which reported work must be safe: one, and what a busy machine adds."""


class PacedModel(FakeModel):
    """Model that takes its time, as real ones do."""

    pause_s = 0.05

    def coarse(self, windows: list[np.ndarray]) -> np.ndarray:
        """See `FakeModel`."""
        time.sleep(self.pause_s)
        return super().coarse(windows)

    def refine(self, windows: list[np.ndarray]) -> np.ndarray:
        """See `FakeModel`."""
        time.sleep(self.pause_s)
        return super().refine(windows)


@dataclass(frozen=True, slots=True)
class Scene:
    """Slides, and what undisturbed runs make of them."""

    folder: Path
    slides: tuple[Path, ...]
    expected: list[dict[str, Any]]
    """Outcome of refining all of each slide."""
    coarse: Path
    """Result of stage 1 of the first slide."""
    done: Path
    """Result of both stages of the first slide."""
    changes: tuple[Change, ...]
    edited: list[Levels]
    """All levels of `done` after none, one, two ... of the changes."""
    seconds: float
    """Time of an undisturbed run."""

    @classmethod
    def make(cls, folder: Path, seed: int = 1, edits: int = EDITS) -> Scene:
        """Write the slides, and run without any fault; `edits` counts undos too."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        slides = tuple(
            write_tiff(folder / f"slide-{number}.tif", noise(*SHAPE, seed=number))
            for number in range(SLIDES)
        )
        expected = []
        for number, slide in enumerate(slides):
            start = time.monotonic()
            expected.append(in_child(_outcome_of_run, slide, folder / f"done-{number}.zarr", "all"))
            seconds = time.monotonic() - start  # of the last: the first read what others find
        in_child(_outcome_of_run, slides[0], folder / "coarse.zarr", "none")
        in_child(_outcome_of_run, slides[0], folder / "edited.zarr", "all")
        changes = random_changes(random.Random(seed), edits)
        return cls(
            folder=folder,
            slides=slides,
            expected=expected,
            coarse=folder / "coarse.zarr",
            done=folder / "done-0.zarr",
            changes=changes,
            edited=in_child(_levels_of_changes, folder / "edited.zarr", changes),
            seconds=seconds,
        )


# -- work, for victims --------------------------------------------------------------------------


def segmenting(
    slide: Path,
    out: Path,
    *,
    paced: bool = False,
    model: FakeModel | None = None,
    **options: Any,
) -> Action:
    """Segment a slide into a folder; windows and tiles are reported."""
    model = model or (PacedModel() if paced else FakeModel())
    options = {"refine": "all", "tissue": False, **options}
    return lambda report: _report_steps(iter_segment(slide, model, out, **options), report)


def refining(out: Path) -> Action:
    """Refine all tiles of a result."""

    def act(report: Reporter) -> None:
        seg = Segmentation.open(out, model=FakeModel())
        seg.repair()
        _report_steps(seg.iter_refine(EVERYTHING), report)

    return act


def changing(out: Path, changes: Iterable[Change]) -> Action:
    """Make changes one after the other; reports "begin" before and "end" after each."""

    def act(report: Reporter) -> None:
        seg = Segmentation.open(out)
        for change in changes:
            report("begin")
            change.apply(seg)
            report("end")

    return act


def changing_in_a_run(out: Path, changes: Iterable[Change]) -> Action:
    """Refine all tiles, and make changes meanwhile; see `changing`."""

    def act(report: Reporter) -> None:
        seg = Segmentation.open(out, model=FakeModel())
        waiting = iter(changes)
        for number, _ in enumerate(seg.iter_refine(EVERYTHING)):
            change = next(waiting, None) if number % 2 else None
            if change is not None:
                report("begin")
                change.apply(seg)
                report("end")

    return act


def tidy(out: Path) -> None:
    """Finish what a writer was killed over, as the next one does."""
    with Segmentation.open(out).writer.writing():
        pass


def _report_steps(steps: Iterable[Step], report: Reporter) -> None:
    for step in steps:
        if isinstance(step, CoarseWindowDone):
            report(step.core)
        elif isinstance(step, ChipRefined):
            report(step.chip.tiles)


# -- verdicts -------------------------------------------------------------------------------------


def require(condition: object, message: str) -> None:
    """Raise WrongResultError unless a condition holds."""
    if not condition:
        raise WrongResultError(message)


def require_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare two outcomes byte by byte."""
    require(found.keys() == expected.keys(), f"{sorted(found)}")
    for name, values in expected.items():
        same = (
            found[name].tobytes() == values.tobytes()
            if isinstance(values, np.ndarray)
            else found[name] == values
        )
        require(same, f"{name} differ")


def require_sound(out: Path, *, stale_lock: bool = False) -> None:
    """Require that nothing of a result is damaged or locked.

    Parameters
    ----------
    out : Path
        The result.
    stale_lock : bool
        Whether the lock of a process that was killed may be there, or one that had been removed
        and came back with a power cut: the next writer removes it.
    """
    findings = Segmentation.open(out).check()
    require(not findings, f"check finds {[str(finding) for finding in findings]}")
    owner = WriterLock(out).owner
    require(owner is None or (stale_lock and owner.is_gone), f"the lock of {owner} is still there")


def require_finished(out: Path, expected: dict[str, Any], *, stale_lock: bool = False) -> None:
    """Require that a result is whole, equals another, and says so; see `require_sound`."""
    seg = Segmentation.open(out)
    require_same(outcome(seg), expected)
    require(seg.record.runs[-1].finished, "the record does not say that the run has finished")
    require(summarise(seg)["complete"], "the summary does not say that the result is complete")
    require_sound(out, stale_lock=stale_lock)


def safe_work(out: Path, victim: Victim, ended_at: float) -> float:
    """Seconds of work that a kill or a cut at a moment took away.

    Raises
    ------
    WrongResultError
        If it is more than `LATEST_S`.
    """
    if not victim.reports:
        return 0.0
    seg = Segmentation.open(out)
    windows, refined = seg.windows_done, seg.refined
    lost = [
        ended_at - report.time
        for report in victim.reports
        if not _is_kept(report.what, windows, refined)
    ]
    longest = max(lost, default=0.0)
    require(longest < LATEST_S, f"work of {longest:.2f} s before the end is lost")
    return longest


def _is_kept(what: Any, windows: frozenset[Box], refined: np.ndarray) -> bool:
    return what in windows if isinstance(what, Box) else all(refined[tile] for tile in what)


def count_changes(out: Path, scene: Scene, fewest: int, most: int, rng: random.Random) -> int:
    """Number of changes that a result shows, whatever box is read.

    Raises
    ------
    WrongResultError
        If it shows fewer, more, or a part of one.
    """
    seg = Segmentation.open(out)
    # at times some boxes before all is read
    parts = [_random_part(seg, rng) for _ in range(rng.choice((0, 3)))]
    levels = [np.asarray(level) for level in seg.labels]
    fitting = [
        number
        for number in range(fewest, most + 1)
        if seg.edit_boxes == boxes_after(scene.changes[:number])
        and all(map(np.array_equal, levels, scene.edited[number]))
    ]
    require(fitting, f"labels are those after none of {fewest} to {most} changes")
    for level, box, found in [*parts, *(_random_part(seg, rng) for _ in range(6))]:
        expected = scene.edited[fitting[0]][level][box.slices]
        require(np.array_equal(found, expected), f"level {level} differs in {box}")
    return fitting[-1]


def _random_part(seg: Segmentation, rng: random.Random) -> tuple[int, Box, np.ndarray]:
    level = rng.randrange(len(seg.level_shapes))
    height, width = seg.level_shapes[level]
    tall, wide = rng.randint(1, height), rng.randint(1, width)
    box = Box.at(rng.randint(0, height - tall), rng.randint(0, width - wide), tall, wide)
    return level, box, seg.read_labels(box, level)


def _outcome_of_run(slide: Path, out: Path, refine: str) -> dict[str, Any]:
    for _ in iter_segment(slide, FakeModel(), out, refine=refine, tissue=False):
        pass
    return outcome(Segmentation.open(out))


def _levels_of_changes(out: Path, changes: Iterable[Change]) -> list[Levels]:
    """All levels after each change, level 0 checked against a list of what was painted."""
    seg = Segmentation.open(out)
    base = np.asarray(seg.labels[0])
    painted, undo, states = np.full(base.shape, UNSET, np.uint8), [], []
    states.append([np.asarray(level) for level in seg.labels])
    for change in changes:
        change.apply(seg)
        if change.box is None:
            painted = undo.pop()
        else:
            undo.append(painted.copy())
            place = painted[change.box.slices]
            np.copyto(place, change.labels, where=change.labels != UNSET)
        states.append([np.asarray(level) for level in seg.labels])
        expected = np.where(painted == UNSET, base, painted)
        require(np.array_equal(states[-1][0], expected), "an undisturbed edit paints other pixels")
    return states
