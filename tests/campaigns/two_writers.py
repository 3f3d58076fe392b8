"""Campaign of two writers: processes and windows that work on one result at the same time.

Right is that one of them writes and the other is told in one line who does, or finds the work
done; that no edit is lost or half shown; and that a lock outlives nobody.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from tests.campaigns.results_to_damage import EDITS, Subject, shown, subjects
from tests.campaigns.runner import Job, Outcome, WrongResultError, run_jobs

from napari_twostage import Box, iter_segment
from napari_twostage.engine.batch import segment_all
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import LockedError, SegmentationError
from napari_twostage.method.resample_labels import thin
from napari_twostage.method.selection import Selection
from napari_twostage.result.writer_lock import FILE, Owner, WriterLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage import Segmentation

COUNT = 130
LOCKED = "locked"
"""Answer of a process that was told that another one writes."""


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Run all situations by turns."""
    made = {subject.name: subject for subject in subjects(folder)}
    yield from run_jobs(_jobs(made, count, seed, folder), at_once=1)


def _jobs(made: dict[str, Subject], count: int, seed: int, folder: Path) -> Iterator[Job]:
    for number in range(count):
        name, situation = list(SITUATIONS.items())[number % len(SITUATIONS)]
        rng = random.Random(f"{seed} {number}")
        place = folder / f"case-{number}"
        place.mkdir()
        use = partial(_within, place, partial(situation, made, place, rng))
        yield Job(name=f"{name}/{number}", function=use, seconds=60)


def _within(place: Path, use: Callable[[], None]) -> None:
    """Keep the folder of a case that fails."""
    use()
    shutil.rmtree(place)


# -- processes --------------------------------------------------------------------------------


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Run functions in a process each, at the same time; their values, or `LOCKED`."""
    children = [_start(function) for function in functions]
    return [_answer(pid, pipe) for pid, pipe in children]


def _start(function: Callable[[], Any]) -> tuple[int, int]:
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid:
        os.close(sending)
        return pid, receiving
    try:
        os.close(receiving)
        try:
            answer = ("value", function())
        except LockedError as error:
            answer = ("error" if "\n" in str(error) else "value", LOCKED)
        except BaseException as error:  # noqa: BLE001 - told to the parent
            answer = ("error", repr(error))
        os.write(sending, pickle.dumps(answer))
    finally:
        os._exit(0)


def _answer(pid: int, pipe: int) -> Any:
    with os.fdopen(pipe, "rb") as file:
        text = file.read()
    os.waitpid(pid, 0)
    kind, value = pickle.loads(text) if text else ("error", "the process died")
    _require(kind == "value", f"a process failed: {value}")
    return value


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise WrongResultError(otherwise)


def _copied(subject: Subject, place: Path) -> Path:
    return shutil.copytree(subject.result, place / subject.result.name)


def _require_shown(subject: Subject, result: Path, expected: dict[str, Any]) -> None:
    found = shown(subject.open(result))
    for name, value in expected.items():
        same = np.array_equal(found[name], value, equal_nan=name == "scores")
        _require(same, f"{name} differ")
    left = subject.open(result).check()
    _require(not left, f"damaged: {left}")
    _require(not (result / FILE).exists(), "a lock is left")


# -- runs -------------------------------------------------------------------------------------


def two_segment(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """Several processes make one new result."""
    subject, out = made["finished"], place / "out.zarr"

    def segment() -> str:
        time.sleep(rng.random() * 0.05)
        subject.segment_again(out)
        return "done"

    answers = together(*[segment] * rng.choice((2, 2, 3)))
    _require("done" in answers, f"nobody did it: {answers}")
    _require_shown(subject, out, subject.expected["finished"])


def segment_and_refine(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """One process segments, another refines the result."""
    subject = made["stopped"]
    out = _copied(subject, place)

    def refine() -> str:
        seg = subject.open(out)
        seg.attach_model(subject.model())
        seg.refine(Selection(fraction=0.2))
        return "done"

    answers = together(lambda: subject.segment_again(out) and "done", refine)
    _require("done" in answers, f"nobody did it: {answers}")
    _require_shown(subject, out, subject.expected["finished"])


def run_and_edit(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """A run is going on while another window edits."""
    subject = made["stopped"]
    out = _copied(subject, place)
    steps = iter_segment(subject.slide, subject.model(), out, **subject.options)
    next(steps)
    box = EDITS[0][0]

    def edit() -> str:
        subject.open(out).edit(box, np.ones(box.shape, np.uint8))
        return "edited"

    _require(together(edit) == [LOCKED], "the run did not hold the lock")
    for _step in steps:
        pass
    _require(together(edit) == ["edited"], "the lock outlived the run")
    labels = subject.open(out).read_labels(Box(0, 0, *subject.open(out).grid.shape))
    expected = subject.expected["finished"]["labels 0"].copy()
    expected[box.slices] = 1
    _require(np.array_equal(labels, expected), "labels differ")


def overwrite_a_run(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """A result is overwritten while it is written."""
    subject = made["stopped"]
    out = _copied(subject, place)
    steps = iter_segment(subject.slide, subject.model(), out, **subject.options)
    next(steps)

    def overwrite() -> str:
        for _step in iter_segment(
            subject.slide, subject.model(), out, overwrite=True, **subject.options
        ):
            pass
        return "done"

    _require(together(overwrite) == [LOCKED], "a result was overwritten that is being written")
    for _step in steps:
        pass
    _require(together(overwrite) == ["done"], "it could not be overwritten after the run")
    _require_shown(subject, out, subject.expected["finished"])


def two_batches(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """Two batches write to one folder."""
    subject = made["finished"]
    slides = [place / f"{name}.tif" for name in "abc"]
    for slide in slides:
        shutil.copyfile(subject.slide, slide)
    options = RunOptions(**subject.options)

    def batch() -> list[str]:
        rows = segment_all(slides, subject.model(), place / "out", options)  # type: ignore[arg-type]
        return [row.status for row in rows]

    for statuses in zip(*together(batch, batch), strict=True):
        fine = [one for one in statuses if one in ("done", "resumed", "done before")]
        told = [one for one in statuses if "is being written" in one]
        _require(bool(fine) and len(fine) + len(told) == 2, f"unexpected: {statuses}")
    for result in (place / "out").glob("*.zarr"):
        copy = Subject(
            name="copy",
            result=result,
            slide=slides["abc".index(result.name[0])],
            model=subject.model,
            options=subject.options,
        )
        _require_shown(copy, result, subject.expected["finished"])


def cluster_and_local(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """A cluster computes a result while a process of its own begins on it."""
    subject = made["stopped"]
    out = _copied(subject, place)
    answers: list[Any] = []

    class Elsewhere:
        """An executor whose stages another process interrupts."""

        def check(self, _: object) -> None:
            """Take any result."""

        def precision(self, *_: object) -> str:
            """Precision of the process elsewhere."""
            return "f32"

        def run_stages(self, *_: object) -> Iterator[Any]:
            """Let a process segment the same slide; compute nothing."""
            answers.extend(together(lambda: subject.segment_again(out) and "done"))
            return iter(())

    seg = subject.open(out)
    seg.attach_model(subject.model())
    seg.refine(Selection(fraction=0.2), cluster=Elsewhere())  # type: ignore[arg-type]
    _require(answers == [LOCKED], f"the cluster's run was not alone: {answers}")
    subject.segment_again(out)
    _require_shown(subject, out, subject.expected["finished"])


# -- edits ------------------------------------------------------------------------------------


def two_windows(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """Two windows of one process edit and undo by turns; each undo takes back its own edit."""
    subject = made["finished"]
    out = _copied(subject, place)
    windows = [subject.open(out), subject.open(out)]
    stack: list[tuple[int, Box, int]] = []
    for _ in range(12):
        who = rng.randrange(2)
        if rng.random() < 0.6:
            box, label = _random_edit(windows[0], rng)
            windows[who].edit(box, np.full(box.shape, label, np.uint8))
            stack.append((who, box, label))
        else:
            _undo(windows[who], who, stack)
        _require_labels(subject, windows[1 - who], stack)
    _require_labels(subject, subject.open(out), stack)


def _random_edit(seg: Segmentation, rng: random.Random) -> tuple[Box, int]:
    height, width = seg.grid.shape
    top, left = rng.randrange(height - 8), rng.randrange(width - 60)
    return Box.at(top, left, rng.randrange(1, 8), rng.randrange(1, 60)), rng.randrange(2)


def _undo(window: Segmentation, who: int, stack: list[tuple[int, Box, int]]) -> None:
    own = [number for number, (owner, _, _) in enumerate(stack) if owner == who]
    if not own:
        _require(not window.undo_edit(), "an edit of the other window was undone")
        return
    above = stack[own[-1] + 1 :]
    if any(box.intersect(stack[own[-1]][1]).area for _, box, _ in above):
        try:
            window.undo_edit()
        except SegmentationError:
            return
        raise WrongResultError("an edit was undone under another")
    _require(window.undo_edit(), "an edit could not be undone")
    del stack[own[-1]]


def _require_labels(subject: Subject, seg: Segmentation, stack: list[tuple[int, Box, int]]) -> None:
    expected = subject.expected["now"]["labels 0"].copy()
    for _, box, label in stack:
        expected[box.slices] = label
    for level, step in ((0, 1), (2, 4), (3, 8)):
        shape = seg.level_shapes[level]
        found = seg.read_labels(Box(0, 0, *shape), level)
        if level == 0:
            _require(np.array_equal(found, expected), "labels differ")
            continue
        for _, box, _ in stack:
            inner = _inside(box, step)
            if inner is not None:
                of_edits = thin(expected, step)[inner.slices]
                _require(np.array_equal(found[inner.slices], of_edits), f"level {level} differs")


def _inside(box: Box, step: int) -> Box | None:
    """Pixels of a coarser level that a box covers for certain; None if there are none."""
    top, left = box.top // step + 1, box.left // step + 1
    bottom, right = box.bottom // step - 1, box.right // step - 1
    return Box(top, left, bottom, right) if top < bottom and left < right else None


def two_editors(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """Two processes edit and undo at once, in places of their own."""
    subject = made["finished"]
    out = _copied(subject, place)
    seeds = rng.random(), rng.random()

    def edit(who: int) -> list[tuple[int, Box, int]]:
        own = random.Random(seeds[who])
        window, stack = subject.open(out), []
        for number in range(8):
            box = Box.at(own.randrange(2, 30), 1000 * who + own.randrange(3, 900), 6, 50)
            _patiently(partial(window.edit, box, np.full(box.shape, number % 2, np.uint8)))
            stack.append((who, box, number % 2))
            if own.random() < 0.4:
                _require(_patiently(window.undo_edit), "an edit could not be undone")
                stack.pop()
        return stack

    first, second = together(partial(edit, 0), partial(edit, 1))
    _require_labels(subject, subject.open(out), [*first, *second])
    _require(not (out / FILE).exists(), "a lock is left")


def _patiently(act: Callable[[], Any]) -> Any:
    """Try again while the other one writes."""
    for _ in range(10):
        with suppress(LockedError):
            return act()
    raise WrongResultError("no edit came through in 20 seconds")


def readers(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """Another process reads, by old and new objects, while edits come and go."""
    subject = made["finished"]
    out = _copied(subject, place)
    box = Box.at(2, rng.randrange(100, 1500), 34, 400)
    shapes = subject.open(out).level_shapes
    plain = [subject.expected["now"][f"labels {level}"] for level in range(len(shapes))]

    def write() -> None:
        window = subject.open(out)
        for _ in range(6):
            window.edit(box, np.ones(box.shape, np.uint8))
            window.undo_edit()

    def read() -> int:
        old, count, end = subject.open(out), 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            seg = old if count % 2 else subject.open(out)
            for level, shape in enumerate(shapes):
                labels = seg.read_labels(Box(0, 0, *shape), level)
                _require_whole(labels, plain[level], box, 2**level)
            count += 1
        return count

    _, count = together(write, read)
    _require(count > 0, "nothing was read")


def _require_whole(labels: Any, plain: Any, box: Box, step: int) -> None:
    """All of the edit is shown, or none of it."""
    if np.array_equal(labels, plain):
        return
    inner = _inside(box, step)
    _require(
        inner is not None and bool((labels[inner.slices] == 1).all()),
        f"half an edit, with step {step}",
    )


# -- locks ------------------------------------------------------------------------------------


def stale_lock(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """The owner of a lock was killed."""
    subject = made["stopped"]
    out = _copied(subject, place)
    pid = os.fork()
    if not pid:
        with WriterLock(out).hold():
            os.kill(os.getpid(), signal.SIGKILL)
    if rng.random() < 0.5:
        os.waitpid(pid, 0)
    else:
        time.sleep(0.1)  # nobody has asked about it: a zombie
    subject.segment_again(out)
    _require_shown(subject, out, subject.expected["finished"])


def odd_lock(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """The lock is empty, junk, or of a process number that another process has now."""
    subject = made["stopped"]
    out = _copied(subject, place)
    (out / FILE).write_bytes(rng.choice(_ODD_LOCKS)(rng))
    subject.segment_again(out)
    _require_shown(subject, out, subject.expected["finished"])


def _lock_of(**changes: Any) -> bytes:
    owner = Owner.this_process()
    values = {name: getattr(owner, name) for name in owner.__dataclass_fields__}
    return json.dumps({**values, **changes}).encode()


_ODD_LOCKS: tuple[Callable[[random.Random], bytes], ...] = (
    lambda _: b"",
    lambda _: bytes(200),
    lambda rng: rng.randbytes(100),
    lambda _: b"[]",
    lambda _: b"{}",
    lambda _: b'{"host": 1}',
    lambda _: b"[" * 5000,
    lambda _: _lock_of(process=-5),
    lambda _: _lock_of(process=10**30),
    lambda _: _lock_of(process_started="yesterday"),
    lambda _: _lock_of(process=os.getppid()),
    lambda _: _lock_of(process=1, process_started=0.0),
    lambda _: _lock_of(process_started=psutil.Process().create_time() - 3600),
)


def other_host(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """The lock is another machine's: the user is told, and may take over."""
    subject = made["stopped"]
    out = _copied(subject, place)
    (out / FILE).write_bytes(_lock_of(host="elsewhere", process=7))
    try:
        subject.segment_again(out)
    except LockedError as error:
        _require("--take-over" in str(error) and "elsewhere" in str(error), str(error))
    else:
        raise WrongResultError("the lock of another machine was ignored")
    subject.open(out).take_over()
    subject.segment_again(out)
    _require_shown(subject, out, subject.expected["finished"])


def take_over_from_the_living(made: dict[str, Subject], place: Path, _: random.Random) -> None:
    """A process of this machine that runs keeps its lock."""
    subject = made["finished"]
    out = _copied(subject, place)

    def take() -> str:
        subject.open(out).take_over()
        return "taken"

    with WriterLock(out).hold():
        _require(together(take) == [LOCKED], "a lock was taken from a process that runs")


def many_takers(made: dict[str, Subject], place: Path, rng: random.Random) -> None:
    """Several processes find one stale lock; one at a time gets it."""
    out = _copied(made["stopped"], place)
    for number in range(10):
        (out / FILE).write_bytes(_lock_of(process=10**9))
        together(*[partial(_hold_alone, out, rng.random())] * rng.choice((2, 3, 4)))
        _require(not (out / FILE).exists(), f"round {number}: a lock is left")


def _hold_alone(out: Path, seconds: float) -> None:
    with WriterLock(out).hold():
        mark = os.open(out / "alone", os.O_CREAT | os.O_EXCL)  # fails if somebody else is here
        time.sleep(seconds * 0.02)
        os.close(mark)
        (out / "alone").unlink()


SITUATIONS: dict[str, Callable[[dict[str, Subject], Path, random.Random], None]] = {
    "two segment": two_segment,
    "segment and refine": segment_and_refine,
    "run and edit": run_and_edit,
    "overwrite a run": overwrite_a_run,
    "two batches": two_batches,
    "cluster and local": cluster_and_local,
    "two windows": two_windows,
    "two editors": two_editors,
    "readers": readers,
    "stale lock": stale_lock,
    "odd lock": odd_lock,
    "lock of another host": other_host,
    "lock of the living": take_over_from_the_living,
    "many takers": many_takers,
}
