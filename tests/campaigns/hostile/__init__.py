"""Campaign of hostile inputs: every way in, each with files that are damaged or lie.

A way in is a module of this folder with ``cases(rng, folder) -> Iterator[Case]``. It writes each
case's input into `folder`, under a name that no other case has, before it yields the case. It
may go on for ever. What a case needs is imported at the top of the module: children are forks.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.campaigns.runner import Job, Outcome, run_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One hostile input and its use."""

    name: str
    """Short name without the way in, such as ``svs-flipped-17``."""
    use: Callable[[], object]
    """Uses the input as a user would and returns; raises WrongResultError if a result is wrong."""
    file: Path | None = None
    """Input, whose name a refusal must mention; kept if the case fails, else removed."""
    seconds: float = 10
    extra_bytes: int = 1 << 30
    """Peak memory above the parent's: 1 GiB, and what a good input of this kind takes."""


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Run cases of all ways in by turns."""
    yield from run_ways(ways(), count, seed, folder)


def ways() -> list[str]:
    """Names of the ways in."""
    modules = sorted(one.name for one in pkgutil.iter_modules(__path__))
    return [name for name in modules if hasattr(_module(name), "cases")]


def run_ways(names: list[str], count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Run `count` cases of some ways in; inputs of failed cases stay in `folder`."""
    inputs: dict[str, Path] = {}
    jobs = _jobs(names, count, seed, folder, inputs)
    for outcome in run_jobs(jobs):
        kept = inputs.pop(outcome.name, None)
        if outcome.is_good and kept is not None:
            _remove(kept)
        yield outcome


def _jobs(
    names: list[str], count: int, seed: int, folder: Path, inputs: dict[str, Path]
) -> Iterator[Job]:
    for way, case in _cases_by_turns(names, count, seed, folder):
        job = Job(
            name=f"{way}/{case.name}",
            function=case.use,
            seconds=case.seconds,
            extra_bytes=case.extra_bytes,
            mention=case.file.name if case.file else "",
        )
        if case.file is not None:
            inputs[job.name] = case.file
        yield job


def _cases_by_turns(
    names: list[str], count: int, seed: int, folder: Path
) -> Iterator[tuple[str, Case]]:
    sources = {}
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        sources[name] = _module(name).cases(random.Random(f"{seed} {name}"), folder / name)
    done = 0
    while sources:
        for name, source in list(sources.items()):
            if done == count:
                return
            case = next(source, None)
            if case is None:
                del sources[name]
                continue
            done += 1
            yield name, case


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _module(name: str) -> object:
    return importlib.import_module(f"{__name__}.{name}")
