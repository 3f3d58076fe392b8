"""Campaign of kills: SIGKILL at any moment of every command that writes.

Whatever was killed is opened, checked and gone on with, and killed again up to twice. In the end
every byte must be that of an undisturbed run, every edit whole or absent, and each one whose call
had returned there.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from tests.campaigns.changes import changes_made
from tests.campaigns.runner import Job, Outcome, WrongResultError, run_jobs
from tests.campaigns.scene import (
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
from tests.models.random_model import random_bundle
from tests.proofs.helpers import outcome

from napari_twostage import Segmentation
from napari_twostage.engine.batch import segment_all
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import TwoStageError
from napari_twostage.export import export
from napari_twostage.result.folder_names import result_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.campaigns.victims import Action

COUNT = 360
MOST_KILLS = 3
"""Kills of one case, one after the other."""
SECONDS = 300
"""Longest time of a case, on a busy machine and with processes that import everything."""
TARGETS = (
    "a.geojson",
    "a.geojson.gz",
    "a.ome.zarr",
    "a.ome.tif",
    "areas.csv",
    "objects.csv",
    "a.png",
)
WAYS = (
    *("edits",) * 16,
    *("segment",) * 10,
    *("paced",) * 4,
    *("refine",) * 6,
    *("edits-in-a-run",) * 4,
    *("overwrite",) * 2,
    *("export",) * 8,
    *("batch",) * 4,
    "cluster",
)
"""Work to kill; those that stand more often come more often."""


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Kill each kind of work by turns."""
    yield from run_ways(WAYS, count, seed, folder)


def run_ways(
    ways: Sequence[str], count: int, seed: int, folder: Path, scene: Scene | None = None
) -> Iterator[Outcome]:
    """Kill some kinds of work by turns."""
    scene = scene or Scene.make(folder / "scene", seed)
    figures = folder / "kills.txt"
    figures.unlink(missing_ok=True)
    references = in_child(exports_of, scene.done, folder / "exports") if "export" in ways else {}
    cases: dict[str, Callable[[Case], None]] = {
        "edits": _edits,
        "edits-in-a-run": _edits_in_a_run,
        "segment": partial(_segment, paced=False),
        "paced": partial(_segment, paced=True),
        "refine": _refine,
        "overwrite": _overwrite,
        "export": partial(_export, references=references),
        "batch": _batch,
    }
    if "cluster" in ways[:count]:
        cases["cluster"] = partial(_cluster, cluster=_ClusterScene(scene))

    def job(number: int) -> Job:
        way = ways[number % len(ways)]
        case = Case(scene, folder / f"{way}-{number}", random.Random(f"{seed} {number}"), figures)
        return Job(name=f"{way}/{number}", function=partial(case.run, cases[way]), seconds=SECONDS)

    yield from run_jobs(job(number) for number in range(count))
    sys.stderr.write(_summary(figures))


class Case:
    """One folder, worked in, killed and checked."""

    def __init__(self, scene: Scene, folder: Path, rng: random.Random, figures: Path) -> None:
        self.scene = scene
        self.folder = folder
        self.out = folder / "out.zarr"
        self.rng = rng
        self._figures = figures

    def run(self, case: Callable[[Case], None]) -> None:
        """Run a case; what is right is removed."""
        shutil.rmtree(self.folder, ignore_errors=True)  # of a first try that took too long
        self.folder.mkdir()
        try:
            case(self)
        except TwoStageError as error:
            raise WrongResultError(f"refused: {error}") from error
        shutil.rmtree(self.folder)

    def killed(self, action: Action, seconds: float) -> Iterator[Victim]:
        """Kill work at random moments of its time, up to `MOST_KILLS` times; then let it end.

        Yields each victim after its end, the last one is not killed.
        """
        for _ in range(self.rng.randint(1, MOST_KILLS)):
            victim = Victim(action)
            victim.live(self.rng.uniform(0, seconds))
            if victim.kill():
                self.note(1, 0.0)
            yield victim
        victim = Victim(action)
        victim.finish()
        yield victim

    def note(self, kills: int, lost: float) -> None:
        """Keep figures for the end of the campaign."""
        with self._figures.open("a") as file:
            file.write(f"{kills} {lost:.3f}\n")


def _segment(case: Case, *, paced: bool) -> None:
    scene = case.scene
    action = segmenting(scene.slides[0], case.out, paced=paced)
    seconds = 4 * scene.seconds if paced else scene.seconds
    for victim in case.killed(action, seconds):
        if victim.killed_at and case.out.exists():
            case.note(0, safe_work(case.out, victim, victim.killed_at))
            require_no_damage(case.out)
    require_finished(case.out, scene.expected[0])


def _refine(case: Case) -> None:
    shutil.copytree(case.scene.coarse, case.out)
    for victim in case.killed(refining(case.out), case.scene.seconds / 2):
        case.note(0, safe_work(case.out, victim, victim.killed_at or time.monotonic()))
        require_no_damage(case.out)
    require_finished(case.out, case.scene.expected[0])


def _overwrite(case: Case) -> None:
    """The old result is there, or the new one, or none: never a part of one."""
    scene = case.scene
    shutil.copytree(scene.coarse, case.out)
    action = segmenting(scene.slides[0], case.out, overwrite=True)
    for _ in case.killed(action, scene.seconds / 2):
        if case.out.exists():
            require_no_damage(case.out)
    require_finished(case.out, scene.expected[0])


def _edits(case: Case) -> None:
    scene, made = case.scene, 0
    shutil.copytree(scene.done, case.out)
    for _ in range(case.rng.randint(1, MOST_KILLS)):
        victim = Victim(changing(case.out, scene.changes[made:]))
        victim.live(case.rng.uniform(0, 0.8) * scene.seconds)
        if victim.kill():
            case.note(1, 0.0)
        fewest, most = changes_made([report.what for report in victim.reports])
        made = count_changes(case.out, scene, made + fewest, made + most, case.rng)
    rest = scene.changes[made : made + 3]
    Victim(changing(case.out, rest)).finish()
    in_child(tidy, case.out)
    count_changes(case.out, scene, made + len(rest), made + len(rest), case.rng)
    require_sound(case.out)
    standing = len(Segmentation.open(case.out).edit_boxes)
    files = sorted(file.name for file in (case.out / "undo").iterdir()) if standing else []
    require(len(files) == standing, f"{standing} edits stand, undo/ holds {files}")


def _edits_in_a_run(case: Case) -> None:
    """An edit survives the run that it was made in, and the run goes on without it."""
    scene = case.scene
    shutil.copytree(scene.coarse, case.out)
    victim = Victim(changing_in_a_run(case.out, scene.changes))
    victim.live(case.rng.uniform(0, scene.seconds))
    if victim.kill():
        case.note(1, 0.0)
    Victim(refining(case.out)).finish()
    fewest, most = changes_made([report.what for report in victim.reports])
    count_changes(case.out, scene, fewest, most, case.rng)
    require_sound(case.out)


def _export(case: Case, *, references: dict[str, Any]) -> None:
    """A file of that name is the old one or the new one; in the end nothing else is there."""
    name = case.rng.choice(TARGETS)
    target = case.folder / name
    old = None
    if case.rng.random() < 0.5:
        in_child(export_to, case.scene.coarse, target)
        old = content_of(target)
    seconds = references[f"{name} seconds"]
    for _ in case.killed(lambda _: export_to(case.scene.done, target), seconds):
        if target.exists():
            found = content_of(target)
            require(found in (old, references[name]), f"{name} is neither the old nor the new one")
    require(content_of(target) == references[name], f"{name} differs")
    left = [path.name for path in case.folder.iterdir()]
    require(left == [name], f"left over: {left}")


def _batch(case: Case) -> None:
    """Results and table are those of an undisturbed batch."""
    scene = case.scene

    def act(_: object) -> None:
        options = RunOptions(refine="all", tissue=False)
        rows = list(segment_all(scene.slides, FakeModel(), case.folder, options))
        require(all(row.whole for row in rows), f"{[row.status for row in rows]}")

    for _ in case.killed(act, len(scene.slides) * scene.seconds):
        table = case.folder / "summary.csv"
        if table.exists():
            rows = table.read_text().splitlines()
            require(all(row.count(",") == rows[0].count(",") for row in rows), "a torn table")
    require(len(rows) == 1 + len(scene.slides), f"{len(rows)} rows")
    for slide, expected in zip(scene.slides, scene.expected, strict=True):
        require_finished(result_folder(case.folder, slide.name), expected)


class _ClusterScene:
    """A small real network, which processes can load, and what one process makes of it."""

    def __init__(self, scene: Scene) -> None:
        folder = scene.folder
        self.model, self.slide = folder / "model", scene.slides[0]
        in_child(lambda: random_bundle().save(self.model))
        start = time.monotonic()
        subprocess.run(self.command(folder / "cluster.zarr"), check=True, capture_output=True)
        self.seconds = time.monotonic() - start
        self.expected = in_child(lambda: outcome(Segmentation.open(folder / "cluster.zarr")))

    def command(self, out: Path, *options: str) -> list[str]:
        words = [sys.executable, "-m", "napari_twostage", "segment", str(self.slide)]
        words += ["--model", str(self.model), "--out", str(out), "--no-tissue", "--quiet"]
        return [*words, "--refine", "all", "--device", "cpu", *options]


def _cluster(case: Case, *, cluster: _ClusterScene) -> None:
    """The owner of a cluster is killed, at times with its workers."""
    for _ in range(case.rng.randint(1, 2)):
        process = subprocess.Popen(
            cluster.command(case.out, "--workers", "2"),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for_folder(case.out, process)
        time.sleep(case.rng.uniform(0, cluster.seconds / 2))
        if process.poll() is None:
            case.note(1, 0.0)
        if case.rng.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
    last = cluster.command(case.out, *(["--workers", "2"] if case.rng.random() < 0.5 else []))
    done = subprocess.run(last, capture_output=True, text=True, check=False)
    require(done.returncode == 0, done.stderr[-300:])
    require_finished(case.out, cluster.expected)


def _wait_for_folder(out: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a run has imported all it needs, which is none of the moments of interest."""
    while not out.exists() and process.poll() is None:
        time.sleep(0.02)


def require_no_damage(out: Path) -> None:
    """Require that a result can be opened and that nothing recorded in it is damaged."""
    findings = Segmentation.open(out).check()
    require(not findings, f"check finds {[str(finding) for finding in findings]}")


def exports_of(result: Path, folder: Path) -> dict[str, Any]:
    """Content of each export, and its seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found: dict[str, Any] = {}
    for name in TARGETS:
        start = time.monotonic()
        export_to(result, folder / name)
        found[f"{name} seconds"] = time.monotonic() - start
        found[name] = content_of(folder / name)
    return found


def export_to(result: Path, target: Path) -> None:
    export(Segmentation.open(result), target)


def content_of(target: Path) -> Any:
    """Content that equal exports share: a TIFF has the time in it."""
    if target.is_dir():
        files = sorted(path for path in target.rglob("*") if path.is_file())
        return {str(file.relative_to(target)): file.read_bytes() for file in files}
    if target.suffix == ".gz":
        return gzip.decompress(target.read_bytes())
    if target.suffix == ".tif":
        with tifffile.TiffFile(target) as tif:
            return [np.asarray(level.asarray()).tobytes() for level in tif.series[0].levels]
    return target.read_bytes()


def _summary(figures: Path) -> str:
    """One line of figures: kills that hit, and the most work that one took away."""
    if not figures.exists():
        return "no kills\n"
    rows = [line.split() for line in figures.read_text().splitlines()]
    kills, lost = sum(int(row[0]) for row in rows), max(float(row[1]) for row in rows)
    return f"{kills} kills hit alive; the most work that one took away is {lost:.2f} s\n"
