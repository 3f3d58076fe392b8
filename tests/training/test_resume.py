"""A training that was killed goes on as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, LIGHT, make_config

from napari_twostage.training.config import ConfigError
from napari_twostage.training.loop import train_stage
from napari_twostage.training.loop.stages import list_stages
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks, load_trained_networks
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from napari_twostage.training.config import TrainConfig

STAGES = ("stage1", "stage2")
PARENT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
import torch
from napari_twostage.training.loop import train_stage
from napari_twostage.training.config import load_config
from napari_twostage.training.train import train
torch.set_num_threads(1)
train_stage.CHECKPOINT_EVERY = train_stage.LOG_EVERY = 2
train(load_config(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), device="cpu")
"""


class KilledError(Exception):
    """Stands for a machine that goes down."""


def without_seconds(out: Path) -> list[list[str]]:
    return [row.split(",")[:4] for row in (out / "log.csv").read_text().splitlines()]


def assert_same_runs(one: Path, other: Path) -> None:
    for stage in STAGES:
        once, again = (load_file(out / f"{stage}.safetensors") for out in (one, other))
        assert once.keys() == again.keys()
        for key, value in once.items():
            assert torch.equal(value, again[key]), key
        assert not list(other.glob("*.checkpoint.pt"))
    assert without_seconds(one) == without_seconds(other)


@pytest.fixture(autouse=True)
def frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_stage, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(train_stage, "LOG_EVERY", 2)


def run_and_die(
    config: TrainConfig, data: Path, out: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let so many training steps happen, then stop the run in the next."""
    step, done = train_stage.train_step, []

    def step_or_die(*given: Any) -> torch.Tensor:
        if len(done) == steps:
            raise KilledError
        done.append(1)
        return step(*given)

    with monkeypatch.context() as patched:
        patched.setattr(train_stage, "train_step", step_or_die)
        with pytest.raises(KilledError):
            train(config, data, out, device="cpu")


@pytest.mark.parametrize("text", [CROPS.partition("[card]")[0], LIGHT], ids=["crops", "whole"])
def test_a_stopped_training_ends_as_an_undisturbed_one(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = make_dataset(tmp_path / "data"), make_config(tmp_path, text)
    train(config, data, tmp_path / "undisturbed", device="cpu")
    out = tmp_path / "stopped"
    # in step 4 of stage 1; then, gone on from step 2 of it, in step 4 of stage 2
    for steps in (3, 5):
        run_and_die(config, data, out, steps, monkeypatch)
    assert (out / "stage2.checkpoint.pt").exists()
    train(config, data, out, device="cpu")
    assert_same_runs(tmp_path / "undisturbed", out)


@pytest.mark.slow
def test_a_training_killed_for_good_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """With kill -9, in stage 2, in a process of its own."""
    data = make_dataset(tmp_path / "data")
    text = CROPS.partition("[card]")[0].replace("[stage2]\nsteps = 4", "[stage2]\nsteps = 8")
    (tmp_path / "tiny.toml").write_text(text)

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", CHILD, tmp_path / "tiny.toml", data, out]
        return subprocess.Popen(command, cwd=PARENT, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "undisturbed").wait(120) == 0
    victim = start(tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "stage2.checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    victim.kill()
    victim.wait()
    assert checkpoint.exists(), "killed too late to prove anything"
    assert start(tmp_path / "killed").wait(120) == 0
    assert_same_runs(tmp_path / "undisturbed", tmp_path / "killed")


def test_a_step_draws_dropout_alike_whatever_ran_before(tmp_path: Path) -> None:
    """Networks of the paper have dropout, whose drawings a resumed run must repeat."""
    config = make_config(tmp_path, CROPS, "network.options={widths = [8, 8, 8, 8, 8]}")
    module = build_initial_networks(config)
    stage = list_stages(config, module, open_samples(config, make_dataset(tmp_path / "data"))[0])[0]
    dropout = torch.nn.Dropout(0.5)
    module.stage1.last.register_forward_pre_hook(lambda _, inputs: dropout(inputs[0]))
    losses, before = [], {k: v.clone() for k, v in module.stage1.state_dict().items()}
    for other in range(3):
        module.stage1.load_state_dict(before)
        torch.manual_seed(other)
        losses.append(
            train_stage.train_step(
                stage, config, stage.draw(7), train_stage.make_optimiser(stage), 7
            ).item()
        )
    assert len(set(losses)) == 1


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    data, config = make_dataset(tmp_path / "data"), make_config(tmp_path, LIGHT)
    train(config, data, tmp_path / "out", device="cpu")
    with pytest.raises(ConfigError, match=r"out/config\.json is of another configuration"):
        train(make_config(tmp_path, LIGHT, "seed=1"), data, tmp_path / "out", device="cpu")


def test_what_was_trained_is_loaded_again(tmp_path: Path) -> None:
    data, config = make_dataset(tmp_path / "data"), make_config(tmp_path, LIGHT)
    train(config, data, tmp_path / "out", device="cpu")
    module = load_trained_networks(config, tmp_path / "out")
    assert not module.training
    for name in STAGES:
        written = load_file(tmp_path / "out" / f"{name}.safetensors")
        for key, value in getattr(module, name).state_dict().items():
            assert torch.equal(value, written[key])
