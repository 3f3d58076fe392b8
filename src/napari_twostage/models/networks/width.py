"""Narrower versions of published networks: the same layers, a share of their channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from torch.nn import Module

COLOURS = 3


def scale(channels: int, width: float) -> int:
    """How many of so many channels are kept."""
    return channels if channels == COLOURS else max(1, round(channels * width))


def narrow(module: Module, width: float) -> None:
    """Keep a share of the channels of all convolutions and batch norms, with fresh weights.

    Parameters
    ----------
    module : Module
        Changed in place; its convolutions are not grouped. What takes in an image has 3 channels.
    width : float
        Share of channels, in (0, 1]; 1 changes nothing.

    Raises
    ------
    ModelError
        If the width is out of range.
    """
    if not 0 < width <= 1:
        raise ModelError(f"expected a width above 0, at most 1 (all channels), found {width}")
    if width == 1:
        return
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, _narrow_convolution(child, width))
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(scale(child.num_features, width), eps=child.eps))
        else:
            narrow(child, width)


def _narrow_convolution(wide: nn.Conv2d, width: float) -> nn.Conv2d:
    return nn.Conv2d(
        scale(wide.in_channels, width),
        scale(wide.out_channels, width),
        wide.kernel_size,  # type: ignore[arg-type]  # torch types it as a tuple of any length
        wide.stride,  # type: ignore[arg-type]
        wide.padding,  # type: ignore[arg-type]
        wide.dilation,  # type: ignore[arg-type]
        bias=wide.bias is not None,
    )
