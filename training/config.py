"""One TOML file, one frozen value: what a training run does."""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from training.augment import Augmentation

Section = TypeVar("Section")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file and the key."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how often."""

    split: str = "train"
    validation_fraction: float = 0.15
    bright_field_weight: float = 1.0
    """How many times as often bright-field images are drawn."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What is trained."""

    architecture: str
    ratio: int
    """Fine pixels per pixel that stage 1 sees; a single model at ratio 1 is the dense one."""
    context: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """How one network is trained."""

    steps: int
    batch: int
    crop_px: int
    """Side of a crop in fine pixels."""
    learning_rate: float
    weight_decay: float = 0.01
    average: float = 0.99
    """Decay per step of the running average of the weights, which is what is kept."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    kind: str
    """``two_stage`` or ``single``."""
    seed: int
    data: DataConfig
    network: NetworkConfig
    stage1: StageConfig
    stage2: StageConfig | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)


def load_config(path: str | Path) -> TrainConfig:
    """Read and check a TOML configuration.

    Raises
    ------
    ConfigError
        If the file is missing, no TOML, or has unknown or missing keys.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is no readable TOML file: {error}") from error
    sections: dict[str, type[Any]] = {
        "data": DataConfig,
        "network": NetworkConfig,
        "stage1": StageConfig,
        "stage2": StageConfig,
        "augmentation": Augmentation,
    }
    values = {
        key: _section(sections[key], value, f"{path}: [{key}]") if key in sections else value
        for key, value in table.items()
    }
    config = _section(TrainConfig, values, str(path))
    if config.kind not in ("two_stage", "single"):
        raise ConfigError(f"{path}: kind is '{config.kind}'; use two_stage or single")
    if (config.kind == "two_stage") != (config.stage2 is not None):
        raise ConfigError(f"{path}: kind two_stage needs a [stage2], kind single none")
    return config


def _section(kind: type[Section], table: dict[str, Any], where: str) -> Section:
    known = set(inspect.signature(kind).parameters)
    if unknown := set(table) - known:
        raise ConfigError(f"{where} has unknown keys {sorted(unknown)}; known: {sorted(known)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
