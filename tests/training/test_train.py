"""Training: one that was killed goes on as if nothing had happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.make_dataset import make_dataset

from training import train

if TYPE_CHECKING:
    from pathlib import Path

STAGE = "steps = 4\nbatch = 2\ncrop_px = 64\nlearning_rate = 1e-3\naverage = 0.5\n"
CONFIG = f"""
kind = "two_stage"
seed = 0
[data]
validation_fraction = 0.34
[network]
architecture = "lite_unet"
ratio = 2
context = true
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[stage1]
{STAGE}
[stage2]
{STAGE}
"""
STAGES = ("stage1", "stage2")


class KilledError(Exception):
    """Stands for a machine that goes down."""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    data = make_dataset(tmp_path / "data")
    return [str(tmp_path / "tiny.toml"), "--data", str(data), "--out"]


def kill_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let that many training steps happen, then stop the run in the next."""
    step, done = train._step, []

    def step_or_die(*given: Any) -> torch.Tensor:
        if len(done) == calls:
            raise KilledError
        done.append(1)
        return step(*given)

    monkeypatch.setattr(train, "_step", step_or_die)


def test_a_killed_training_ends_as_an_undisturbed_one(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.main([*arguments, str(tmp_path / "undisturbed")])
    # in step 4 of stage 1; then, gone on from step 2 of it, in step 4 of stage 2
    for calls in (3, 5):
        with monkeypatch.context() as patched:
            kill_after(calls, patched)
            with pytest.raises(KilledError):
                train.main([*arguments, str(tmp_path / "killed")])
    assert (tmp_path / "killed" / "stage2.checkpoint.pt").exists()
    train.main([*arguments, str(tmp_path / "killed")])
    for stage in STAGES:
        once, again = (
            load_file(tmp_path / name / f"{stage}.safetensors")
            for name in ("undisturbed", "killed")
        )
        assert once.keys() == again.keys()
        for key, value in once.items():
            assert torch.equal(value, again[key]), key
        assert not (tmp_path / "killed" / f"{stage}.checkpoint.pt").exists()
