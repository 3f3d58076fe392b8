"""Generators that are collected as garbage do not wait for threads."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.fakes import FakeModel, noise_slide

from napari_twostage import iter_segment
from napari_twostage.utils.threads import may_wait, pool, shared_property

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Knot:
    """An object that only the garbage collector frees."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.knot = self


def test_a_generator_that_is_collected_may_not_wait() -> None:
    found = []

    def generator() -> Iterator[None]:
        try:
            yield
        finally:
            found.append(may_wait())

    knot = Knot(generator())
    next(knot.held)
    del knot
    gc.collect()
    assert found == [False]
    closed = generator()
    next(closed)
    closed.close()
    assert found == [False, True]
    assert may_wait()


def test_a_pool_that_is_collected_leaves_its_threads_to_end_by_themselves() -> None:
    lock, done = threading.Lock(), threading.Event()

    def work() -> None:
        with lock:
            done.set()

    def generator() -> Iterator[None]:
        with pool(1, "test") as threads:
            threads.submit(work)
            yield

    with lock:  # as the thread that happens to collect garbage may hold what the work needs
        knot = Knot(generator())
        next(knot.held)
        del knot
        gc.collect()
    assert done.wait(10)


def test_an_abandoned_run_does_not_block_the_thread_that_collects_it(tmp_path: Path) -> None:
    knot = Knot(iter_segment(noise_slide(), FakeModel(), tmp_path / "out", tissue=False))
    next(knot.held)
    next(knot.held)
    del knot
    collected = threading.Thread(target=gc.collect, daemon=True)
    collected.start()
    collected.join(30)
    assert not collected.is_alive()


def test_a_shared_property_is_made_once() -> None:
    made = []

    class Holder:
        @shared_property
        def value(self) -> list[int]:
            made.append(threading.current_thread())
            time.sleep(0.05)  # the others come meanwhile
            return []

    holder = Holder()
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda _: holder.value, range(4)))
    assert len(made) == 1
    assert all(value is holder.value for value in values)
    assert Holder().value is not holder.value
