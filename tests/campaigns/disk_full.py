"""Campaign of disks and folders that refuse: full, limited, read-only, gone.

A command that meets one ends in one line and leaves nothing that blocks. After room is made the
same command goes on to the same bytes. An edit that failed has changed nothing and can be
repeated.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaigns.disks import (
    resize,
    small_disk,
    unmount_all_below,
    used_files,
    used_kib,
    why_no_small_disks,
)
from tests.campaigns.kills import TARGETS, exports_of
from tests.campaigns.runner import Job, Outcome, WrongResultError, run_jobs
from tests.campaigns.scene import Scene, require
from tests.campaigns.victims import in_child
from tests.campaigns.works import BAD_INPUT, WORK, Room, Segment, Site, Work

from napari_twostage.cli.parser import main
from napari_twostage.errors import TwoStageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.campaigns.victims import Victim

COUNT = 240
SECONDS = 120
LARGE_KIB = 64 << 10
NOBODY = 65534
WAYS = (
    *(f"{fault}-{way}" for fault in ("full", "files", "limit") for way in WORK),
    "readonly-segment",
    "readonly-edits",
    "permission-segment",
    "renamed-segment",
    "removed-segment",
    "slide-gone-segment",
)
"""What refuses, and the work that meets it."""


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Refuse each kind of work by turns."""
    yield from run_ways(WAYS, count, seed, folder)


def run_ways(
    ways: Sequence[str], count: int, seed: int, folder: Path, scene: Scene | None = None
) -> Iterator[Outcome]:
    """Refuse some kinds of work by turns."""
    if reason := why_no_small_disks():
        sys.stderr.write(f"{reason}\n")
        return
    scene = scene or Scene.make(folder / "scene", seed)
    works = {way.rsplit("-", 1)[1] for way in ways}
    references = in_child(exports_of, scene.done, folder / "exports") if "export" in works else {}
    needs = in_child(_measure_needs, scene, references, sorted(works), folder / "needs")

    def job(number: int) -> Job:
        way = ways[number % len(ways)]
        rng = random.Random(f"{seed} {number}")
        disk = folder / f"{way}-{number}" / "disk"
        site = Site(scene, rng, disk, disk / rng.choice(TARGETS), references, needs)
        return Job(
            name=f"{way}/{number}",
            function=partial(_meet, site, *way.rsplit("-", 1)),
            seconds=SECONDS,
        )

    try:
        yield from run_jobs(job(number) for number in range(count))
    finally:
        unmount_all_below(folder)


def _meet(site: Site, fault: str, way: str) -> None:
    """Meet a fault with one kind of work; what is right is removed."""
    shutil.rmtree(site.disk.parent, ignore_errors=True)  # of a first try that took too long
    work = WORK[way](site)
    try:
        with small_disk(site.disk, LARGE_KIB):
            work.prepare()
            _FAULTS[fault](site, work)
            work.require_done()
    except TwoStageError as error:
        raise WrongResultError(f"refused: {error}") from error
    shutil.rmtree(site.disk.parent)


def _measure_needs(
    scene: Scene, references: dict[str, Any], works: Sequence[str], folder: Path
) -> dict[str, Room]:
    """Room that each kind of work takes."""
    shutil.rmtree(folder, ignore_errors=True)
    needs = {}
    for way in works:
        disk = folder / way
        site = Site(scene, random.Random(way), disk, disk / "a.ome.zarr", references)
        with small_disk(disk, LARGE_KIB):
            work = WORK[way](site)
            work.prepare()
            work.complete()
            needs[way] = Room(used_kib(disk), used_files(disk))
    return needs


def _full(site: Site, work: Work) -> None:
    """A disk of any size from none left to nearly enough, and once made larger."""
    start, needed = used_kib(site.disk), site.needs[work.name].kib
    _grow(
        site, work, lambda share: resize(site.disk, max(4, start + int(share * (needed - start))))
    )


def _files(site: Site, work: Work) -> None:
    """A disk that takes any number of files from none to nearly enough, and once more."""
    start, needed = used_files(site.disk), site.needs[work.name].files

    def allow(share: float) -> None:
        resize(site.disk, LARGE_KIB, files=start + int(share * (needed - start)))

    _grow(site, work, allow)


def _grow(site: Site, work: Work, allow: Callable[[float], None]) -> None:
    """Allow more and more of what the work needs; then all."""
    share = 0.0
    for _ in range(2):
        share = site.rng.uniform(share, 1.0)
        allow(share)
        if work.attempt():
            return
    resize(site.disk, LARGE_KIB)
    work.complete()


def _limit(site: Site, work: Work) -> None:
    """A limit on the size of files."""
    import resource  # not on Windows

    limit = int(2 ** site.rng.uniform(0, 16))
    limits = limit, resource.RLIM_INFINITY
    if not work.attempt(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)):
        work.complete()


def _readonly(site: Site, work: Work) -> None:
    """The disk becomes read-only in the middle."""
    victim = work.start()
    victim.live(site.rng.uniform(0, 1.2) * site.scene.seconds)
    for _ in range(200):  # while a file is open for writing, the system refuses
        with contextlib.suppress(subprocess.CalledProcessError):
            resize(site.disk, LARGE_KIB, options="ro")
            break
    done = work.judge(victim.finish()[-1])
    resize(site.disk, LARGE_KIB)
    if not done:
        work.complete()


def _permission(site: Site, work: Work) -> None:
    """A user loses the permission for the folder, or for all in it, in the middle."""
    site.disk.chmod(0o777)
    become_nobody = partial(_become_nobody, site.scene.slides[0])
    victim = work.start(become_nobody)
    _wait_for(site.out, victim)
    victim.live(site.rng.uniform(0, 1.0) * site.scene.seconds)
    places = [site.out]
    if site.rng.random() < 0.5:
        places += [path for path in site.out.rglob("*") if path.is_dir()]
    modes = {path: path.stat().st_mode for path in places if path.exists()}
    for path in modes:
        with contextlib.suppress(FileNotFoundError):
            path.chmod(0o555)
    done = work.judge(victim.finish()[-1])
    for path, mode in modes.items():
        with contextlib.suppress(FileNotFoundError):
            path.chmod(mode)
    if not done:
        work.complete(become_nobody)


def _renamed(site: Site, work: Work) -> None:
    """The folder gets another name in the middle, and at times its own again."""
    victim = work.start()
    _wait_for(site.out, victim)
    victim.live(site.rng.uniform(0, 1.0) * site.scene.seconds)
    away = site.out.with_name("elsewhere.zarr")
    site.out.rename(away)
    work.judge(victim.finish()[-1])
    require(not site.out.exists(), "a folder was made again that somebody had moved")
    if site.rng.random() < 0.5:
        away.rename(site.out)
    work.complete()


def _removed(site: Site, work: Work) -> None:
    """The folder is removed in the middle."""
    victim = work.start()
    _wait_for(site.out, victim)
    victim.live(site.rng.uniform(0, 1.0) * site.scene.seconds)
    while site.out.exists():
        shutil.rmtree(site.out, ignore_errors=True)
    work.judge(victim.finish()[-1])
    require(not site.out.exists(), "a folder was made again that somebody had removed")
    work.complete()


def _slide_gone(site: Site, work: Work) -> None:
    """The slide is removed in the middle, and comes back."""
    assert isinstance(work, Segment)
    work.codes = (*work.codes, BAD_INPUT)
    work.slide = Path(shutil.copy(site.scene.slides[0], site.disk / "slide.tif"))
    victim = work.start()
    victim.live(site.rng.uniform(0, 1.0) * site.scene.seconds)
    work.slide.unlink()
    work.judge(victim.finish()[-1])
    if site.rng.random() < 0.5:
        require(not work.attempt(), "there is no slide, and yet it goes on")
    shutil.copy(site.scene.slides[0], work.slide)
    work.complete()


_FAULTS: dict[str, Callable[[Site, Any], None]] = {
    "full": _full,
    "files": _files,
    "limit": _limit,
    "readonly": _readonly,
    "permission": _permission,
    "renamed": _renamed,
    "removed": _removed,
    "slide-gone": _slide_gone,
}


def _become_nobody(slide: Path) -> None:
    """Give up all rights, after a run that imports what nobody may not read."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.zarr")
        main(["segment", str(slide), "--out", out, "--no-tissue", "--quiet"])
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _wait_for(folder: Path, victim: Victim) -> None:
    """Wait until a result folder is made."""
    while not folder.exists():
        victim.live(0.005)
        require(not victim.reports, f"it ended early: {victim.reports}")
