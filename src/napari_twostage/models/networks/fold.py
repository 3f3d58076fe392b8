"""A bundle as a torch module that is ready for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.base import Network
from napari_twostage.models.networks.build import build_two_stage

if TYPE_CHECKING:
    from torch import nn

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.networks.two_stage import TwoStage


def build_module(bundle: Bundle) -> TwoStage:
    """Both stages with their weights, folded for inference, channels last.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture.
    """
    module = build_two_stage(bundle.card)
    try:
        module.load_state_dict(bundle.tensors())
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"{bundle.source}: weights do not fit the architecture: {reason}"
        ) from error
    module.eval().requires_grad_(requires_grad=False)
    fold_normalisation(module)
    for network in module.modules():
        if isinstance(network, Network):
            network.fold()
    return module.to(memory_format=torch.channels_last)


def fold_normalisation(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place."""
    for child in module.modules():
        if not isinstance(child, torch.nn.Sequential):
            continue
        for index in range(len(child) - 1):
            first, second = child[index], child[index + 1]
            if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
                child[index] = fuse_conv_bn_eval(first, second)
                child[index + 1] = torch.nn.Identity()
