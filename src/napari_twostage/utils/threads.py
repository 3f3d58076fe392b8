"""Threads: values that they share, and pools for generators, which may be garbage-collected."""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from typing import Any


Item = TypeVar("Item")
Value = TypeVar("Value")

MOST_THREADS = 8
"""Threads of `in_order`: more wait for the interpreter's lock."""

_garbage = threading.local()


def _note_collection(phase: str, _info: dict[str, int]) -> None:
    """Note in this thread whether Python is collecting garbage in it."""
    _garbage.collecting = phase == "start"


gc.callbacks.append(_note_collection)


def may_wait() -> bool:
    """Whether this thread may wait for other threads.

    Garbage is collected in whichever thread is running, whatever locks it holds: a generator that
    is closed then must not wait for a thread that may need one of them. The event-loop threads of
    zarr and fsspec never wait.
    """
    name = threading.current_thread().name
    return not getattr(_garbage, "collecting", False) and name not in {"zarr_io", "fsspecIO"}


@contextmanager
def pool(threads: int, name: str, *, drop_waiting: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Pool whose threads have ended when the block ends, if this thread may wait for them.

    Parameters
    ----------
    threads : int
        Maximum number of threads.
    name : str
        Prefix of the threads' names.
    drop_waiting : bool
        Whether work that has not begun is cancelled at the end, rather than done.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield executor
    finally:
        executor.shutdown(wait=may_wait(), cancel_futures=drop_waiting)


class shared_property(cached_property[Value]):  # noqa: N801 - used as a decorator
    """A cached property that is computed once, however many threads ask for it at once.

    `functools.cached_property` has no lock from Python 3.12 on: two threads may compute two values
    and keep one each. Use this for values that are written to, or whose making changes something.
    """

    def __init__(self, function: Callable[[Any], Value]) -> None:
        super().__init__(function)
        self._making = threading.RLock()

    if not TYPE_CHECKING:  # the types are those of `cached_property`

        def __get__(self, instance: object, owner: type | None = None) -> object:
            if instance is None:
                return self
            with self._making:
                return super().__get__(instance, owner)


def in_order(
    function: Callable[[Item], Value], items: Iterable[Item], *, ahead: int = 2
) -> Generator[Value, None, None]:
    """Call a function for each item in threads, a bounded number ahead; yield results in order.

    Parameters
    ----------
    function : callable
        Called from as many threads as there are processors, up to `MOST_THREADS`.
    items : iterable
        Arguments, one for each call.
    ahead : int
        Results for each thread that may wait for the consumer.
    """
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Value]] = deque()
    with pool(threads, "in-order", drop_waiting=True) as workers:
        for item in items:
            waiting.append(workers.submit(function, item))
            if len(waiting) > threads * ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
