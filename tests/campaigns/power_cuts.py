"""Campaign of power cuts: ext4 that loses all it did not sync, at any moment of a command.

The disk is mounted again, opened, checked and gone on with. A cut may cost the work of the last
second; results and edits whose command or call had returned must be there without any.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.campaigns.changes import changes_made
from tests.campaigns.disks import PoweredDisk, unmount, unmount_all_below, why_no_power_cuts
from tests.campaigns.kills import TARGETS, content_of, export_to, exports_of
from tests.campaigns.runner import Job, Outcome, WrongResultError, run_jobs
from tests.campaigns.scene import (
    LATEST_S,
    Scene,
    changing,
    changing_in_a_run,
    count_changes,
    refining,
    require,
    require_finished,
    require_sound,
    safe_work,
    segmenting,
    tidy,
)
from tests.campaigns.victims import Victim, in_child
from tests.fakes import FakeModel

from napari_twostage import Segmentation
from napari_twostage.engine.batch import segment_all
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import TwoStageError
from napari_twostage.result.folder_names import result_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.campaigns.disks import Cut
    from tests.campaigns.victims import Action

COUNT = 140
SECONDS = 180
CUTS: tuple[Cut, ...] = (2, 1)
MOUNTS = ("defaults", "noauto_da_alloc", "data=writeback,noauto_da_alloc", "commit=1")
"""Mount options: how soon, and in what order, ext4 writes by itself."""
WAYS = (
    "edits",
    "segment",
    "finished",
    "edits",
    "paced",
    "refine",
    "export",
    "edits-in-a-run",
    "batch",
)


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Cut the power of each kind of work by turns, both ways."""
    yield from run_ways(WAYS, count, seed, folder)


def run_ways(
    ways: Sequence[str], count: int, seed: int, folder: Path, scene: Scene | None = None
) -> Iterator[Outcome]:
    """Cut the power of some kinds of work by turns, both ways."""
    if reason := why_no_power_cuts():
        sys.stderr.write(f"{reason}\n")
        return
    scene = scene or Scene.make(folder / "scene", seed)
    figures = folder / "power-cuts.txt"
    figures.unlink(missing_ok=True)
    references = in_child(exports_of, scene.done, folder / "exports") if "export" in ways else {}
    cases = {
        "edits": _edits,
        "edits-in-a-run": _edits_in_a_run,
        "export": partial(_export, references=references),
        "segment": partial(_segment, paced=False),
        "paced": partial(_segment, paced=True),
        "finished": _finished,
        "refine": _refine,
        "batch": _batch,
    }

    def job(number: int) -> Job:
        way, how = ways[number // 2 % len(ways)], CUTS[number % 2]
        rng = random.Random(f"{seed} {number}")
        name = f"{way}-{'log' if how == 1 else 'nolog'}"
        case = Case(scene, folder / f"{name}-{number}", how, rng, figures)
        return Job(name=f"{name}/{number}", function=partial(case.run, cases[way]), seconds=SECONDS)

    try:
        yield from run_jobs(job(number) for number in range(count))
    finally:
        unmount_all_below(folder)
    sys.stderr.write(_summary(figures))


class Case:
    """A disk that is worked on, and whose power is cut."""

    def __init__(
        self, scene: Scene, folder: Path, how: Cut, rng: random.Random, figures: Path
    ) -> None:
        self.scene = scene
        self.rng = rng
        self._folder = folder
        self._how = how
        self._figures = figures
        self.disk: PoweredDisk

    @property
    def out(self) -> Path:
        """Result on the disk."""
        return self.disk.path / "out.zarr"

    def run(self, case: Callable[[Case], None]) -> None:
        """Run a case on a disk of its own."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.disk = PoweredDisk(self._folder, self.rng.choice(MOUNTS))
        try:
            case(self)
        except TwoStageError as error:
            raise WrongResultError(f"refused: {error}") from error
        finally:
            unmount(self.disk.path)
        shutil.rmtree(self._folder)

    def put(self, result: Path) -> None:
        """Copy a result to the disk, safely."""
        shutil.copytree(result, self.out)
        self.disk.sync()

    def cut(self, action: Action, seconds: float) -> tuple[Victim, float]:
        """Cut the power at a random moment of some work.

        Returns
        -------
        victim : Victim
            The process, which has ended.
        cut_at : float
            Moment of the cut.
        """
        victim = Victim(action)
        victim.live(self.rng.uniform(0, seconds))
        cut_at = time.monotonic()
        self.disk.cut(self._how)
        victim.kill(failed=True)
        self.disk.restart()
        return victim, cut_at

    def note(self, lost: float) -> None:
        """Keep the seconds of work that a cut took away."""
        with self._figures.open("a") as file:
            file.write(f"{lost:.3f}\n")


def _segment(case: Case, *, paced: bool) -> None:
    """Cut a run, and at times the run that goes on with it."""
    scene = case.scene
    action = segmenting(scene.slides[0], case.out, paced=paced)
    for _ in range(case.rng.randint(1, 2)):
        victim, cut_at = case.cut(action, (4 if paced else 1.1) * scene.seconds)
        if (case.out / "record.json").exists():
            case.note(safe_work(case.out, victim, cut_at))
        else:
            early = [report.time for report in victim.reports if cut_at - report.time > LATEST_S]
            require(not early, "a result that was begun is gone")
    Victim(action).finish()
    require_finished(case.out, scene.expected[0])


def _refine(case: Case) -> None:
    case.put(case.scene.coarse)
    victim, cut_at = case.cut(refining(case.out), case.scene.seconds / 2)
    case.note(safe_work(case.out, victim, cut_at))
    Victim(refining(case.out)).finish()
    require_finished(case.out, case.scene.expected[0])


def _finished(case: Case) -> None:
    """Nothing of a finished result is computed again."""
    scene = case.scene
    Victim(segmenting(scene.slides[0], case.out)).finish()
    case.cut(lambda _: None, 1.0)
    require_finished(case.out, scene.expected[0], stale_lock=True)
    case.note(0.0)
    Victim(lambda _: _go_on_with_nothing(scene.slides[0], case.out)).finish()


def _go_on_with_nothing(slide: Path, out: Path) -> None:
    segmenting(slide, out, model=IdleModel())(lambda _: None)


class IdleModel(FakeModel):
    """Model that has nothing to do."""

    def coarse(self, windows: list[Any]) -> Any:
        """Fail."""
        raise WrongResultError(f"{len(windows)} coarse windows are computed again")

    def refine(self, windows: list[Any]) -> Any:
        """Fail."""
        raise WrongResultError(f"{len(windows)} tiles are refined again")


def _edits(case: Case) -> None:
    scene, made = case.scene, 0
    case.put(scene.done)
    for _ in range(case.rng.randint(1, 2)):
        victim, _ = case.cut(changing(case.out, scene.changes[made:]), scene.seconds)
        fewest, most = changes_made([report.what for report in victim.reports])
        made = count_changes(case.out, scene, made + fewest, made + most, case.rng)
        case.note(0.0)
    rest = scene.changes[made : made + 3]
    Victim(changing(case.out, rest)).finish()
    in_child(tidy, case.out)
    count_changes(case.out, scene, made + len(rest), made + len(rest), case.rng)
    require_sound(case.out)


def _edits_in_a_run(case: Case) -> None:
    scene = case.scene
    case.put(scene.coarse)
    victim, _ = case.cut(changing_in_a_run(case.out, scene.changes), scene.seconds)
    case.note(0.0)
    Victim(refining(case.out)).finish()
    fewest, most = changes_made([report.what for report in victim.reports])
    count_changes(case.out, scene, fewest, most, case.rng)
    require_sound(case.out)


def _export(case: Case, *, references: dict[str, Any]) -> None:
    """A file that is replaced stays until the new one is on the disk; one that is written is."""
    name = case.rng.choice(TARGETS)
    target = case.disk.path / name
    in_child(export_to, case.scene.coarse, target)
    old = content_of(target)
    case.disk.sync()

    def act(report: Callable[[object], None]) -> None:
        export_to(case.scene.done, target)
        report("end")

    victim, _ = case.cut(act, 1.5 * references[f"{name} seconds"])
    case.note(0.0)
    found = content_of(target)
    allowed = [references[name]] if victim.reports else [old, references[name]]
    require(found in allowed, f"{name} is neither the old nor the new one")


def _batch(case: Case) -> None:
    scene, folder = case.scene, case.disk.path / "results"

    def act(report: Callable[[object], None]) -> None:
        options = RunOptions(refine="all", tissue=False)
        for row in segment_all(scene.slides, FakeModel(), folder, options):
            report((row.slide, row.whole))

    victim, _ = case.cut(act, len(scene.slides) * scene.seconds)
    case.note(0.0)
    for report in victim.reports:
        slide, whole = report.what
        if whole:  # a row that came before the cut
            seg = Segmentation.open(result_folder(folder, slide.name))
            require(seg.record.runs[-1].finished, f"{slide.name}: its end is not recorded")
            require_sound(seg.path, stale_lock=True)
    Victim(act).finish()
    for slide, expected in zip(scene.slides, scene.expected, strict=True):
        require_finished(result_folder(folder, slide.name), expected)


def _summary(figures: Path) -> str:
    """One line of figures: cuts, and the most work that one took away."""
    if not figures.exists():
        return "no cuts\n"
    lost = [float(line) for line in figures.read_text().split()]
    return f"{len(lost)} power cuts; the most work that one took away is {max(lost):.2f} s\n"
