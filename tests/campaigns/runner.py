"""Run one case in a forked child under limits, and tell what became of it.

The parent imports what the cases need and starts no threads; a child is then a fork of some
milliseconds, and whatever a case does to its process ends with it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import selectors
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import psutil

from napari_twostage.errors import TwoStageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Kind = Literal["right", "refused", "wrong", "poor", "traceback", "hang", "memory"]
"""What became of a case; `right` and `refused` are good.

- right: the function returned.
- refused: it raised a TwoStageError whose message is one short line.
- wrong: it raised WrongResultError.
- poor: it raised a TwoStageError whose message is long, of several lines, or names no file.
- traceback: it raised any other error, or a signal ended the process.
- hang: it had not returned after the time limit, and was killed.
- memory: it took more than the memory limit.
"""

GOOD: tuple[Kind, ...] = ("right", "refused")
LONGEST_MESSAGE = 400

_ADDRESS_ROOM = 4 << 30
"""Bytes that a child may reserve beyond its parent's, so that none takes the machine down."""
_BUSY = 1.5
"""Processes that want to run, for each processor, on a machine that holds children up."""
_LONGEST_WAIT, _LONGEST_LIFE = 10, 12
"""Life of a child that is held up, and of one whose parent is gone, in time limits."""
_SIZE = struct.Struct("q")
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class WrongResultError(Exception):
    """Raised by a case that got a result, but not the right one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case."""

    name: str
    """Way in, a slash and the case's own name: ``tiff/svs-flipped-17``."""
    kind: Kind
    message: str = ""
    seconds: float = 0.0
    extra_bytes: int = 0
    """Peak memory of the child above its own at the start."""

    @property
    def is_good(self) -> bool:
        """Whether a user is served: the right result, or one clear line."""
        return self.kind in GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One case with its limits."""

    name: str
    function: Callable[[], object]
    seconds: float = 10
    extra_bytes: int = 1 << 30
    mention: str = ""
    """Text that a refusal must contain: the name of the file."""


def run_case(
    function: Callable[..., object],
    *args: Any,
    name: str = "",
    seconds: float = 10,
    extra_bytes: int = 1 << 30,
    mention: str = "",
) -> Outcome:
    """Call a function in a forked child.

    Parameters
    ----------
    function : callable
        Uses an input as a user would; returns if all is right.
    *args
        Its arguments.
    name : str
        Name of the outcome.
    seconds : float
        Time after which the child is killed; on a busy machine, processor time.
    extra_bytes : int
        Peak memory of the child above its own at the start.
    mention : str
        Text that a refusal must contain.
    """
    job = Job(
        name=name,
        function=lambda: function(*args),
        seconds=seconds,
        extra_bytes=extra_bytes,
        mention=mention,
    )
    return next(iter(run_jobs([job], at_once=1)))


def run_jobs(jobs: Iterable[Job], *, at_once: int = 2) -> Iterator[Outcome]:
    """Run jobs in forked children, several at once; outcomes come as they end."""
    waiting = iter(jobs)
    running: list[_Child] = []
    exhausted = False
    with selectors.DefaultSelector() as selector:
        while running or not exhausted:
            while len(running) < at_once and not exhausted:
                job = next(waiting, None)
                exhausted = job is None
                if job is not None:
                    running.append(_Child(job))
                    selector.register(running[-1].pipe, selectors.EVENT_READ, running[-1])
            timeout = min((child.seconds_left for child in running), default=0)
            for key, _ in selector.select(max(0.0, timeout)):
                key.data.receive()
            for child in [one for one in running if one.is_over()]:
                selector.unregister(child.pipe)
                running.remove(child)
                yield child.finish()


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown table of outcomes: a row for each way in, a column for each kind."""
    kinds = get_args(Kind)
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.name.partition("/")[0], Counter())[outcome.kind] += 1
    total = sum(counts.values(), Counter())
    rows = [[way, found] for way, found in sorted(counts.items())] + [["all", total]]
    lines = [["way in", "cases", *kinds], ["---", *["--:"] * (len(kinds) + 1)]]
    for way, found in rows:
        lines.append([way, str(found.total()), *(str(found[kind]) for kind in kinds)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class _Child:
    """A forked child that runs one job and sends its outcome through a pipe."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pipe, sending = os.pipe()
        self._received = bytearray()
        self._ended = False
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python warns where a test runner has a thread, which waits and holds no lock
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            _be_child(job, sending)
        os.close(sending)
        self._start = time.monotonic()
        self._deadline = self._start + job.seconds

    @property
    def seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def is_over(self) -> bool:
        """Whether the child has ended, or has had its time."""
        return self._ended or (self.seconds_left <= 0 and not self._was_held_up())

    def _was_held_up(self) -> bool:
        """Give a child on a machine with more to do than processors the time that it lacks."""
        passed = time.monotonic() - self._start
        times = psutil.Process(self._pid).cpu_times()
        lacking = self.job.seconds - times.user - times.system
        is_busy = psutil.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)
        if is_busy and lacking > 0 and passed < _LONGEST_WAIT * self.job.seconds:
            self._deadline = time.monotonic() + max(0.2, lacking)
            return True
        return False

    def receive(self) -> None:
        """Take what the child sent; it has ended once that is nothing."""
        part = os.read(self.pipe, 1 << 16)
        self._received += part
        self._ended = not part

    def finish(self) -> Outcome:
        """Reap the child, killing it if it still runs, and tell what became of it."""
        seconds = time.monotonic() - self._start
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        _, status, usage = os.wait4(self._pid, 0)
        os.close(self.pipe)
        start, judged = self._received[: _SIZE.size], self._received[_SIZE.size :]
        extra = usage.ru_maxrss * _MAXRSS_UNIT - (_SIZE.unpack(start)[0] if start else 0)
        sent: tuple[Kind, str] | None = pickle.loads(judged) if judged else None
        if not self._ended:
            sent = "hang", f"no end after {self.job.seconds} s"
        elif extra > self.job.extra_bytes:
            sent = "memory", f"{extra / 2**30:.1f} GiB" + (f": {sent[1]}" if sent else "")
        elif sent is None:
            sent = "traceback", f"ended by signal {os.WTERMSIG(status)}"
        return Outcome(self.job.name, *sent, seconds=seconds, extra_bytes=extra)


def _be_child(job: Job, sending: int) -> None:
    """Run the job and end the process."""
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        faulthandler.disable()
        # an end of its own, should the parent be killed before it
        signal.setitimer(signal.ITIMER_REAL, _LONGEST_LIFE * job.seconds)
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(silence, descriptor)
        _limit_memory()
        # not the parent's: a fork does not map what its parent maps from files
        os.write(sending, _SIZE.pack(psutil.Process().memory_info().rss))
        data = pickle.dumps(_judged(job))
        while data:
            data = data[os.write(sending, data) :]
    finally:
        os._exit(0)


def _limit_memory() -> None:
    """Let large reservations fail where the system supports it."""
    import resource

    room = psutil.Process().memory_info().vms + _ADDRESS_ROOM
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _judged(job: Job) -> tuple[Kind, str]:
    """Call the function and class what it does."""
    try:
        job.function()
    except WrongResultError as error:
        return "wrong", str(error)
    except TwoStageError as error:
        return _judged_refusal(error, job.mention)
    except BaseException as error:  # noqa: BLE001 - told to the parent
        kind: Kind = "memory" if isinstance(error, MemoryError) else "traceback"
        return kind, "".join(traceback.format_exception(error))
    return "right", ""


def _judged_refusal(error: TwoStageError, mention: str) -> tuple[Kind, str]:
    text = str(error)
    if _ran_out_of_memory(error):
        return "memory", f"refused only once memory ran out: {text}"
    if "\n" in text or "\r" in text or len(text) > LONGEST_MESSAGE:
        return "poor", f"not one short line: {text}"
    if mention not in text:
        return "poor", f"does not name {mention}: {text}"
    return "refused", text


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error comes from one of memory: without this process's limit it takes all."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
