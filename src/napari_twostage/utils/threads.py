"""Threads: values that they share, and pools for generators, which may be garbage-collected."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


Value = TypeVar("Value")

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
