"""A run compares the slide with the training images, once, before its coarse pass."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, damage, make_card, noise_slide
from tests.method.domains import around, make_domain

import napari_twostage as ts
from napari_twostage.measure.summary import summarise, summary_lines
from napari_twostage.method.steps import CoarsePassStarted, CoarseWindowDone, DomainChecked
from napari_twostage.models.training_domain import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_twostage.method.domain import DomainCheck
    from napari_twostage.method.steps import Step
    from napari_twostage.models.training_domain import TrainingDomain


def model_of(domain: TrainingDomain) -> FakeModel:
    return FakeModel(make_card(domain=domain))


def seen(slide: ts.Slide, folder: Path) -> TrainingDomain:
    """A domain whose training images look as this slide does."""
    wide = make_domain(limit=500.0)
    seg = ts.segment(slide, model_of(wide), folder / "first.zarr", tissue=False)
    assert seg.record.domain is not None
    return around(seg.record.domain.features, make_domain(limit=0.5))


def test_it_comes_before_the_coarse_pass_and_is_recorded(tmp_path: Path) -> None:
    slide = noise_slide()
    model = model_of(seen(slide, tmp_path))
    steps: list[Step] = []
    seg = ts.segment(slide, model, tmp_path / "a.zarr", tissue=False, progress=steps.append)
    assert [type(step) for step in steps[:2]] == [DomainChecked, CoarsePassStarted]
    assert seg.record.domain == steps[0].check  # type: ignore[union-attr]
    assert not seg.record.domain.unlike
    again = ts.Segmentation.open(tmp_path / "a.zarr", slide=slide)
    assert again.record.domain == seg.record.domain
    ts.segment(slide, model, tmp_path / "a.zarr", tissue=False, progress=steps.append)
    assert sum(isinstance(step, DomainChecked) for step in steps) == 1


def test_a_resumed_run_does_not_compute_it_again(tmp_path: Path) -> None:
    slide = noise_slide(300, 300)
    model = model_of(make_domain())
    steps = ts.iter_segment(slide, model, tmp_path / "a.zarr", tissue=False)
    next(step for step in steps if isinstance(step, CoarseWindowDone))
    steps.close()
    left = list(ts.iter_segment(slide, model, tmp_path / "a.zarr", tissue=False))
    assert any(isinstance(step, CoarseWindowDone) for step in left)
    assert not any(isinstance(step, DomainChecked) for step in left)


def test_labels_do_not_depend_on_it(tmp_path: Path) -> None:
    slide = noise_slide()
    with_check = ts.segment(slide, model_of(make_domain()), tmp_path / "a.zarr", tissue=False)
    without = ts.segment(slide, FakeModel(), tmp_path / "b.zarr", tissue=False)
    box = with_check.grid.box
    np.testing.assert_array_equal(with_check.read_labels(box), without.read_labels(box))
    assert without.record.domain is None


def test_a_slide_like_the_training_images_has_an_interval(tmp_path: Path) -> None:
    slide = noise_slide()
    seg = ts.segment(slide, model_of(seen(slide, tmp_path)), tmp_path / "a.zarr", tissue=False)
    summary = json.loads(json.dumps(summarise(seg)))
    low, high = summary["expected_dice_interval"]
    assert low < summary["expected_dice"] < high
    lines = "\n".join(summary_lines(summary))
    assert "looks like the training images" in lines
    assert f"expected Dice {summary['expected_dice']:.2f} ({low:.2f} to {high:.2f})" in lines
    plan = seg.plan(fraction=1.0)
    assert plan.dice_interval is not None
    assert plan.describe().endswith(f"({plan.dice_interval[0]:.2f} to {plan.dice_interval[1]:.2f})")
    forecast = seg.ranking.curve(seg.refined, 0.1).at(-1.0)
    assert forecast.expected_dice == pytest.approx(plan.expected_dice)
    assert forecast.dice_interval == pytest.approx(plan.dice_interval)


def test_of_a_slide_unlike_them_no_dice_is_stated(tmp_path: Path) -> None:
    slide = noise_slide()
    domain = seen(slide, tmp_path)
    half = tuple(
        value - math.log(2) if name == "object_diameter" else value
        for name, value in zip(FEATURES, domain.bright_field.mean, strict=True)  # type: ignore[union-attr]
    )
    seg = ts.segment(slide, model_of(around(half, domain)), tmp_path / "a.zarr", tissue=False)
    summary = summarise(seg)
    assert summary["expected_dice"] is summary["expected_dice_interval"] is None
    assert "nucleus diameter 2 times as large: check the pixel size" in summary["no_dice"]
    assert summary["no_dice"] in "\n".join(summary_lines(summary))
    assert seg.plan(fraction=1.0).dice_interval is None


class Elsewhere:
    """Executor that only notes what the record says when its work begins."""

    threads = 1
    known: DomainCheck | None = None

    def check(self, result: ts.Segmentation) -> None:
        """Accept any slide."""

    def precision(self, _result: ts.Segmentation, _model: object) -> str:
        """Precision of the workers that are elsewhere."""
        return "f32"

    def run_stages(
        self, result: ts.Segmentation, _model: object, windows: list[ts.Box], _wanted: object
    ) -> Iterator[Step]:
        self.known = result.record.domain
        yield CoarsePassStarted(len(windows))


def test_a_run_on_a_cluster_has_it_before_its_workers_begin(tmp_path: Path) -> None:
    cluster, model = Elsewhere(), model_of(make_domain())
    steps = ts.iter_segment(
        noise_slide(), model, tmp_path / "a.zarr", tissue=False, cluster=cluster
    )
    assert [type(step) for step in steps] == [DomainChecked, CoarsePassStarted]
    alone = ts.segment(noise_slide(), model, tmp_path / "b.zarr", tissue=False)
    assert cluster.known == alone.record.domain is not None


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    slide = noise_slide()
    slide.fingerprint()  # reads, too
    damage(slide, ts.Box(0, 0, 1, 1))
    seg = ts.segment(slide, model_of(make_domain()), tmp_path / "a.zarr", tissue=False)
    whole = ts.segment(noise_slide(), model_of(make_domain()), tmp_path / "b.zarr", tissue=False)
    assert seg.record.domain is not None
    assert whole.record.domain is not None
    assert seg.record.domain.windows == whole.record.domain.windows - 1


def test_it_survives_a_damaged_record(tmp_path: Path) -> None:
    seg = ts.segment(noise_slide(), model_of(make_domain()), tmp_path / "a.zarr", tissue=False)
    kept = seg.record.domain
    assert kept is not None
    (tmp_path / "a.zarr" / "record.json").write_text("{}")
    ts.segment(noise_slide(), model_of(make_domain()), tmp_path / "a.zarr", tissue=False)
    assert ts.Segmentation.open(tmp_path / "a.zarr", slide=noise_slide()).record.domain == kept


def test_a_slide_without_objects_is_unlike(tmp_path: Path) -> None:
    empty = ts.open_slide(np.zeros((90, 90, 3), np.uint8), mpp=0.5)
    seg = ts.segment(empty, model_of(make_domain()), tmp_path / "a.zarr", tissue=False)
    assert seg.record.domain is not None
    assert "no nucleus in" in seg.record.domain.text
