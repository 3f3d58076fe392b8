"""Bundles as torch modules, with normalisation folded into convolutions for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.base import Network
from napari_twostage.models.networks.build import build_two_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.networks.two_stage import TwoStage


def load_module(bundle: Bundle) -> TwoStage:
    """Build both stages with their weights, as they were trained, in evaluation mode.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture.
    """
    try:
        with torch.device("meta"):  # shapes alone: a card may describe more than its weights hold
            module = build_two_stage(bundle.card)
    except ModelError as error:
        raise ModelError(f"{bundle.source}: {error}") from error
    expected = module.state_dict()
    try:
        tensors = {
            name: _like(tensor, expected.get(name)) for name, tensor in bundle.tensors().items()
        }
        module.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"{bundle.source}: weights do not fit the architecture: {reason[:150]}"
        ) from error
    return module.eval().requires_grad_(requires_grad=False)


def _like(tensor: Tensor, expected: Tensor | None) -> Tensor:
    """Copy a tensor of the file in the type that the network computes in."""
    if expected is None:
        return tensor
    if tensor.is_floating_point() != expected.is_floating_point():
        raise RuntimeError(f"expected values of {expected.dtype}, found {tensor.dtype}")
    return tensor.to(expected.dtype, copy=True)


def build_module(bundle: Bundle) -> TwoStage:
    """Build both stages with their weights, folded for inference, channels last.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture.
    """
    module = load_module(bundle)
    fold_normalisation(module)
    for network in module.modules():
        if isinstance(network, Network):
            network.fold()
    return module.to(memory_format=torch.channels_last)


def fold_normalisation(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place."""
    for _, layers, index, convolution, norm in list(_normalised(module)):
        layers[index] = fuse_conv_bn_eval(convolution, norm)
        layers[index + 1] = torch.nn.Identity()


def folding_factors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Factors that folding multiplies weights by: name of the weight to one per output channel."""
    return {
        f"{name}.{index}.weight": norm.weight * (norm.get_buffer("running_var") + norm.eps).rsqrt()
        for name, _, index, _, norm in _normalised(module)
    }


def _normalised(
    module: nn.Module,
) -> Iterator[tuple[str, nn.Sequential, int, nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions followed by a batch normalisation, with name and layers they stand in."""
    for name, layers in module.named_modules():
        if not isinstance(layers, torch.nn.Sequential):
            continue
        for index in range(len(layers) - 1):
            first, second = layers[index], layers[index + 1]
            if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
                yield name, layers, index, first, second
