"""Threads that read and compute ahead of the consumer, so that neither waits for the other.

Both generators keep order, hold a bounded number of items, and end their threads when closed.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

Item = TypeVar("Item")
Content = TypeVar("Content")
Output = TypeVar("Output")

READERS = 2
"""Threads that decode ahead of the model."""
READ_AHEAD = 1
"""Batches decoded in advance: enough to keep the model busy, few enough to follow `Focus`."""
COMPUTE_AHEAD = 1
"""Batches queued for the model while the caller handles earlier steps."""


def compute_ahead(
    compute: Callable[[list[Item]], Sequence[Output]],
    batches: Generator[list[Item], None, None],
    threads: int,
) -> Generator[tuple[Item, Output], None, None]:
    """Compute batches in threads; yield each item with its output, in order.

    Parameters
    ----------
    compute : callable
        Returns one output for each item of a batch.
    batches : generator
        Closed at the end, also after an error.
    threads : int
        Batches computed at the same time; `COMPUTE_AHEAD` more may wait.

    Yields
    ------
    (item, output)
    """
    waiting: deque[tuple[list[Item], Future[Sequence[Output]]]] = deque()

    def oldest() -> Iterator[tuple[Item, Output]]:
        batch, future = waiting.popleft()
        return zip(batch, future.result(), strict=True)

    # Close explicitly: an error's traceback would keep the generator and its threads alive.
    with closing(batches), pool(threads, "compute", drop_waiting=True) as owners:
        for batch in batches:
            waiting.append((batch, owners.submit(compute, batch)))
            if len(waiting) >= threads + COMPUTE_AHEAD:
                yield from oldest()
        while waiting:
            yield from oldest()


def read_ahead(
    read: Callable[[Item], Content], items: Iterable[Item], batch: int
) -> Generator[list[tuple[Item, Content]], None, None]:
    """Read items in threads, a bounded number ahead; yield them in order, in batches.

    Parameters
    ----------
    read : callable
        Returns the content of an item.
    items : iterable
        Consumed only as far ahead as `READ_AHEAD` allows.
    batch : int
        Most items in a batch; the last batch may hold fewer.

    Yields
    ------
    list of (item, content)
    """
    waiting: deque[list[tuple[list[Item], Future[list[Content]]]]] = deque()
    source = iter(items)
    share = -(-batch // READERS)  # to wake a thread for each item costs as much as to read it

    def read_all(some: list[Item]) -> list[Content]:
        return [read(item) for item in some]

    with pool(READERS, "read-ahead", drop_waiting=True) as readers:
        while True:
            while len(waiting) <= READ_AHEAD and (taken := list(islice(source, batch))):
                parts = (taken[first : first + share] for first in range(0, len(taken), share))
                waiting.append([(part, readers.submit(read_all, part)) for part in parts])
            if not waiting:
                return
            yield [
                pair
                for part, future in waiting.popleft()
                for pair in zip(part, future.result(), strict=True)
            ]
