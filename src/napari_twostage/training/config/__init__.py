"""A training run's configuration: one TOML file, one frozen `TrainConfig`."""

from napari_twostage.training.config.image_sections import (
    Augmentation,
    ClassConfig,
    DataConfig,
    SetConfig,
    TilesConfig,
    WholeImages,
)
from napari_twostage.training.config.schema import (
    CardConfig,
    LossConfig,
    NetworkConfig,
    StageConfig,
    TrainConfig,
    load_config,
)
from napari_twostage.training.config.sections import ConfigError

__all__ = [
    "Augmentation",
    "CardConfig",
    "ClassConfig",
    "ConfigError",
    "DataConfig",
    "LossConfig",
    "NetworkConfig",
    "SetConfig",
    "StageConfig",
    "TilesConfig",
    "TrainConfig",
    "WholeImages",
    "load_config",
]
