"""The schedule of docs/scale.md, in cases that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from docs.scale_costs import Costs, SlideCost, TaskCost
from docs.simulate_scale import Schedule, SimulatedCluster

ONE_PARTITION_MPX = 1.536**2
FREE_STORE = {"store_bytes_per_s": 1e30, "store_requests_per_s": 1e30}
CALM = {"slow_share": 0.0, "hours_between_failures": 1e12, **FREE_STORE}


def slide(partitions: int, owner_s: float = 0.0) -> SlideCost:
    tissue = partitions * ONE_PARTITION_MPX
    return SlideCost(Costs(tissue_mpx=tissue, owner_s_per_partition=owner_s, owner_s_per_slide=0))


def test_one_worker_does_all_partitions_one_after_another():
    one = slide(partitions=3)
    found = Schedule(one, SimulatedCluster(workers=1, cores_per_worker=1, **CALM), slides=2).run()
    assert found.done == 2 * 2 * 3
    assert found.seconds == pytest.approx(2 * one.total.core_s)
    assert found.busy["workers"] == pytest.approx(1)


def test_stage_2_waits_for_the_whole_coarse_pass():
    """Three partitions on two workers: two rounds of each stage, however short stage 2 is."""
    one = slide(partitions=3)
    found = Schedule(one, SimulatedCluster(workers=2, cores_per_worker=1, **CALM), slides=1).run()
    assert found.seconds == pytest.approx(2 * (one.coarse.core_s + one.refine.core_s))


def test_another_slide_fills_the_gap():
    one = slide(partitions=3)
    cluster = SimulatedCluster(workers=2, cores_per_worker=1, **CALM)
    alone = Schedule(one, cluster, slides=1).run()
    together = Schedule(one, cluster, slides=2).run()
    assert together.seconds < 2 * alone.seconds
    assert together.computing_s == pytest.approx(2 * alone.computing_s)


def test_with_workers_enough_the_store_is_what_counts():
    one = slide(partitions=50)
    cluster = SimulatedCluster(workers=10_000, **{**CALM, "store_requests_per_s": 100.0})
    found = Schedule(one, cluster, slides=3).run()
    requests = 3 * (one.total.reads + one.total.writes)
    assert found.store_s == pytest.approx(requests / 100)
    assert found.busy["store"] > 0.95


def test_a_slow_owner_holds_up_everyone():
    one = slide(partitions=50, owner_s=10.0)
    found = Schedule(one, SimulatedCluster(workers=10_000, **CALM), slides=3).run()
    assert found.owner_s == pytest.approx(3 * 2 * 50 * 10.0)
    assert found.busy["owner"] > 0.99


def test_every_task_is_slow_where_all_are():
    one = slide(partitions=4)
    calm = Schedule(one, SimulatedCluster(workers=2, **CALM), slides=1).run()
    slow = Schedule(one, SimulatedCluster(workers=2, **{**CALM, "slow_share": 1.0}), slides=1).run()
    assert slow.seconds == pytest.approx(SimulatedCluster.slow_factor * calm.seconds)


def test_what_a_death_costs_is_the_work_lost_and_the_restart():
    one = slide(partitions=20)
    hours = 4 * one.coarse.core_s / 3600
    cluster = SimulatedCluster(
        workers=1, cores_per_worker=1, restart_s=7.0, **{**CALM, "hours_between_failures": hours}
    )
    calm = Schedule(one, replace(cluster, hours_between_failures=1e12), slides=2).run()
    found = Schedule(one, cluster, slides=2).run()
    assert found.failures > 3
    assert found.done == calm.done
    assert found.seconds == pytest.approx(calm.seconds + found.lost_s + 7.0 * found.failures)


def test_the_costs_of_a_partition_can_be_counted():
    costs = Costs(
        tissue_mpx=ONE_PARTITION_MPX, fraction=1.0, ratio=2,
        core_s_per_window=1.0, core_s_per_tile=0.5, core_s_per_read=0.0, core_s_per_chunk=0.0,
        file_tile_bytes=10.0, logits_bytes_per_window=3.0, overview_bytes_per_window=1.0,
        overview_requests=5, chunk_bytes_per_tile=2.0,
    )  # fmt: skip
    windows, tiles, file_tiles = 2**2, 12**2, 18  # (1 + 1664 / 512) ** 2 = 18.1
    found = SlideCost(costs)
    assert found.coarse == TaskCost(
        windows, file_tiles, 10.0 * file_tiles, windows + 5, 4.0 * windows
    )
    refined = found.refine
    assert (refined.core_s, refined.writes) == (0.5 * tiles, tiles + 2 * 5)
    assert refined.written_bytes == 2.0 * tiles + 1.0 * windows
    assert refined.reads == 17  # (1 + 1568 / 512) ** 2 = 16.5: each once, whatever is refined


def test_few_tiles_need_few_reads():
    few = SlideCost(Costs(fraction=1 / 144)).refine
    assert few.reads == 2  # 1.31 ** 2 of 16.5, less what might be the same
