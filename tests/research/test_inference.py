"""Whole-image inference: the laws that every model and image must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_twostage.models.networks.build import build_network
from napari_twostage.models.networks.two_stage import TwoStage, coarsen
from napari_twostage.training.datasets.resize import resize_image
from napari_twostage.training.run.networks import prepare_inference
from training.tables.inference import (
    InferenceError,
    Rules,
    StageMacs,
    _score,
    compose,
    enlarge_logits,
    run_single,
    run_stage1,
    run_stage2,
    run_two_stages,
    select_tiles,
)

SIZE = 64
RULES = Rules(size_px=SIZE)
EVERYTHING = np.ones((4, 4), bool)


def make_module(ratio: int = 4, *, context: bool = True, outputs: int = 1) -> TwoStage:
    torch.manual_seed(0)
    stages = [
        build_network({"name": "unet", "backbone": "resnet18", "outputs": outputs})
        for _ in range(2)
    ]
    unit = (1.0, 1.0, 1.0)
    return prepare_inference(
        TwoStage(*stages, ratio=ratio, context=context, mean=(0.0, 0.0, 0.0), std=unit)
    )


@pytest.fixture(scope="module")
def module() -> TwoStage:
    return make_module()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 16), (1.0, 0), (1.5, 0)])
def test_the_ends_of_the_threshold(
    module: TwoStage, image: np.ndarray, threshold: float, count: int
) -> None:
    outcome = run_two_stages(module, image, Rules(size_px=SIZE, threshold=threshold))
    assert outcome.chosen.sum() == count
    assert outcome.logits.shape == (1, SIZE, SIZE)


def test_a_tile_that_is_quite_sure_is_refined_at_0_and_one_that_is_quite_unsure_not_at_1() -> None:
    scores = np.array([[0.0, 1.0]], np.float32)
    assert select_tiles(scores, 0).all()
    assert not select_tiles(scores, 1).any()


@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
    low=st.floats(0, 1.5),
    high=st.floats(0, 1.5),
)
def test_selections_are_nested_and_cost_follows(
    scores: list[float], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    field = np.array(scores, np.float32).reshape(2, 2)
    more, fewer = select_tiles(field, low), select_tiles(field, high)
    assert (more | fewer == more).all()
    macs = StageMacs(coarse=7, tile=7)
    assert macs.spent(int(more.sum())) >= macs.spent(int(fewer.sum())) >= macs.coarse


def test_refining_everything_is_stage_2_on_every_tile(module: TwoStage, image: np.ndarray) -> None:
    outcome = run_two_stages(module, image, Rules(size_px=SIZE, threshold=0))
    fitted = torch.from_numpy(resize_image(image, SIZE))
    with torch.inference_mode():
        context = module.stage1.features(module.normalise(coarsen(fitted[None], 4)))
        for row, column in np.ndindex(4, 4):
            rows, columns = slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
            features = module.stage2.features(module.normalise(fitted[None, rows, columns]))
            part = context[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            repeated = part.repeat_interleave(4, -2).repeat_interleave(4, -1)
            expected = module.stage2.classify(features + repeated)[0]
            torch.testing.assert_close(outcome.logits[:, rows, columns], expected)


def test_a_tile_comes_out_the_same_whatever_is_refined_with_it(
    module: TwoStage, image: np.ndarray
) -> None:
    rough = run_stage1(module, image, RULES)
    together = run_stage2(module, rough, EVERYTHING)
    alone = [run_stage2(module, rough, one.reshape(4, 4)) for one in np.eye(16, dtype=bool)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_any_selection_follows_from_refining_everything(
    module: TwoStage, image: np.ndarray, upsampling: str
) -> None:
    rough = run_stage1(module, image, RULES)
    everything = run_stage2(module, rough, EVERYTHING)
    for threshold in np.quantile(rough.scores, [0.2, 0.8]):
        rules = Rules(size_px=SIZE, threshold=threshold, upsampling=upsampling)
        outcome = run_two_stages(module, image, rules)
        chosen = select_tiles(rough.scores, threshold)
        assert 0 < chosen.sum() < 16
        assert (outcome.chosen == chosen).all()
        offline = compose(rough, chosen, everything[chosen.ravel()], upsampling)
        torch.testing.assert_close(outcome.logits, offline)


def test_context_matters_and_can_be_switched_off(image: np.ndarray) -> None:
    everything = Rules(size_px=SIZE, threshold=0)
    with_it, without = (
        run_two_stages(make_module(context=context), image, everything).logits
        for context in (True, False)
    )
    assert not torch.allclose(with_it, without)


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_what_is_not_refined_is_stage_1s(
    module: TwoStage, image: np.ndarray, upsampling: str
) -> None:
    rough = run_stage1(module, image, RULES)
    one = np.zeros((4, 4), bool)
    one[1, 2] = True
    refined = run_stage2(module, rough, one)
    logits = compose(rough, one, refined, upsampling)
    coarse = rough.coarse.logits[0]
    repeated = coarse.repeat_interleave(4, -2).repeat_interleave(4, -1)
    whole = repeated if upsampling == "nearest" else enlarge_logits(coarse, (SIZE, SIZE))
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[16:32, 32:48] = True
    assert torch.equal(logits[:, ~inside], whole[:, ~inside])
    assert torch.equal(logits[:, 16:32, 32:48], refined[0])


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_one_model_at_a_ratio_is_stage_1_alone(image: np.ndarray, ratio: int) -> None:
    module = make_module(ratio)
    nothing = run_two_stages(module, image, Rules(size_px=SIZE, threshold=1))
    torch.testing.assert_close(run_single(module, image, SIZE), nothing.logits)


def test_aligned_scores_are_the_means_of_tiles(module: TwoStage, image: np.ndarray) -> None:
    rough = run_stage1(module, image, RULES)
    tent = 1 - 2 * (rough.coarse.logits[0, 0].sigmoid() - 0.5).abs()
    expected = tent.reshape(4, 4, 4, 4).mean((1, 3)).numpy()
    np.testing.assert_allclose(rough.scores, expected, rtol=1e-5)


def test_the_stray_padding_takes_a_row_and_a_column_from_the_first_tile() -> None:
    """As the published code has it: 48 px, all unsure, score 0.959."""
    unsure = torch.zeros(1, 1, 48, 48)
    stray = Rules(stray_padding=True)
    assert _score(unsure, 1, RULES) == 1
    assert _score(unsure, 1, stray).item() == pytest.approx((47 / 48) ** 2)
    scores = _score(torch.zeros(1, 1, 192, 192), 4, stray).reshape(4, 4)
    assert scores[0] == pytest.approx([(47 / 48) ** 2, *[47 / 48] * 3])
    assert (scores[1:, 1:] == 1).all()


def test_macs_are_those_of_the_networks_that_ran() -> None:
    macs = StageMacs.of(make_module(4), SIZE)
    assert macs.coarse == macs.tile  # one architecture, inputs of one size
    full = StageMacs.of(make_module(1), SIZE)
    # 16-px inputs, at stride 32, are worth a little more than a sixteenth
    assert full.coarse / 16 <= macs.coarse < full.coarse / 10
    assert macs.spent(3) - macs.spent(2) == macs.tile


def test_classes_may_be_many(image: np.ndarray) -> None:
    outcome = run_two_stages(make_module(outputs=3), image, RULES)
    assert outcome.logits.shape == (3, SIZE, SIZE)


def test_what_does_not_fit_is_refused(module: TwoStage, image: np.ndarray) -> None:
    with pytest.raises(InferenceError, match="multiple of 16"):
        run_stage1(module, image, Rules(size_px=72))
    with pytest.raises(InferenceError, match="nearest, bilinear"):
        Rules(upsampling="cubic")
    with pytest.raises(InferenceError, match="tent, entropy"):
        Rules(measure="variance")
