"""Pools of threads for generators, which may be collected as garbage before they end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def may_wait() -> bool:
    """Whether this thread may wait for others.

    Garbage is collected in whatever thread is at work. In zarr's own or fsspec's, waiting for a
    thread that waits for it would never end.
    """
    return threading.current_thread().name not in {"zarr_io", "fsspecIO"}


@contextmanager
def pool(threads: int, name: str, *, drop_waiting: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Threads that have ended when the block ends, where that can be waited for.

    Parameters
    ----------
    threads : int
        At most so many.
    name : str
        What threads are called.
    drop_waiting : bool
        Whether work that has not begun is dropped at the end, rather than done.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield executor
    finally:
        executor.shutdown(wait=may_wait(), cancel_futures=drop_waiting)
