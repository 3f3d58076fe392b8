"""Cost of a network: parameters, and multiply-accumulates on an image of a given size."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def count_parameters(module: nn.Module) -> int:
    """Count the learnable values of a module, frozen ones included.

    Examples
    --------
    >>> count_parameters(nn.Conv2d(3, 2, kernel_size=5))
    152
    """
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, input_shape: Sequence[int], *more: int) -> int:
    """Count the multiply-accumulates of convolutions and matrix products at inference.

    The module is left as it is. Only shapes are computed, which is quick and takes no memory.

    Parameters
    ----------
    module : nn.Module
        Takes one tensor.
    input_shape : sequence of int
        Shape of that tensor: (N, C, H, W) for an image network.
    *more : int
        Further arguments of the module, such as a `Network`'s halo.

    Examples
    --------
    >>> count_macs(nn.Conv2d(3, 2, kernel_size=5, padding=2), (1, 3, 10, 10))
    15000
    """
    return _run_shapes(_shadow(module), input_shape, *more)


def count_paper_operations(module: nn.Module, input_shape: Sequence[int]) -> int:
    """Count operations as Table 1 of the paper does, which calls them FLOPs.

    To the multiply-accumulates it adds four for each output value of a batch norm and one for each
    input value of a global pooling. Both are negligible beside the convolutions, and a batch norm
    is folded into one at inference: use `count_macs` for anything but that table.

    Parameters are those of `count_macs`.
    """
    extra = 0

    def add(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal extra
        pools = isinstance(part, nn.AdaptiveAvgPool2d)
        extra += inputs[0].numel() if pools else 4 * output.numel()

    shadow = _shadow(module)
    for part in shadow.modules():
        if isinstance(part, nn.BatchNorm2d | nn.AdaptiveAvgPool2d):
            part.register_forward_hook(add)
    return _run_shapes(shadow, input_shape) + extra


def _shadow(module: nn.Module) -> nn.Module:
    """Copy a module without its values, ready for inference."""
    # Objects in the memo are not copied, so no weight is ever duplicated in memory.
    memo: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
        for parameter in module.parameters()
    }
    memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    return copy.deepcopy(module, memo).eval()


def _run_shapes(shadow: nn.Module, input_shape: Sequence[int], *more: int) -> int:
    """Count the multiply-accumulates of a run on a tensor without values."""
    dtype = next((parameter.dtype for parameter in shadow.parameters()), torch.float32)
    image = torch.empty(tuple(input_shape), dtype=dtype, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(image, *more)
    flops: int = counter.get_total_flops()
    return flops // 2
