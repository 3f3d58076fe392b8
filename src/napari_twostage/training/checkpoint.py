"""What a killed run goes on from."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from napari_twostage.training.config import ConfigError, TrainConfig
from napari_twostage.training.sections import read_section

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.swa_utils import AveragedModel

CLAIM = "config.json"
STAGE1, STAGE2 = "stage1.safetensors", "stage2.safetensors"
"""Weights that a run leaves in its folder; a single model is stage 1."""


@dataclass(frozen=True)
class Checkpoint:
    """A file with everything that training changes."""

    path: Path
    network: nn.Module
    average: AveragedModel
    optimiser: Optimizer

    def save(self, step: int, seconds: float) -> None:
        """Write the file, the old one staying until the new one is whole."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": step,
            "seconds": seconds,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def resume(self, device: torch.device) -> tuple[int, float]:
        """Take over the file's state, if there is one: (steps done, seconds spent)."""
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path, weights_only=True, map_location=device)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        return int(state["step"]), float(state["seconds"])


def claim(folder: Path, config: TrainConfig) -> None:
    """Keep a folder for one configuration.

    Raises
    ------
    ConfigError
        If a run of another one was begun in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / CLAIM, json.dumps(asdict(config), indent=2) + "\n"
    # not compared as text: settings that came later have their defaults in older runs
    if path.exists() and read_claim(folder) != config:
        raise ConfigError(
            f"{path} is of another configuration than this run's; "
            "name another folder, or delete this one to start afresh"
        )
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def read_claim(folder: Path) -> TrainConfig:
    """Read the configuration of a run from its folder.

    Raises
    ------
    ConfigError
        If no run was begun there, or by a version with other settings.
    """
    path = folder / CLAIM
    try:
        return read_section(TrainConfig, json.loads(path.read_text()), str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"expected a run's {CLAIM} in {folder}, found none that can be read ({error}); "
            "name the folder that napari_twostage.training.train wrote to"
        ) from error


def require_finished(run: Path) -> None:
    """Refuse a single model's run that has no weights yet.

    Raises
    ------
    ConfigError
    """
    if not (run / STAGE1).exists():
        raise ConfigError(f"expected a finished run in {run}, found no {STAGE1}; train it")


def take_over(parts: Sequence[Path], folder: Path) -> None:
    """Make single models the first stages of a run: a stage whose weights are there is not trained.

    Parameters
    ----------
    parts : sequence of path
        Folders of their runs, stage 1's first.
    folder : path
        Of the run.

    Raises
    ------
    ConfigError
        If one of them is not finished.
    """
    for part, name in zip(parts, (STAGE1, STAGE2), strict=False):
        require_finished(part)
        shutil.copyfile(part / STAGE1, folder / name)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write weights; the file appears when it is whole."""
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, partial)
    partial.replace(path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with what `save_weights` wrote."""
    network.load_state_dict(load_file(path))
