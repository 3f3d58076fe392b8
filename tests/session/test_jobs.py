"""Jobs in threads: bounded events, clean ends of jobs and of the interpreter."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fakes import FakeModel
from tests.session.helpers import PATIENCE_S

from napari_twostage.errors import SlideError, TwoStageError
from napari_twostage.models.bundle import read_bundle
from napari_twostage.session import jobs
from napari_twostage.session.jobs import EVENTS_AHEAD, Job, JobEnded, JobFailed, new_inbox, take
from napari_twostage.session.tasks import ModelCache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.session.jobs import Inbox


def ended(inbox: Inbox, job: Job) -> list[object]:
    """All events of a job up to its end."""
    items: list[object] = []
    while not (items and isinstance(items[-1], JobEnded)):
        events = list(take(inbox, PATIENCE_S))
        assert events, "nothing came"
        items += [item for sender, item in events if sender is job]
    return items


def test_events_come_in_order_and_end_with_the_end() -> None:
    inbox = new_inbox()
    job = Job("count", lambda _: iter(range(50)), inbox)
    assert ended(inbox, job) == [*range(50), JobEnded(cancelled=False, complete=True)]
    job.join(PATIENCE_S)
    assert not job.alive


def test_a_job_waits_for_an_owner_that_takes_no_events() -> None:
    inbox = new_inbox()
    made: list[int] = []
    full = threading.Event()

    def endless(_: Job) -> Iterator[int]:
        while True:
            made.append(len(made))
            if len(made) > EVENTS_AHEAD:
                full.set()
            yield made[-1]

    job = Job("endless", endless, inbox)
    assert full.wait(PATIENCE_S)
    job.join(0.3)
    assert job.alive
    assert len(made) == EVENTS_AHEAD + 1
    assert inbox.qsize() == EVENTS_AHEAD
    job.cancel()
    items = ended(inbox, job)
    assert items[:-1] == made[: len(items) - 1]
    assert items[-1] == JobEnded(cancelled=True, complete=False)


def test_taking_events_ends_even_if_the_job_is_faster() -> None:
    inbox = new_inbox()
    for number in range(EVENTS_AHEAD):
        inbox.put((None, number))  # type: ignore[arg-type]
    taken = []
    for item in take(inbox):
        taken.append(item)
        inbox.put(item)
    assert len(taken) == EVENTS_AHEAD


def test_a_cancelled_job_closes_its_iterator_in_its_own_thread() -> None:
    inbox = new_inbox()
    closed: list[str] = []

    def work(_: Job) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    job = Job("closing", work, inbox)
    assert list(take(inbox, PATIENCE_S))
    job.cancel()
    ended(inbox, job)
    assert closed == ["closing"]


def test_a_job_starts_when_those_before_it_have_ended() -> None:
    inbox = new_inbox()
    go = threading.Event()
    order: list[str] = []

    def first(_: Job) -> Iterator[None]:
        assert go.wait(PATIENCE_S)
        order.append("first")
        yield

    def second(_: Job) -> Iterator[None]:
        order.append("second")
        yield

    before = Job("first", first, inbox)
    job = Job("second", second, inbox, [before])
    before.cancel()
    go.set()
    ended(inbox, job)
    assert order == ["first", "second"]


def test_a_job_cancelled_before_its_turn_does_nothing() -> None:
    inbox = new_inbox()
    go = threading.Event()
    before = Job("first", lambda _: iter([go.wait(PATIENCE_S)]), inbox)
    begun: list[Job] = []
    job = Job("second", lambda job: iter(begun.append(job) or []), inbox, [before])
    job.cancel()
    go.set()
    assert ended(inbox, job) == [JobEnded(cancelled=True, complete=False)]
    assert not begun


def test_a_job_that_must_finish_is_done_even_if_cancelled() -> None:
    inbox = new_inbox()
    go = threading.Event()
    before = Job("first", lambda _: iter([go.wait(PATIENCE_S)]), inbox)
    job = Job("whole", lambda _: iter(range(3)), inbox, [before], must_finish=True)
    job.cancel()
    go.set()
    assert ended(inbox, job) == [0, 1, 2, JobEnded(cancelled=False, complete=True)]


def test_a_progress_report_ends_a_cancelled_job() -> None:
    inbox = new_inbox()
    reported = threading.Event()

    def work(job: Job) -> Iterator[str]:
        while True:
            job.report("on the way")
            reported.set()

        yield "never"

    job = Job("reports", work, inbox)
    assert reported.wait(PATIENCE_S)
    job.cancel()
    items = ended(inbox, job)
    assert set(items[:-1]) <= {"on the way"}
    assert items[-1] == JobEnded(cancelled=True, complete=False)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SlideError("found this; do that"), "found this; do that"),
        (OSError(28, "No space left", "/a"), "/a: the disk is full; free space and try again"),
        (OSError("odd"), "odd; check the disk and try again"),
        (MemoryError(), "there is too little free memory; close other programs and try again"),
        (ValueError("a\nb"), "unexpected ValueError: a b; what was done so far is kept"),
        (KeyError(), "unexpected KeyError; what was done so far is kept"),
    ],
)
def test_an_error_is_told_in_one_line(error: Exception, line: str) -> None:
    inbox = new_inbox()

    def work(_: Job) -> Iterator[int]:
        yield 1
        raise error

    items = ended(inbox, Job("fails", work, inbox))
    assert items == [1, JobFailed(error), JobEnded(cancelled=False, complete=False)]
    assert items[1].reason == line
    with pytest.raises(TwoStageError) as raised:
        items[1].reraise()
    if isinstance(error, TwoStageError):
        assert raised.value is error
    else:
        assert str(raised.value) == line
        assert raised.value.__cause__ is error


SCRIPT = """
import sys, threading
from tests.fakes import FakeModel, noise_slide
from napari_twostage import Box, Session

at_work = threading.Event()

class Slow(FakeModel):
    def refine(self, windows):
        at_work.set()
        threading.Event().wait(0.02)
        return super().refine(windows)

session = Session()
session.set_slide(noise_slide(300, 300))
session.set_model(Slow(refine_batch=1))
session.set_options(tissue_only=False)
session.set_out(sys.argv[1])
session.run_coarse()
session.wait(60).refine_region(Box(0, 0, 300, 300))
if sys.argv[2] == "paused":
    session.pause()
elif sys.argv[2] == "not polled":
    session.measure()
assert sys.argv[2] == "paused" or at_work.wait(60)
print("leaving")
"""


@pytest.mark.parametrize("how", ["running", "paused", "not polled"])
def test_the_interpreter_ends_cleanly_while_a_job_is_at_work(tmp_path: Path, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "out"), how],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")


def test_jobs_that_ended_are_forgotten() -> None:
    inbox = new_inbox()
    job = Job("short", lambda _: iter([1]), inbox)
    ended(inbox, job)
    job.join(PATIENCE_S)
    assert job in jobs._alive  # weakly: as long as there is a reference
    del job
    assert not [job for job in jobs._alive if job.name == "short"]


def test_a_late_job_of_another_model_does_not_replace_the_one_that_is_used() -> None:
    models, used = ModelCache("cpu", "f32"), FakeModel()
    models.put(used)
    assert models.get(read_bundle("nuclei")).card.name == "nuclei"
    assert models.get(used.bundle) is used
    assert models.compute is used.compute
