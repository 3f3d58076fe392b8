"""Trial of a network on a picture: the shape and the meaning of what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models.importing.facts import BACKGROUND, MissingFactsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.models.importing.facts import Facts
    from napari_twostage.models.model import Model
    from napari_twostage.models.onnx_models.convention import Channels, Layout, Meaning
    from napari_twostage.models.onnx_models.network import OnnxNetwork, Port

CHANNEL_AXES: dict[Layout, int] = {"NCHW": 1, "NHWC": 3}
IMAGE_AXES: dict[Layout, tuple[int, int]] = {"NCHW": (2, 3), "NHWC": (1, 2)}
COLOURS = (1, 3)
"""Numbers of channels that an image may have."""
LOGITS = ("Conv", "ConvTranspose", "LogSoftmax", "BatchNormalization", "Gemm", "MatMul")
"""Last operations that give logits; LogSoftmax's differ from them by a constant of each pixel."""
SLACK = 1e-2
"""Deviation from a sum of 1 that probabilities of reduced precision may have."""
SHIFT_PX = 32
"""Multiple that a window is shifted by: networks sample coarser maps at multiples of it."""


def input_layout(network: OnnxNetwork, facts: Facts, source: str) -> Layout:
    """Order of the axes of a network's input.

    Raises
    ------
    ModelError
        If it takes other images than grey or RGB ones, one at a time.
    MissingFactsError
        If it may be either.
    """
    shape = network.inputs[0].shape
    if shape[0] not in (None, 1):
        raise ModelError(f"{source} takes {shape[0]} images at once, expected 1; export it for one")
    fitting = [layout for layout, axis in CHANNEL_AXES.items() if shape[axis] in COLOURS]
    if facts.layout is None and len(fitting) != 1:
        if shape[1] is not None and shape[3] is not None and not fitting:
            raise ModelError(
                f"{source} takes images of the shape {shape}, expected 1 or 3 channels; export it "
                "for grey or RGB images"
            )
        raise MissingFactsError(source, ["layout"])
    layout = facts.layout or fitting[0]
    if shape[CHANNEL_AXES[layout]] not in (None, *COLOURS):
        raise ModelError(
            f"{source} takes images of {shape[CHANNEL_AXES[layout]]} channels with {layout}, "
            "expected 1 or 3; correct --layout"
        )
    return layout


def input_channels(image: Port, layout: Layout, facts: Facts) -> Channels:
    """Channels of a network's input."""
    if image.shape[CHANNEL_AXES[layout]] == 1:
        return "grey"
    return "bgr" if facts.bgr else "rgb"


def fixed_side(image: Port, layout: Layout, source: str) -> int | None:
    """Side in pixels of the only windows that a network takes; None if it takes others.

    Raises
    ------
    ModelError
        If they are not square.
    """
    sides = {side for axis in IMAGE_AXES[layout] if (side := image.shape[axis]) is not None}
    if len(sides) > 1:
        raise ModelError(
            f"{source} takes windows of {' × '.join(map(str, sorted(sides)))} pixels, "
            "expected square ones; export it for windows of any size, or of a square one"
        )
    return sides.pop() if sides else None


def output_name(network: OnnxNetwork, facts: Facts, source: str) -> str:
    """Name of the output that holds the classes.

    Raises
    ------
    ModelError
        If there is none of that name, or it holds labels.
    MissingFactsError
        If there are several.
    """
    names = [port.name for port in network.outputs]
    if facts.output is None and len(names) > 1:
        raise MissingFactsError(f"{source} (outputs: {', '.join(names)[:200]})", ["output"])
    name = facts.output or names[0]
    if name not in names:
        raise ModelError(
            f"{source} has no output {name!r:.60}; choose one of {', '.join(names)[:200]}"
        )
    port = network.outputs[names.index(name)]
    if network.last_operation(name) == "ArgMax" or not port.dtype.startswith(("float", "bfloat")):
        raise ModelError(
            f"{source} gives labels ({port.dtype}), expected logits or probabilities; export it "
            "without its last operation (ArgMax, or a threshold)"
        )
    return name


def output_layout(
    output: NDArray[Any], side_px: int, layout: Layout, source: str
) -> tuple[Layout, int]:
    """Order of the axes of an output, and the pixels at each side of a window that it lacks.

    Parameters
    ----------
    output : array
        Output for one window.
    side_px : int
        Side of the window.
    layout : str
        Order of the input's axes, which is looked for first.
    source : str

    Raises
    ------
    ModelError
        If it has other sides than the window, less a margin.
    """
    for found in sorted(IMAGE_AXES, key=lambda other: other != layout):
        sides = {output.shape[axis] for axis in IMAGE_AXES[found]} if output.ndim == 4 else ()
        if len(sides) == 1:
            margin, odd = divmod(side_px - sides.pop(), 2)
            if 0 <= margin < side_px // 4 and not odd:
                return found, margin
    raise ModelError(
        f"{source} gives a map of the shape {output.shape} for a window of {side_px} pixels, "
        "expected that size; export it with its last step up to the size of the image"
    )


def meaning_of(
    channels: NDArray[np.float32], last_operation: str, facts: Facts, source: str
) -> Meaning:
    """Meaning of an output: as stated, by the network's last operation, or by its values.

    Parameters
    ----------
    channels : (C, H, W) float array
    last_operation : str
    facts : Facts
    source : str

    Raises
    ------
    ModelError
        If its values contradict that.
    MissingFactsError
        If it cannot be told.
    """
    by_operation: dict[str, Literal["sigmoid", "softmax"]] = {
        "Sigmoid": "sigmoid",
        "Softmax": "softmax",
    }
    meaning = facts.meaning or by_operation.get(last_operation)
    are_shares = bool(channels.min() >= -SLACK and channels.max() <= 1 + SLACK)
    if meaning is None:
        if last_operation not in LOGITS and are_shares:
            raise MissingFactsError(source, ["meaning"])
        return "logits"
    if meaning != "logits" and not are_shares:
        raise ModelError(
            f"{source} gives values from {channels.min():.3g} to {channels.max():.3g}, expected "
            f"probabilities of a {meaning}; take --output logits"
        )
    if meaning == "softmax" and np.abs(channels.sum(axis=0) - 1).max() > SLACK:
        raise ModelError(
            f"{source} gives probabilities that do not sum to 1, as those of a softmax do; take "
            "--output sigmoid, or see over which axis it is taken"
        )
    return meaning


def background_channel(classes: tuple[str, ...], count: int, source: str) -> int:
    """Channel of the background, -1 if there is none; classes have a name for each channel.

    Raises
    ------
    ModelError
        If names and channels do not fit.
    """
    if len(classes) != count:
        raise ModelError(
            f"{source} has {count} channel{'s' * (count > 1)}, found {len(classes)} names "
            f"({', '.join(classes)[:100]}); name each with --classes, '{BACKGROUND}' among them if "
            "one is no class"
        )
    return classes.index(BACKGROUND) if BACKGROUND in classes else -1


def changed_by_place(model: Model, picture: NDArray[np.uint8]) -> float:
    """Share of pixels whose label depends on where the windows lie, so on what a halo cuts off.

    Parameters
    ----------
    model : Model
    picture : (H, W, 3) uint8 array
        Twice as large as a window, or more.

    Raises
    ------
    ModelError
        If logits are not finite.
    """
    side, tile = model.side_px("refine"), model.card.tile_px
    shift = tile // 2 // SHIFT_PX * SHIFT_PX or tile // 2
    logits = model.refine([picture[at : at + side, at : at + side] for at in (0, shift)])
    if not np.isfinite(logits).all():
        raise ModelError(
            f"{model.bundle.source} gives values that are not finite; see that --pixels is what "
            "it was trained with"
        )
    labels = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    same = labels[0, shift:, shift:] == labels[1, : tile - shift, : tile - shift]
    return float(1 - same.mean())
