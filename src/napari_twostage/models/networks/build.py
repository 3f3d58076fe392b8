"""Construction of networks from a model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ModelError, reason_of
from napari_twostage.models.networks.lite_unet import LiteUNet
from napari_twostage.models.networks.refiner import LocalRefiner
from napari_twostage.models.networks.resnet import FCN, DeepLabV3, SegNet, UNet
from napari_twostage.models.networks.two_stage import TwoStage
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.networks.base import Network

ARCHITECTURES: dict[str, Callable[..., Network]] = {
    "lite_unet": LiteUNet,
    "fcn": FCN,
    "deeplabv3": DeepLabV3,
    "unet": UNet,
    "segnet": SegNet,
}

UNFIT = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of torch's layers about sizes that no layer has."""


def build_network(architecture: Mapping[str, Any]) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    architecture : mapping
        ``name`` and the options of that network's class.

    Raises
    ------
    ModelError
        If the name is unknown or an option does not fit.
    """
    options = dict(architecture)
    name = options.pop("name", None)
    if name not in ARCHITECTURES:
        raise ModelError(f"unknown architecture {shown(name)}; known: {', '.join(ARCHITECTURES)}")
    try:
        return ARCHITECTURES[name](**options)
    except UNFIT as error:
        raise ModelError(
            f"architecture '{name}' does not take {shown(options)}: {reason_of(error)[:150]}; "
            "correct the card"
        ) from error


def build_refiner(options: Mapping[str, Any], outputs: int, stage1: Network) -> LocalRefiner:
    """Build a local refiner with fresh weights, for stage 1's features.

    Raises
    ------
    ModelError
        If an option does not fit.
    """
    try:
        return LocalRefiner(outputs, stage1.feature_channels, **options)
    except UNFIT as error:
        raise ModelError(
            f"a refiner does not take {shown(dict(options))}: {reason_of(error)[:150]}; "
            "correct the card"
        ) from error


def build_two_stage(card: ModelCard) -> TwoStage:
    """Build both stages as a card says, with fresh weights.

    Raises
    ------
    ModelError
        If the architecture is unknown, an option does not fit, or windows cannot be halved as often
        as a network needs.
    """
    stage1 = build_network({**card.architecture, "outputs": card.coarse_channels})
    module = TwoStage(
        stage1,
        build_network({**(card.fine_architecture or card.architecture), "outputs": card.channels})
        if card.refiner is None
        else build_refiner(card.refiner, card.outputs, stage1),
        ratio=card.ratio,
        fine_ratio=card.fine_ratio,
        mean=card.mean,
        std=card.std,
        objects=card.objects != "none",
        gain=card.gain_output,
    )
    if card.coarse_window_px % module.stage1.stride:
        raise ModelError(
            f"card of model '{card.name}': expected coarse_window_px to be a multiple of "
            f"{module.stage1.stride}, found {card.coarse_window_px}; correct it"
        )
    if card.window_px % module.window_multiple:
        raise ModelError(
            f"card of model '{card.name}': expected tile_px + 2 halo_px to be a multiple of "
            f"{module.window_multiple}, found {card.window_px}; correct tile_px or halo_px"
        )
    return module
