"""Thread pools for generators, which may be garbage-collected before they end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def may_wait() -> bool:
    """Whether this thread may wait for other threads.

    Garbage is collected in whichever thread is running. In the event-loop threads of zarr and
    fsspec, waiting for a thread that waits for them would deadlock.
    """
    return threading.current_thread().name not in {"zarr_io", "fsspecIO"}


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
