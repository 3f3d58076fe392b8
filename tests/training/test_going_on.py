"""Training that goes on from a model's networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config

from napari_twostage.errors import ModelError
from napari_twostage.models.bundle import read_bundle, write_bundle
from napari_twostage.training.calibrate import draft_card
from napari_twostage.training.config import ConfigError
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

TINY = CROPS.replace("ratio = 2", "ratio = 2\ntransfer = false\nfine_options = {}")
NAME = "decoder.0.mix.0.0.weight"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write the bundle of networks as they are before their training."""
    torch.manual_seed(1)
    config = make_config(tmp_path, TINY)
    card = draft_card(config, tmp_path)
    state = build_initial_networks(config).state_dict()
    write_bundle(tmp_path / "model", card, state)
    return tmp_path / "model"


def test_both_stages_go_on_from_a_model(bundle: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path, TINY)
    fresh = build_initial_networks(config).state_dict()
    going_on = make_config(tmp_path, TINY, f"network.start={bundle}")
    state = build_initial_networks(going_on).state_dict()
    other = make_config(tmp_path, TINY, f"network.start={bundle}", "seed=5")
    again = build_initial_networks(other).state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())
    assert not torch.equal(state[f"stage2.{NAME}"], fresh[f"stage2.{NAME}"])


@pytest.mark.parametrize(("ratio", "stage"), [(1, "stage2"), (2, "stage1")])
def test_single_model_takes_the_stage_of_its_ratio(
    bundle: Path, tmp_path: Path, ratio: int, stage: str
) -> None:
    both = build_initial_networks(make_config(tmp_path, TINY, f"network.start={bundle}"))
    options = {} if stage == "stage2" else {"widths": [16, 16, 8, 8, 8]}
    text = TINY.replace("options = { widths = [16, 16, 8, 8, 8] }", f"options = {toml(options)}", 1)
    config = make_config(
        tmp_path, text, "kind=single", f"network.ratio={ratio}", f"network.start={bundle}"
    )
    found = build_initial_networks(config).stage1.state_dict()
    wanted = getattr(both, stage).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def toml(options: dict[str, list[int]]) -> str:
    return "{" + ", ".join(f"{key} = {value}" for key, value in options.items()) + "}"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("network.ratio=4", "its ratio is 2"),
        ("network.objects=distance", "its objects is 'none'"),
        ("network.options={ widths = [8, 8, 8, 8, 8] }", "architecture that its card.json states"),
    ],
)
def test_other_networks_are_refused(
    bundle: Path, tmp_path: Path, change: str, complaint: str
) -> None:
    config = make_config(tmp_path, TINY, f"network.start={bundle}", change)
    with pytest.raises(ModelError, match=complaint):
        build_initial_networks(config)


def test_a_single_set_teaches_objects_too(tmp_path: Path) -> None:
    """As for own slides, from masks that join what touches."""
    make_dataset(tmp_path / "data")
    config = make_config(tmp_path, TINY, "network.objects=distance")
    training, validation = open_samples(config, tmp_path / "data")
    assert all(sample.objects is not None for sample in training)
    assert {sample.name for sample in validation}.isdisjoint(sample.name for sample in training)
    train(config, tmp_path / "data", tmp_path / "run", device="cpu", progress=False)
    assert read_bundle(tmp_path / "run" / "bundle").card.objects == "distance"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_final_weights_are_the_mean_of_the_start_and_the_trained_ones(
    bundle: Path, tmp_path: Path, share: float
) -> None:
    make_dataset(tmp_path / "data")

    def weights(part: float) -> Tensor:
        changes = f"network.start={bundle}", f"network.start_share={part}"
        config = make_config(tmp_path, TINY.split("[card]")[0], *changes)
        run = tmp_path / f"run{part}"
        train(config, tmp_path / "data", run, device="cpu", progress=False)
        return load_file(run / "stage2.safetensors")[NAME]

    start = read_bundle(bundle).tensors()[f"stage2.{NAME}"].float()
    trained = weights(0.0)
    assert not torch.allclose(trained, start)
    torch.testing.assert_close(weights(share), share * start + (1 - share) * trained)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (("network.start=nuclei", "network.transfer=true"), "start needs transfer = false"),
        (("network.start_share=0.5",), "start_share needs a start"),
        (("augmentation.pale=0.5",), "pale and tint need network.objects"),
    ],
)
def test_what_would_be_lost_or_do_nothing_is_refused(
    tmp_path: Path, changes: tuple[str, ...], rule: str
) -> None:
    text = TINY.replace("fine_options = {}\n", "").replace("fine_options = {}", "")
    with pytest.raises(ConfigError, match=rule):
        make_config(tmp_path, text, *changes)
