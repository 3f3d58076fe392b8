"""Processes that are killed, start late or are stopped cost time and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.distributed.helpers import WAIT_S, Countdown, dask_processes, run_entry, wait_for
from tests.proofs.helpers import assert_same, outcome
from tests.servers import count_events, object_store

from napari_twostage import Segmentation
from napari_twostage.cli.failures import FAILED, STOPPED
from napari_twostage.distributed import connect
from napari_twostage.distributed.cluster import NO_WORKER
from napari_twostage.errors import ClusterError
from napari_twostage.io.url import Url
from napari_twostage.method.steps import (
    PartitionRefined,
    PartitionSegmented,
    PartitionStep,
    TilesSelected,
)
from napari_twostage.models.backends import choose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.distributed.helpers import Case

    from napari_twostage.method.steps import Step


def kill(step: PartitionStep) -> None:
    """Kill the process that a step comes from; it already has its next task."""
    os.kill(step.worker.process, signal.SIGKILL)


@pytest.mark.slow
def test_workers_are_killed_in_both_stages(case: Case, threads: int, tmp_path: Path) -> None:
    first, second = Countdown(PartitionSegmented, 3, kill), Countdown(PartitionRefined, 3, kill)

    def listen(step: Step) -> None:
        first(step)
        second(step)

    with connect(workers=2, threads=threads, device="cpu") as cluster:
        seg = case.segment(tmp_path / "out.zarr", cluster=cluster, progress=listen)
    assert_same(outcome(seg), case.expected)
    killed = {first.step.worker.process, second.step.worker.process}
    assert killed < {worker["process"] for worker in run_entry(seg).workers}


@pytest.mark.slow
def test_a_late_worker_works_and_losing_all_costs_no_partition(
    case: Case, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zarr"
    with dask_processes(tmp_path, threads) as dask:
        address = dask.scheduler()
        dask.worker()
        with connect(address, device="cpu", patience_s=WAIT_S) as cluster:

            def one_more(_: PartitionStep) -> None:
                before = cluster.threads
                dask.worker()
                wait_for(lambda: cluster.threads > before)
                # otherwise the first worker may finish before this one has imported torch
                cluster._client.run(import_module, "napari_twostage.models.model")

            late = Countdown(PartitionSegmented, 1, one_more)
            seen: set[int] = set()

            def listen(step: Step) -> None:
                late(step)
                if isinstance(step, PartitionStep):
                    seen.add(step.worker.process)
                if isinstance(step, PartitionRefined) and len(seen) == 2:
                    dask.kill_all()

            with pytest.raises(ClusterError, match=r"the scheduler was lost; .* repeat") as caught:
                case.segment(out, cluster=cluster, progress=listen)
            assert "\n" not in str(caught.value)
        broken = Segmentation.open(out)
        assert len({worker["process"] for worker in run_entry(broken).workers}) == 2
        assert 0 < run_entry(broken).refined < run_entry(broken).plan["tiles"]

        address = dask.scheduler()
        dask.worker()
        said: list[str] = []

        def come_back(line: str) -> None:
            said.append(line)
            dask.worker()

        monkeypatch.setattr("napari_twostage.distributed.cluster.PATIENCE_S", 0.5)
        monkeypatch.setattr("napari_twostage.distributed.cluster.log.warning", come_back)
        # before it gets a task: a single task may be all that is left
        alone = Countdown(TilesSelected, 1, lambda _: dask.kill_last())
        with connect(address, device="cpu", patience_s=WAIT_S) as cluster:
            seg = case.segment(out, cluster=cluster, progress=alone)
    assert said == [NO_WORKER]
    assert_same(outcome(seg), case.expected)
    again = run_entry(seg).plan["tiles"]
    assert again < run_entry(broken).plan["tiles"]


@pytest.fixture
def heeded() -> Iterator[None]:
    """Let children react to SIGINT as in a terminal; background jobs inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("heeded")
def test_ctrl_c_keeps_what_is_recorded(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    command = case.command(out, "--workers", "2", "--device", "cpu")
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for((out / "handover").exists)
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal does
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == STOPPED
    assert said.strip().startswith("stopped; what was computed is kept. To go on: ")
    assert "Traceback" not in said
    assert not (out / "handover").exists()
    seg = case.segment(out)
    assert len(seg.record.runs) == 2
    assert_same(outcome(seg), case.expected)


@pytest.mark.slow
def test_the_owner_of_a_run_on_an_object_store_is_killed(
    small_case: Case, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto")
    with object_store(monkeypatch) as bucket, dask_processes(tmp_path, threads) as dask:
        out = Url(f"{bucket}/out.zarr")
        address = dask.scheduler()
        dask.worker()
        options = "--scheduler", address, "--device", "cpu"
        with subprocess.Popen(small_case.command(out, *options)) as process:
            # three events come before the first window: the result, its run, its tissue
            wait_for(lambda: count_events(out) > 3, every_s=0.5)
            process.kill()
        assert (out / "handover").is_dir()  # so its tasks are still executing
        assert not np.isfinite(Segmentation.open(out).scores).all()

        again = subprocess.run(small_case.command(out, *options), check=False)
        assert again.returncode == FAILED  # the damaged tile
        seg = Segmentation.open(out)
        assert_same(outcome(seg), small_case.expected)
        assert not (out / "handover").is_dir()
        assert {worker["compute"] for worker in run_entry(seg).workers} == {str(choose("cpu"))}
