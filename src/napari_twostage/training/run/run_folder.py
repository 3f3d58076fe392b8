"""The folder of a run: its configuration and the weights of its stages."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from napari_twostage.io.files import replace_file, write_file
from napari_twostage.training.config import ConfigError, TrainConfig
from napari_twostage.training.config.sections import read_section

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

CONFIG_FILE = "config.json"
"""The run's configuration; it reserves the folder."""
STAGE1, STAGE2 = "stage1.safetensors", "stage2.safetensors"
"""Weights of the stages; a single model is stage 1."""
GAIN = "gain.safetensors"
"""Weights of stage 1's gain output."""
JOINT = "joint.safetensors"
"""Weights of both stages, trained together."""
BUNDLE = "bundle"
"""Folder of the model bundle."""


def claim_folder(folder: Path, config: TrainConfig) -> None:
    """Reserve a folder for one configuration.

    Raises
    ------
    ConfigError
        If the folder holds a run of another configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / CONFIG_FILE, json.dumps(asdict(config), indent=2) + "\n"
    # compared as values, not as text: older runs lack settings that were added later
    if path.exists() and read_run_config(folder) != config:
        raise ConfigError(
            f"{path} is of another configuration than this run's; "
            "name another folder, or delete this one to start afresh"
        )
    write_file(path, text.encode())


def read_run_config(folder: Path) -> TrainConfig:
    """Read the configuration of a run from its folder.

    Raises
    ------
    ConfigError
        If the folder holds no run, or one of a version with other settings.
    """
    path = folder / CONFIG_FILE
    try:
        return read_section(TrainConfig, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, ConfigError) as error:
        raise ConfigError(
            f"expected a run's {CONFIG_FILE} in {folder}, found none that can be read ({error}); "
            "name the folder that `napari-twostage train` wrote to"
        ) from error


def require_finished(run: Path) -> None:
    """Raise if a single model's run has no weights yet.

    Raises
    ------
    ConfigError
    """
    if not (run / STAGE1).exists():
        raise ConfigError(f"expected a finished run in {run}, found no {STAGE1}; train it")


def reuse_stages(parts: Sequence[Path], folder: Path, config: TrainConfig) -> None:
    """Copy the weights of single models into a run as its first stages, which are not trained.

    Parameters
    ----------
    parts : sequence of path
        Folders of the single models' runs, stage 1's first.
    folder : path
        Folder of the run.
    config : TrainConfig
        The run's configuration.

    Raises
    ------
    ConfigError
        If one of the single models is not finished, or if stage 2's windows have a thinner rim than
        the one that its crops left unlearnt.
    """
    for part, name in zip(parts, (STAGE1, STAGE2), strict=False):
        require_finished(part)
        if name == STAGE2 and config.card is not None:
            unlearnt, rim = read_run_config(part).stage1.halo_px, config.card.halo_px
            if rim < unlearnt:
                raise ConfigError(
                    f"card.halo_px: expected {unlearnt} or more, the rim of the crops of {part}, "
                    f"where it learnt nothing, found {rim}; correct it"
                )
        shutil.copyfile(part / STAGE1, folder / name)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write weights atomically: the file appears complete or not at all."""
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, partial)
    replace_file(partial, path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights that `save_weights` wrote."""
    network.load_state_dict(load_file(path))
