"""Networks by name, as model cards name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ModelError
from napari_twostage.models.lite import LiteUNet
from napari_twostage.models.resnet import FCN, DeepLabV3, SegNet, UNet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_twostage.models.network import Network

ARCHITECTURES: dict[str, Callable[..., Network]] = {
    "lite_unet": LiteUNet,
    "fcn": FCN,
    "deeplabv3": DeepLabV3,
    "unet": UNet,
    "segnet": SegNet,
}


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
        raise ModelError(f"unknown architecture '{name}'; known: {', '.join(ARCHITECTURES)}")
    try:
        return ARCHITECTURES[name](**options)
    except TypeError as error:
        raise ModelError(f"architecture '{name}' does not take {options}: {error}") from error
