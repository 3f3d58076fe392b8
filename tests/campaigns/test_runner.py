"""The runner of campaigns tells apart all that may become of a case."""

from __future__ import annotations

import mmap
import os
import sys
import time

import numpy as np
import pytest
from tests.campaigns.runner import Job, Outcome, WrongResultError, run_case, run_jobs, table

from napari_twostage.errors import SlideError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forks")


def refuse(text: str, cause: BaseException | None = None) -> None:
    raise SlideError(text) from cause


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("kind", "function", "arguments"),
    [
        ("right", len, ("a",)),
        ("refused", refuse, ("a.tif is damaged; copy it again",)),
        ("refused", refuse, ("two\nlines of a.tif",)),  # its text has one
        ("poor", refuse, ("a.tif" * 100,)),
        ("poor", refuse, ("the file is damaged; copy it again",)),
        ("wrong", fail, (WrongResultError("other pixels"),)),
        ("traceback", fail, (ZeroDivisionError(),)),
        ("traceback", fail, (SystemExit(0),)),
        ("traceback", os.abort, ()),
        ("memory", fail, (MemoryError(),)),
        ("memory", refuse, ("a.tif is large", MemoryError())),
    ],
)
def test_kinds(kind: str, function: object, arguments: tuple[object, ...]) -> None:
    assert run_case(function, *arguments, mention="a.tif" if kind != "right" else "").kind == kind


def test_a_case_without_an_end_is_killed() -> None:
    def work() -> None:
        while True:
            pass

    for function, arguments in ((time.sleep, (60,)), (work, ())):
        start = time.monotonic()
        outcome = run_case(function, *arguments, seconds=0.5)
        assert (outcome.kind, time.monotonic() - start < 20) == ("hang", True)


def test_peak_memory_counts_though_it_was_given_back() -> None:
    def take() -> None:
        # pages of its own: an array might get memory that this process has already touched
        with mmap.mmap(-1, 100 << 20) as block:
            for page in range(0, len(block), mmap.PAGESIZE):
                block[page] = 1

    assert run_case(take, extra_bytes=50 << 20).kind == "memory"
    assert run_case(take, extra_bytes=300 << 20).kind == "right"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit addresses")
def test_no_case_takes_all_memory() -> None:
    outcome = run_case(np.ones, 1 << 40, np.uint8)
    assert outcome.kind == "memory"
    assert outcome.extra_bytes < 1 << 30


def test_jobs_run_side_by_side() -> None:
    jobs = [
        Job(name="way/late", function=lambda: time.sleep(60), seconds=0.3),
        *(Job(name=f"way/{n}", function=lambda: None) for n in range(4)),
    ]
    outcomes = list(run_jobs(jobs))
    assert sorted(one.name for one in outcomes) == sorted(job.name for job in jobs)
    assert [one.name for one in outcomes if one.kind == "hang"] == ["way/late"]


def test_the_table_counts_each_way_in() -> None:
    kinds = [("a", "right"), ("a", "hang"), ("b", "refused"), ("b", "refused")]
    text = table([Outcome(f"{way}/{n}", kind) for n, (way, kind) in enumerate(kinds)])
    assert text.splitlines()[0].startswith("| way in | cases | right | refused |")
    assert text.splitlines()[2:] == [
        "| a | 2 | 1 | 0 | 0 | 0 | 0 | 1 | 0 |",
        "| b | 2 | 0 | 2 | 0 | 0 | 0 | 0 | 0 |",
        "| all | 4 | 1 | 2 | 0 | 0 | 0 | 1 | 0 |",
    ]
