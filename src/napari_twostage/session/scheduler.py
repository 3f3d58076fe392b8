"""The jobs of a session: the order in which they run, and the delivery of their events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from napari_twostage.method.steps import ChipFailed, ChipRefined, CoarseWindowDone
from napari_twostage.session.jobs import Job, JobEnded, JobFailed, new_inbox, take

Begin = Callable[[Job], Iterator[object]]
"""Makes the iterator of a job; called in the job's thread."""
PlaceDone: TypeAlias = CoarseWindowDone | ChipRefined | ChipFailed
"""Steps that come by the thousand, and are delivered in lists."""
_WAIT_S = 0.05
"""Longest sleep of `Scheduler.wait` between two polls."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Callables that events are delivered to."""

    steps: Callable[[list[PlaceDone]], None]
    """Takes steps that came one after the other."""
    event: Callable[[object], None]
    """Takes any other event, `JobEnded` excepted."""
    task_ended: Callable[[], None]
    run_ended: Callable[[JobEnded], None]
    lost: Callable[[JobFailed], None]
    """Takes the failure of a retired task that had to finish: nobody can repeat it."""


def _nothing() -> None:
    """Take no notice of an end."""


@dataclass(frozen=True, slots=True)
class _Task:
    job: Job
    on_end: Callable[[], None]
    before_run: bool
    at_once: bool


class Scheduler:
    """Jobs of one session: at most one run, and a queue of tasks beside it.

    ::

        run      starts once the retired jobs, and tasks that come before a run, have ended
        tasks    start one after the other, once the retired jobs have ended; some at once
        retired  were cancelled; their events are dropped

    Called from the owner's thread only, in which events are delivered, too.

    Parameters
    ----------
    receiver : Receiver
        Takes the events.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._inbox = new_inbox()
        self._failure: JobFailed | None = None
        self._run: Job | None = None
        self._tasks: list[_Task] = []
        self._retired: list[Job] = []

    @property
    def busy(self) -> bool:
        """Whether any job's end has not been delivered yet."""
        return bool(self._run or self._tasks or self._retired)

    def start_run(self, name: str, begin: Begin) -> None:
        """Start the run; the one before it must have ended."""
        first = [task.job for task in self._tasks if task.before_run]
        self._run = Job(name, begin, self._inbox, after=[*self._retired, *first])

    def add_task(
        self,
        name: str,
        begin: Begin,
        *,
        must_finish: bool = False,
        before_run: bool = False,
        at_once: bool = False,
        on_end: Callable[[], None] = _nothing,
    ) -> None:
        """Append a task to the queue.

        Parameters
        ----------
        name, begin
            See `Job`.
        must_finish : bool
            Ignore that the task is cancelled or retired.
        before_run : bool
            Let a run that starts later wait for the task: it opens the result that the run uses.
        at_once : bool
            Do not wait for the other tasks, which do not wait for this one, either: it is short,
            only reads, and reports no progress.
        on_end : callable, optional
            Called in the owner's thread after the end of the task, unless it was retired.
        """
        after = [] if at_once else [task.job for task in self._tasks if not task.at_once]
        job = Job(name, begin, self._inbox, [*self._retired, *after], must_finish=must_finish)
        self._tasks.append(_Task(job, on_end, before_run, at_once))

    def pause_run(self) -> None:
        """Pause the run."""
        if self._run is not None:
            self._run.pause()

    def resume_run(self) -> None:
        """Resume the run."""
        if self._run is not None:
            self._run.resume()

    def cancel(self) -> None:
        """Cancel the run and all tasks; their events are still wanted."""
        for job in self._jobs():
            job.cancel()

    def retire_tasks(self) -> None:
        """Cancel all tasks and drop their events."""
        self._retire([task.job for task in self._tasks])
        self._tasks = []

    def retire_all(self) -> None:
        """Cancel the run and all tasks, and drop their events."""
        self._retire(self._jobs())
        # an error keeps all that its traceback refers to, open files too
        self._run, self._tasks, self._failure = None, [], None

    def poll(self, timeout_s: float | None = None) -> None:
        """Deliver the events that wait.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait for the first event; None delivers only what is there.
        """
        steps: list[PlaceDone] = []
        for job, event in take(self._inbox, timeout_s):
            if isinstance(event, PlaceDone):
                if job not in self._retired:
                    steps.append(event)
                continue
            gathered, steps = steps, []
            try:
                self._deliver_steps(gathered)
            finally:  # a listener that fails must not make a run last for ever
                self._deliver(job, event)
        self._deliver_steps(steps)

    def wait(self, timeout_s: float | None = None) -> None:
        """Poll until nothing is under way; see `Session.wait`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._failure = None
        while self.busy:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"not done after {timeout_s} s; wait again, or cancel")
            self.poll(_WAIT_S)
        failure, self._failure = self._failure, None
        if failure is not None:
            failure.reraise()

    def close(self, timeout_s: float) -> None:
        """Retire all jobs, and wait until their threads have ended."""
        self.retire_all()
        jobs = list(self._retired)
        deadline = time.monotonic() + timeout_s
        while self._retired and time.monotonic() < deadline:
            self.poll(_WAIT_S)
        for job in jobs:
            job.join(max(0.0, deadline - time.monotonic()))

    def _deliver_steps(self, steps: list[PlaceDone]) -> None:
        if steps:
            self._receiver.steps(steps)

    def _deliver(self, job: Job, event: object) -> None:
        if isinstance(event, JobEnded):
            self._forget(job, event)
            return
        if job in self._retired:
            if isinstance(event, JobFailed) and job.must_finish:
                self._receiver.lost(event)
            return
        if isinstance(event, JobFailed):
            self._failure = event
        self._receiver.event(event)

    def _forget(self, job: Job, end: JobEnded) -> None:
        if job in self._retired:
            self._retired.remove(job)
        elif job is self._run:
            self._run = None
            self._receiver.run_ended(end)
        else:
            task = next(task for task in self._tasks if task.job is job)
            self._tasks.remove(task)
            task.on_end()
            if not task.at_once:
                self._receiver.task_ended()

    def _jobs(self) -> list[Job]:
        run = [] if self._run is None else [self._run]
        return [*run, *(task.job for task in self._tasks)]

    def _retire(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.cancel()
        self._retired += jobs
