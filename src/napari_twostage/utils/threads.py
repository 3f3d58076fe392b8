"""Thread pools for generators, which may be garbage-collected before they end."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
