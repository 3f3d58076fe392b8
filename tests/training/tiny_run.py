"""Configurations of runs that take seconds, and networks cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_twostage.training.config import TrainConfig, load_config

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.networks.base import Network

CROPS = """
kind = "two_stage"
seed = 0
precision = "float32"
[data]
validation_fraction = 0.34
[network]
architecture = "lite_unet"
options = { widths = [16, 16, 8, 8, 8] }
weights = "random"
ratio = 2
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[stage1]
steps = 4
batch = 2
crop_px = 64
learning_rate = 1e-3
average = 0.5
[stage2]
steps = 4
batch = 2
crop_px = 64
learning_rate = 1e-3
average = 0.5
[card]
name = "squares"
fine_mpp = 0.5
halo_px = 16
coarse_window_px = 64
coarse_halo_px = 16
"""
WHOLE = """
kind = "two_stage"
seed = 0
precision = "float32"
[data]
validation_fraction = 0.34
[network]
architecture = "unet"
options = { backbone = "resnet18" }
weights = "random"
ratio = 4
context = true
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
[whole_images]
size_px = 64
[loss]
name = "focal"
[stage1]
epochs = 4
batch = 2
optimiser = "adam"
schedule = "constant"
learning_rate = 1e-3
[stage2]
epochs = 4
batch = 2
optimiser = "adam"
schedule = "constant"
learning_rate = 1e-3
"""
LIGHT = (
    WHOLE.replace('"unet"', '"lite_unet"')
    .replace('backbone = "resnet18"', "widths = [16, 16, 8, 8, 8]")
    .replace("ratio = 4", "ratio = 2")
)
"""Whole images through a network that takes a tenth of the time."""


def make_config(folder: Path, text: str, *changes: str) -> TrainConfig:
    """Load a configuration as a user does."""
    path = folder / "tiny.toml"
    path.write_text(text)
    return load_config(path, changes)


def shrink(network: Network) -> None:
    """Leave one block in each group of a ResNet, and let batch statistics follow fast."""
    for name, part in list(network.named_modules()):
        if name.rpartition(".")[2] in ("layer1", "layer2", "layer3", "layer4"):
            assert isinstance(part, nn.Sequential)
            del part[1:]
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.3
