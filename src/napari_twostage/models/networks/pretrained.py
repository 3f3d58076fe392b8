"""Initial weights of a network: torchvision's published ones, or a local file."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision import models as zoo

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

# The restricted unpickler raises any of these for a damaged file.
DAMAGED = (
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors under a prefix, and drop the prefix."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def encoder_part(state: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Select the encoder's weights of a torchvision ResNet: all but the classifier."""
    if "conv1.weight" not in state:
        raise ModelError(
            f"expected the weights of a torchvision ResNet in {source}, found other names; "
            "pass the file that torchvision publishes for this network"
        )
    return {k: v for k, v in state.items() if not k.startswith("fc.")}


def read_weights(source: str | Path, published: Mapping[str, str]) -> Mapping[str, Tensor]:
    """Read weights by name or from a file, without running code that came with them.

    Parameters
    ----------
    source : str or Path
        A key of `published`, or a file: ``.safetensors``, else in the format of `torch.save`.
    published : mapping
        Short names to torchvision's names of the weights to download.

    Raises
    ------
    ModelError
        If there is no such name or file, the download fails, or the file holds anything but
        tensors.
    """
    if source in published:
        return _download(published[str(source)])
    path = Path(source)
    if not path.is_file():
        raise ModelError(
            f"expected weights named {' or '.join(published)}, or a file, found {str(source)!r}; "
            "correct the name or the path"
        )
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
    except DAMAGED as error:
        raise _not_weights(path) from error
    if not isinstance(state, Mapping):
        raise _not_weights(path)
    return state


def _download(name: str) -> Mapping[str, Tensor]:
    try:
        state: Mapping[str, Tensor] = zoo.get_weight(name).get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:  # no connection, or a download cut short
        raise ModelError(
            f"expected to download {name}, found no way to ({error}); "
            "connect to the internet, or pass a file that holds them"
        ) from error
    return state


def _not_weights(path: Path) -> ModelError:
    return ModelError(
        f"expected a file of tensors alone, found something else in {path.name}; "
        "save the network's state_dict() as .safetensors or .pth"
    )


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Fill every tensor of `module`, or raise a ModelError of one line."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"expected weights that fit this network, found another's in {source}; "
            "pass the file that torchvision publishes for it"
        ) from error
