"""Converted networks: optional files of a bundle, which OpenVINO runs without torch.

``openvino.safetensors`` holds both networks in floating point, so that running the model does not
need torch. ``int8.safetensors`` holds them in 8-bit integers. Integers need ranges, and ranges need
images; the maker of a model has both, so quantising is done once, by
``napari-twostage quantise``, and everybody who runs the model has the same integers.

Either file holds OpenVINO's own format, a graph and its constants for each stage, as tensors of
bytes, deflated or (in older files) as they are, and hashes of what the networks were made from.
Graphs in floating point refer to the bundle's weights: their constants begin with the weights file,
byte by byte, and continue with those stored beside the graph.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from napari_twostage.errors import ModelError, one_line
from napari_twostage.models.bundle import LARGEST_NETWORK
from napari_twostage.models.graph_file import check_graph
from napari_twostage.models.weights_file import tensor_places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import Stage

Networks: TypeAlias = "dict[Stage, tuple[bytes, bytes]]"
"""Graph, as XML, and constants of each stage."""

WEIGHTS, DESIGN = "sha256 of weights", "sha256 of design"
SHAPING = (
    "architecture", "fine_architecture", "refiner", "outputs", "ratio", "fine_ratio", "halo_px",
    "coarse_halo_px", "context", "mean", "std",
)  # fmt: skip
"""Entries of a card that a network depends on."""
DEFLATED = ".zlib"
"""Ending of the names of deflated parts."""
ALIGNMENT = 64
"""Bytes that constants are aligned to, as OpenVINO aligns its own."""
OFFSET = re.compile(rb'offset="(\d+)" size="(\d+)"')
"""Place of a constant in a graph."""


def pack(networks: Mapping[Stage, tuple[bytes, bytes]], bundle: Bundle) -> bytes:
    """Make the file of both stages' graphs and constants, converted from this bundle."""
    from safetensors.numpy import save

    parts = _origin(bundle)
    for stage, (graph, constants) in networks.items():
        for name, part in ((f"{stage}.xml", graph), (f"{stage}.bin", constants)):
            parts[name + DEFLATED] = zlib.compress(part, 9)
    return save({name: np.frombuffer(part, np.uint8) for name, part in parts.items()})


def read_quantised(bundle: Bundle) -> Networks:
    """Read the networks in 8-bit integers.

    Raises
    ------
    ModelError
        If the bundle has none, or they are damaged, or made from other weights.
    """
    if bundle.quantised is None:
        raise ModelError(
            f"{bundle.source} has no networks in 8-bit integers; choose precision bf16 or f32, "
            "or add them with `napari-twostage quantise`"
        )
    networks = _unpack(bundle.quantised, bundle, _QUANTISED)
    _require_sound(networks, bundle, _QUANTISED)
    return networks


def read_converted(bundle: Bundle) -> Networks | None:
    """Read the networks in floating point; None if the bundle has none.

    Raises
    ------
    ModelError
        If they are damaged, or made from other weights.
    """
    if bundle.converted is None:
        return None
    networks = _unpack(bundle.converted, bundle, _CONVERTED)
    weights = _padded(bundle.weights)
    whole: Networks = {stage: (graph, weights + rest) for stage, (graph, rest) in networks.items()}
    _require_sound(whole, bundle, _CONVERTED, known=len(bundle.weights))
    return whole


def refer_to_weights(graph: bytes, constants: bytes, weights: bytes) -> tuple[bytes, bytes]:
    """Let a graph take from the weights file all constants that are a tensor of it.

    Parameters
    ----------
    graph, constants : bytes
        Network in OpenVINO's format.
    weights : bytes
        Safetensors file.

    Returns
    -------
    graph, constants : bytes
        Graph whose offsets count from the start of the weights, and the constants that follow them.
    """
    places = _tensor_places(weights)
    first = len(_padded(weights))
    rest = bytearray()

    def place(match: re.Match[bytes]) -> bytes:
        offset, size = map(int, match.groups())
        constant = constants[offset : offset + size]
        offset = places.get(constant, first + len(rest))
        if offset >= first:
            rest.extend(_padded(constant))
        return b'offset="%d" size="%d"' % (offset, size)

    return OFFSET.sub(place, graph), bytes(rest)


class _Kind(NamedTuple):
    """Words for the networks of one file."""

    what: str
    instead: str
    """Way to do without them."""
    command: str
    """Command that makes them anew."""


_QUANTISED = _Kind(
    "networks in 8-bit integers", "choose precision bf16 or f32", "napari-twostage quantise"
)
_CONVERTED = _Kind("networks for OpenVINO", "take --device cpu", "napari-twostage convert")


def _unpack(packed: bytes, bundle: Bundle, kind: _Kind) -> Networks:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensor_places(packed)
        parts = {name: part.tobytes() for name, part in load(packed).items()}
        made_from = parts[WEIGHTS]
        networks: Networks = {
            "coarse": (_part(parts, "coarse.xml"), _part(parts, "coarse.bin")),
            "refine": (_part(parts, "refine.xml"), _part(parts, "refine.bin")),
        }
    except (ModelError, SafetensorError, KeyError, zlib.error) as error:
        raise _damaged(bundle, kind, error) from error
    origin = _origin(bundle)
    if made_from != origin[WEIGHTS]:
        raise ModelError(
            f"{bundle.source}: its {kind.what} were made from other weights; "
            f"run `{kind.command}` again"
        )
    if parts.get(DESIGN, origin[DESIGN]) != origin[DESIGN]:
        raise ModelError(
            f"{bundle.source}: its {kind.what} were made with another card; "
            f"run `{kind.command}` again"
        )
    return networks


def _part(parts: Mapping[str, bytes], name: str) -> bytes:
    """A part by its name, inflated if need be."""
    if name in parts:
        return parts[name]
    inflate = zlib.decompressobj()
    content = inflate.decompress(parts[name + DEFLATED], LARGEST_NETWORK)
    if not inflate.eof:
        raise ModelError(f"{name} is cut off, or larger than {LARGEST_NETWORK >> 20} MiB")
    return content


def _require_sound(networks: Networks, bundle: Bundle, kind: _Kind, *, known: int = 0) -> None:
    for graph, constants in networks.values():
        try:
            check_graph(graph, constants, known=known)
        except ModelError as error:
            raise _damaged(bundle, kind, error) from error


def _damaged(bundle: Bundle, kind: _Kind, error: Exception) -> ModelError:
    return ModelError(
        f"{bundle.source}: its {kind.what} are damaged: {one_line(error)[:150]}; get the model "
        f"again, or {kind.instead}"
    )


def _origin(bundle: Bundle) -> dict[str, bytes]:
    """Hashes of everything that a network follows from."""
    design = {name: getattr(bundle.card, name) for name in SHAPING}
    return {
        WEIGHTS: hashlib.sha256(bundle.weights).digest(),
        DESIGN: hashlib.sha256(json.dumps(design, sort_keys=True).encode()).digest(),
    }


def _tensor_places(weights: bytes) -> dict[bytes, int]:
    """Offset of each larger tensor in a safetensors file, by its bytes."""
    return {
        weights[place.first : place.last]: place.first
        for place in tensor_places(weights)
        if place.last - place.first > ALIGNMENT
    }


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % ALIGNMENT)
