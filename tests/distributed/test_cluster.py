"""A cluster produces the same result as a single process."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.distributed.helpers import run_entry
from tests.models.random_model import overflowing_bundle, random_bundle
from tests.proofs.helpers import assert_same, outcome, tissue_pixels

from napari_twostage import Box, Segmentation, iter_segment, load_model, open_slide, segment
from napari_twostage.distributed.partition import PartitionGrid
from napari_twostage.engine.batch import segment_all
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import LogitsError, SegmentationError
from napari_twostage.method.selection import Selection
from napari_twostage.method.steps import (
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    PartitionRefined,
    PartitionSegmented,
    TilesSelected,
)
from napari_twostage.models.backends import choose

if TYPE_CHECKING:
    from pathlib import Path

    from tests.distributed.helpers import Case

    from napari_twostage.distributed import Cluster


def test_the_outcome_is_that_of_one_process(
    case: Case, cluster: Cluster, threads: int, tmp_path: Path
) -> None:
    steps: list[object] = []
    seg = case.segment(tmp_path / "out.zarr", cluster=cluster, progress=steps.append)
    assert_same(outcome(seg), case.expected)
    assert seg.failures  # the damaged tile
    assert max(seg.layout.steps) > PartitionGrid(seg.layout).step  # so partitions share levels

    segmented = [step for step in steps if isinstance(step, PartitionSegmented)]
    refined = [step for step in steps if isinstance(step, PartitionRefined)]
    assert sum(step.windows for step in segmented) == len(seg.windows_done)
    assert sum(step.tiles for step in refined) == run_entry(seg).plan["tiles"]
    assert len(steps) == len(segmented) + len(refined) + 2
    assert isinstance(steps[0], CoarsePassStarted)
    assert isinstance(steps[1 + len(segmented)], TilesSelected)

    workers = run_entry(seg).workers
    assert sum(worker["fields"] for worker in workers) == len(segmented) + len(refined)
    assert len({worker["process"] for worker in workers}) == 2
    computing = {(worker["compute"], worker["threads"]) for worker in workers}
    assert computing == {(str(choose("cpu")), threads)}
    assert not (seg.path / "handover").exists()

    here = Segmentation.open(case.done)
    np.testing.assert_array_equal(seg.uncertainty_map.pixels, here.uncertainty_map.pixels)
    assert not seg._files.log.stale_tiles


def test_a_cluster_resumes_a_run_of_one_process_and_vice_versa(
    case: Case, cluster: Cluster, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    turns: list[tuple[Cluster | None, type]] = [
        (None, CoarseWindowDone),
        (cluster, PartitionSegmented),
        (None, ChipRefined),
        (cluster, PartitionRefined),
    ]
    for where, last in turns:
        steps = iter_segment(case.slide, case.model, out, **case.settings, cluster=where)
        found = next(step for step in steps if isinstance(step, last))
        assert found
        steps.close()  # type: ignore[attr-defined] - a generator
    seg = case.segment(out)
    assert_same(outcome(seg), case.expected)
    assert [entry.finished for entry in seg.record.runs] == [False] * 4 + [True]
    assert all(entry.refined for entry in seg.record.runs[2:4])


def test_more_is_refined_on_a_cluster(case: Case, cluster: Cluster, tmp_path: Path) -> None:
    found = []
    for name, where in {"there": cluster, "here": None}.items():
        seg = case.copy(tmp_path / name)
        painted = seg.tiles.box((2, 3))
        seg.edit(painted, np.ones(painted.shape, np.uint8))
        seg.refine(seg.plan(fraction=0.7), cluster=where)
        found.append(outcome(seg))
        assert_same(outcome(Segmentation.open(seg.path)), found[0])  # as on disk
    assert_same(found[0], found[1])


@pytest.mark.parametrize("begun", [None, "f32"])
def test_workers_compute_in_the_precision_that_the_record_states(
    begun: str | None, case: Case, cluster: Cluster, tmp_path: Path
) -> None:
    folder, out = tmp_path / "model", tmp_path / "out.zarr"
    random_bundle(precision_loss={"bf16": 0.0}).save(folder)
    settings = {"region": Box(0, 0, 200, 200), "tissue": False}
    if begun is not None:
        model = load_model(folder, device="cpu", precision=begun)
        segment(case.slide, model, out, refine="none", **settings)
    model = load_model(folder, device="cpu")
    seg = segment(case.slide, model, out, refine="all", cluster=cluster, **settings)
    expected = begun or model.compute.precision
    assert run_entry(seg).precision == expected
    assert {worker["compute"].split(", ")[-1] for worker in run_entry(seg).workers} == {expected}


def test_a_time_budget_counts_all_workers(case: Case, cluster: Cluster, tmp_path: Path) -> None:
    seg = case.copy(tmp_path / "out.zarr")
    before = seg.refined.sum()
    seg.refine(Selection(budget_s=1e6), cluster=cluster)
    assert seg.refined.sum() > before
    assert run_entry(seg).plan["fraction"] == 1
    assert (
        seg.seconds_per_tile is not None
    )  # still the speed of the earlier run: a cluster's is not stored
    assert seg.seconds_per_tile == Segmentation.open(case.done).seconds_per_tile


def test_an_array_stays_in_its_process(case: Case, cluster: Cluster, tmp_path: Path) -> None:
    slide = open_slide(tissue_pixels(100, 100), mpp=0.5)
    with pytest.raises(SegmentationError, match=r"is an array.*save it as"):
        segment(slide, case.model, tmp_path / "out.zarr", cluster=cluster)


def test_a_file_that_a_worker_cannot_open_is_reported_in_one_line(
    case: Case, cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    case.model.bundle.save(folder)
    model = load_model(folder, device="cpu")
    shutil.rmtree(folder)  # as on a machine that does not have it
    with pytest.raises(SegmentationError, match=r"a worker says: .* does not exist") as caught:
        segment(case.slide, model, tmp_path / "out.zarr", cluster=cluster, **case.settings)
    assert "\n" not in str(caught.value)


def test_a_batch_goes_over_a_cluster(case: Case, cluster: Cluster, tmp_path: Path) -> None:
    slides = [tmp_path / "a" / "slide.tif", tmp_path / "b" / "slide.tif"]
    for slide in slides:
        slide.parent.mkdir()
        shutil.copy(case.slide, slide)
    for _ in range(2):  # the damaged tile is tried again
        rows = list(
            segment_all(
                slides, case.model, tmp_path / "out", RunOptions(**case.settings), cluster=cluster
            )
        )
        assert [row.status for row in rows] == ["failed tiles"] * 2
    for row in rows:
        assert row.summary is not None
        assert_same(outcome(Segmentation.open(row.summary["out"])), case.expected)


def test_a_model_that_gives_no_numbers_is_named_as_by_one_process(
    case: Case, cluster: Cluster, tmp_path: Path
) -> None:
    overflowing_bundle("stage1").save(tmp_path / "model")
    model = load_model(tmp_path / "model", device="cpu")
    with pytest.raises(LogitsError, match=r"model .*model gives .* not finite in stage 1"):
        segment(case.slide, model, tmp_path / "a.zarr", tissue=False, cluster=cluster)
