"""The added output for objects: in training, in a bundle, and out of the engine's way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_twostage.models.bundle import read_bundle, write_bundle
from napari_twostage.models.card import ModelCard
from napari_twostage.models.model import Model
from napari_twostage.training.calibrate import draft_card
from napari_twostage.training.config import ConfigError
from napari_twostage.training.loop.losses import compute_loss
from napari_twostage.training.loop.stages import Stage, list_stages
from napari_twostage.training.loop.train_stage import average_decay, total_loss
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.config import TrainConfig

OBJECTS = (
    'network.objects="distance"',
    "data.mpp=0.5",
    'data.sets=[{folder="squares"}]',
)


def set_up(tmp_path: Path, *changes: str) -> tuple[TrainConfig, TwoStage, list[Stage]]:
    config = make_config(tmp_path, CROPS, *OBJECTS, *changes)
    if not (tmp_path / "squares").exists():
        make_dataset(tmp_path / "squares")
    module = build_initial_networks(config).eval()
    return config, module, list_stages(config, module, open_samples(config, tmp_path)[0])


@pytest.mark.parametrize("index", [0, 1])
def test_the_loss_is_that_of_the_classes_and_of_the_objects_within_the_halo(
    tmp_path: Path, index: int
) -> None:
    halo = ("stage1.halo_px=16", "stage2.halo_px=16")
    config, _, stages = set_up(tmp_path, *halo, "loss.objects=0.5")
    batch = stages[index].draw(0)
    assert batch.objects is not None
    compared = stages[index].forward(batch, np.random.default_rng(0))
    assert compared.logits.shape == (2, 1, 32, 32)
    assert torch.equal(compared.masks, batch.masks[:, 16:-16, 16:-16])
    assert compared.objects is not None
    assert compared.object_logits is not None
    assert torch.equal(compared.objects, batch.objects[:, 16:-16, 16:-16])
    p = compared.object_logits.sigmoid()
    entropy = -(compared.objects * p.log() + (1 - compared.objects) * (1 - p).log()).mean()
    expected = compute_loss(compared.logits, compared.masks, config.loss) + 0.5 * entropy
    torch.testing.assert_close(total_loss(compared, config), expected)


def test_the_engine_gets_logits_and_the_object_output(tmp_path: Path) -> None:
    config, module, stages = set_up(tmp_path)
    card = draft_card(config, tmp_path)
    assert card.objects == "distance"
    assert ModelCard.from_json(card.to_json(), "a card") == card
    write_bundle(tmp_path / "bundle", card, module.state_dict())
    model = Model(read_bundle(tmp_path / "bundle"), "cpu")
    images = stages[1].draw(0).images
    found = model.refine(list(images.numpy()))
    with torch.inference_mode():
        maps = module.refine_maps(images, card.halo_px)
    assert maps.shape == (2, 2, 32, 32)
    np.testing.assert_allclose(found, maps.numpy(), atol=2e-2)  # float16 weights
    coarse = model.coarse(list(images.numpy()))
    assert coarse.shape[1] == card.channels == 2


def test_objects_need_crops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="objects need crops"):
        make_config(tmp_path, CROPS, *OBJECTS, 'kind="joint"', "network.refiner={ width = 16 }")


@pytest.mark.parametrize(("last", "steps"), [(0.5, 8), (1.0, 5), (0.33, 9)])
def test_the_last_weights_are_averaged_alike(last: float, steps: int) -> None:
    """The weight after step n is n: the average is the mean of the last steps' numbers."""
    network = torch.nn.Linear(1, 1)
    average = AveragedModel(network)
    stage = SimpleNamespace(steps=steps, config=SimpleNamespace(average_last=last))
    for done in range(1, steps + 1):
        with torch.no_grad():
            network.weight.fill_(done)
        average.multi_avg_fn = get_ema_multi_avg_fn(average_decay(stage, done))  # type: ignore[arg-type]
        average.update_parameters(network)
    first = int(steps * (1 - last)) + 1
    mean = np.mean(range(first, steps + 1))
    assert average.module.weight.item() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("halo_px", [0, 16, 5])
def test_whole_images_are_read_with_a_rim_that_is_cut_off_again(halo_px: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)
    seen: list[tuple[int, ...]] = []

    def predict(images: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(images.shape[1:3]))
        return images.permute(0, 3, 1, 2).float()

    whole = predict_whole(predict, image, multiple=32, halo_px=halo_px)
    assert np.array_equal(whole, image.transpose(2, 0, 1))
    assert all(side % 32 == 0 for side in seen[0])
    assert seen[0][0] >= 45 + 2 * halo_px
