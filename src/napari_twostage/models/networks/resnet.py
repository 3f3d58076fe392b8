"""The four networks of the paper: FCN, DeepLabV3, U-Net and SegNet on a ResNet-50.

All share one interface: `features` are the maps that enter the last convolution, at input
resolution; `classify` is that convolution; calling the network composes both. DeepLabV3 pools
over its whole input, so its output depends on the window it is given: keep that window fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torchvision import models as zoo

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.base import Network
from napari_twostage.models.networks.pretrained import below, encoder_part, load_into, read_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

BACKBONES = {
    "resnet18": "ResNet18_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
}
"""Encoders, and torchvision's name for the ImageNet weights that each starts from."""

FEATURES = 32
"""Channels that enter the last convolution of U-Net and SegNet."""

COLOURS = 3
"""Channels of an image, which no width changes."""

COCO_OUTPUTS = 21
"""Classes of torchvision's segmentation weights: background and 20 kinds of object."""


class _Dilated(Network):
    """A torchvision network at stride 8, its last convolution moved to input resolution."""

    stride = 8
    builder: str
    """Torchvision's name for the network."""
    coco: str
    """Torchvision's name for its weights."""

    def __init__(
        self,
        outputs: int = 1,
        *,
        weights: str | Path | None = None,
        aux: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        whole = zoo.get_model(
            self.builder,
            weights=None,
            weights_backbone=None,
            num_classes=COCO_OUTPUTS,
            aux_loss=aux,
        )
        narrow(whole, width)
        *head, replaced = whole.classifier
        self.backbone: nn.Module = whole.backbone
        self.head = nn.Sequential(*head)
        self.aux: nn.Module | None = whole.aux_classifier
        self.feature_channels = replaced.in_channels
        self.last = nn.Conv2d(self.feature_channels, outputs, 3, padding=1)
        if weights is not None:
            self._start_from(weights)

    def _start_from(self, weights: str | Path) -> None:
        state = read_weights(weights, {"coco": self.coco, "imagenet": BACKBONES["resnet50"]})
        if "backbone.conv1.weight" not in state:
            load_into(self.backbone, encoder_part(state, weights), weights)
            return
        load_into(self.backbone, below(state, "backbone."), weights)
        # The file's last layer, of 21 outputs, is the one that `last` stands in for.
        outputs = f"{len(self.head)}."
        head = below(state, "classifier.")
        load_into(self.head, {k: v for k, v in head.items() if not k.startswith(outputs)}, weights)
        if self.aux is not None:
            load_into(self.aux, below(state, "aux_classifier."), weights)

    def features(self, x: Tensor) -> Tensor:
        """Compute the input of the last convolution, upsampled bilinearly from stride 8."""
        maps = self.backbone(x)
        if self.aux is not None:
            # Unused, as in the published runs, but the paper's table counts it.
            self.aux(maps["aux"])
        return functional.interpolate(
            self.head(maps["out"]), size=x.shape[-2:], mode="bilinear", align_corners=False
        )


class FCN(_Dilated):
    """FCN on a dilated ResNet-50; 512 feature channels.

    Parameters
    ----------
    outputs : int
        Logits per pixel.
    weights : "coco", "imagenet", path or None
        What to start from: torchvision's COCO weights, its ImageNet encoder, a file that holds
        either (``.safetensors``, or ``.pth`` of tensors alone), or random values.
    aux : bool
        Keep the auxiliary head: it changes no output, and the paper's table counts it.
    width : float
        Share of all layers' channels, in (0, 1]; published weights fit 1 only.

    Raises
    ------
    ModelError
        If the weights cannot be read, or are another network's, or the width is out of range.
    """

    builder = "fcn_resnet50"
    coco = "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"


class DeepLabV3(_Dilated):
    """DeepLabV3 on a dilated ResNet-50; 256 feature channels.

    Parameters and errors are those of `FCN`.
    """

    builder = "deeplabv3_resnet50"
    coco = "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"


class _Mirrored(Network):
    """A ResNet encoder and, for each of its five maps, one convolution and a doubling.

    The stem has no max-pool; one follows the first block of layers instead. So the maps lie at
    stride 2, 4, 8, 16 and 32. The decoder has neither norms nor activations.
    """

    stride = 32
    inputs_per_map: int
    """Times a map's width that the decoder takes in at its level."""

    def __init__(
        self,
        outputs: int = 1,
        *,
        backbone: str = "resnet50",
        weights: str | Path | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ModelError(
                f"expected a backbone among {', '.join(BACKBONES)}, found {backbone!r}; "
                "use one of them"
            )
        encoder: Any = zoo.get_model(backbone, weights=None)
        # The classifier of ImageNet's thousand classes is not needed.
        del encoder.avgpool, encoder.fc
        narrow(encoder, width)
        self.encoder = encoder
        if weights is not None:
            state = read_weights(weights, {"imagenet": BACKBONES[backbone]})
            load_into(encoder, encoder_part(state, weights), weights)

        expansion = encoder.layer4[-1].expansion
        maps = (64, *(channels * expansion for channels in (64, 128, 256, 512)))
        widths = [scale(channels, width) for channels in maps]
        self.feature_channels = scale(FEATURES, width)
        self.decoder = nn.ModuleList(
            nn.Conv2d(self.inputs_per_map * wide, narrow, 3, padding=1)
            for narrow, wide in reversed(
                list(zip([self.feature_channels, *widths], widths, strict=False))
            )
        )
        self.last = nn.Conv2d(self.feature_channels, outputs, 3, padding=1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Compute the five maps of (N, 3, H, W) images, finest first."""
        encoder = self.encoder
        stem = encoder.relu(encoder.bn1(encoder.conv1(x)))
        maps = [stem, encoder.maxpool(encoder.layer1(stem))]
        for layer in (encoder.layer2, encoder.layer3, encoder.layer4):
            maps.append(layer(maps[-1]))
        return maps


class UNet(_Mirrored):
    """U-Net on a ResNet: the decoder sees every map of the encoder, the deepest one twice.

    Parameters
    ----------
    outputs : int
        Logits per pixel.
    backbone : "resnet50" or "resnet18"
        The encoder; the decoder's widths follow it.
    weights : "imagenet", path or None
        What the encoder starts from: torchvision's ImageNet weights, a file of them
        (``.safetensors``, or ``.pth`` of tensors alone), or random values.
    width : float
        Share of all layers' channels, in (0, 1]; published weights fit 1 only.

    Raises
    ------
    ModelError
        If the backbone is unknown, the width is out of range, or the weights cannot be read or are
        another network's.
    """

    inputs_per_map = 2

    def features(self, x: Tensor) -> Tensor:
        """Compute the input of the last convolution."""
        maps = self.encode(x)
        decoded = maps[-1]
        for conv, skip in zip(self.decoder, reversed(maps), strict=True):
            decoded = _double(conv(torch.cat([_crop(decoded, skip), skip], dim=1)))
        return _crop(decoded, x)


class SegNet(_Mirrored):
    """SegNet on a ResNet: the decoder sees the deepest map alone.

    Parameters and errors are those of `UNet`.
    """

    inputs_per_map = 1

    def features(self, x: Tensor) -> Tensor:
        """Compute the input of the last convolution."""
        decoded = self.encode(x)[-1]
        for conv in self.decoder:
            decoded = _double(conv(decoded))
        # Once, at the end: cropped at every level it would cost less than the paper's table says.
        return _crop(decoded, x)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _crop(x: Tensor, like: Tensor) -> Tensor:
    """Cut the row or column that doubling an odd map added; resizing would shift every pixel."""
    return x[..., : like.shape[-2], : like.shape[-1]]


def scale(channels: int, width: float) -> int:
    """Number of channels that are kept."""
    return channels if channels == COLOURS else max(1, round(channels * width))


def narrow(module: nn.Module, width: float) -> None:
    """Keep a share of the channels of all convolutions and batch norms, with fresh weights.

    Parameters
    ----------
    module : Module
        Changed in place; its convolutions are not grouped. Layers that take an image have 3
        channels.
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
