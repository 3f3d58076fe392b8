"""Running a model: a window's logits depend on its pixels and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tests.fakes import noise_slide
from tests.models.random_model import (
    overflowing_bundle,
    random_bundle,
    random_module,
    small_card,
)

from napari_twostage import Segmentation, segment
from napari_twostage.errors import LogitsError, ModelError
from napari_twostage.models.backends import torch_backend
from napari_twostage.models.model import Model
from napari_twostage.models.networks.fold import build_module, fold_normalisation

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.card import Stage

SIDE, CORE = 64, 32
"""Of windows with and without their halo, in either stage."""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(torch_backend, "BATCH_PX", 4 * SIDE**2)
    return Model(random_bundle(), "cpu")


def windows(count: int, *, seed: int = 0) -> list[np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3))
    return list(pixels.astype(np.uint8))


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_logits_are_bit_identical_at_any_place_among_any_neighbours(
    model: Model, stage: str
) -> None:
    run = getattr(model, stage)
    wanted = windows(1, seed=7)[0]
    alone = run([wanted])[0]
    assert model.refine_batch == model.coarse_batch == 4 * model.threads
    assert alone.std() > 0
    for place in range(4):
        batch = windows(4, seed=place)
        batch[place] = wanted
        assert np.array_equal(run(batch)[place], alone)


def test_a_stage_warms_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(random_bundle(), "cpu")
    ran: list[str] = []
    run = model._backend.run

    def counted(stage: Stage, batch: np.ndarray) -> np.ndarray:
        ran.append(stage)
        return run(stage, batch)

    monkeypatch.setattr(model._backend, "run", counted)
    model.warm_up("coarse")
    model.warm_up("coarse")
    model.refine(windows(1))
    model.warm_up("refine")
    assert ran == ["coarse", "refine"]


def test_any_number_of_windows_gives_one_result_each(model: Model) -> None:
    for count in (1, 3, 4, 9):
        logits = model.refine(windows(count))
        assert logits.shape == (count, 1, CORE, CORE)
        assert logits.dtype == np.float32


def test_several_classes_give_a_channel_each_and_one_for_the_background() -> None:
    two = (*small_card().classes, replace(small_card().classes[0], name="other", value=2))
    assert Model(random_bundle(classes=two), "cpu").coarse(windows(1)).shape == (1, 3, CORE, CORE)


def test_temperature_divides_the_logits_of_stage_1_only(model: Model) -> None:
    bundle = model.bundle
    warm = Model(replace(bundle, card=replace(bundle.card, temperature=2.0)), "cpu")
    batch = windows(2)
    assert np.array_equal(warm.coarse(batch), model.coarse(batch) / 2)
    assert np.array_equal(warm.refine(batch), model.refine(batch))


def test_weights_of_another_architecture_are_refused_in_one_line() -> None:
    bundle = replace(random_bundle(), weights=save({"stage1.last.bias": torch.zeros(1)}))
    with pytest.raises(ModelError, match="random: weights do not fit") as caught:
        Model(bundle, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("refiner", [None, {"width": 16}])
def test_folding_leaves_outputs_as_they_were_and_no_normalisation(
    refiner: dict[str, int] | None,
) -> None:
    module = random_module(small_card(refiner=refiner))
    images = torch.from_numpy(np.stack(windows(2)))
    with torch.inference_mode():
        before = module.refine(images)
        fold_normalisation(module)
        after = module.refine(images)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())
    assert (after - before).abs().max() <= 1e-4 * max(1, float(before.abs().max()))


def test_the_time_of_a_tile_is_measured_once(model: Model) -> None:
    first = model.seconds_per_tile
    assert first > 0
    assert model.seconds_per_tile == first


def test_folding_for_inference_leaves_the_logits() -> None:
    bundle = random_bundle()
    plain, folded = random_module(bundle.card), build_module(bundle)
    assert not isinstance(folded.stage1.decoder[0], type(plain.stage1.decoder[0]))
    images = torch.from_numpy(np.stack(windows(3)))
    with torch.inference_mode():
        for stage in ("coarse", "refine"):
            expected, found = (getattr(module, stage)(images) for module in (plain, folded))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_model_whose_sums_overflow_gives_no_result_but_a_reason(
    device: str, stage: str, tmp_path: Path
) -> None:
    model, out = Model(overflowing_bundle(stage), device), tmp_path / "a.zarr"
    with pytest.raises(LogitsError, match=f"overflowing gives .* not finite in stage {stage[-1]}"):
        segment(noise_slide(64, 64), model, out, tissue=False, refine="all")
    assert not any(run.finished for run in Segmentation.open(out).record.runs)
