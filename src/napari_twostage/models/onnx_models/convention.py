"""Conventions of a network: what it takes of a window's pixels, and what its numbers mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import numpy as np
from scipy.special import logit

from napari_twostage.errors import ModelError
from napari_twostage.models.card import ONNX
from napari_twostage.utils.values import fits, shown, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.models.card import ModelCard

LEAST_PROBABILITY = 1e-7
"""Probabilities are kept from 0 and 1 by this much: their logits are finite."""
NO_BACKGROUND = 16.0
"""Logits by which the background lies below the classes of a network that knows none."""
LEAST_DEVIATION = 1e-6
"""Number added to the standard deviation of a window, which may be a plain one."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey."""

Layout = Literal["NCHW", "NHWC"]
Channels = Literal["rgb", "bgr", "grey"]
Standardise = Literal["no", "window", "channels"]
Meaning = Literal["logits", "sigmoid", "softmax"]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How windows become a network's input, and its output logits; kept in the card."""

    output: str
    """Name of the output that holds the classes."""
    input_layout: Layout
    output_layout: Layout
    channels: Channels
    standardise: Standardise = "no"
    """Whether each window, or each of its channels, gets a mean of 0 and a deviation of 1."""
    meaning: Meaning
    """Logits, or the probabilities of a sigmoid or softmax."""
    background: int = -1
    """Channel of the background; -1 if there is none."""
    margin_px: int = 0
    """Pixels at each side of a window that the network itself leaves out."""

    @classmethod
    def of(cls, card: ModelCard) -> Convention:
        """Convention that a card states.

        Raises
        ------
        ModelError
            If it states none, or one of other fields.
        """
        stated = {name: value for name, value in card.architecture.items() if name != "name"}
        hints = get_type_hints(cls)
        wrong = [
            name
            for name, value in stated.items()
            if name not in hints or not fits(value, hints[name])
        ]
        if wrong:
            meant = words(hints[wrong[0]]) if wrong[0] in hints else "nothing of that name"
            raise ModelError(
                f"card of model {shown(card.name)}: architecture states {shown(wrong[0])} = "
                f"{shown(stated[wrong[0]])}, expected {meant}; import the network again"
            )
        try:
            return cls(**stated)
        except TypeError as error:
            raise ModelError(
                f"card of model {shown(card.name)}: architecture lacks entries of an ONNX "
                "network; import the network again"
            ) from error

    def as_architecture(self) -> dict[str, Any]:
        """Entry ``architecture`` of a card."""
        return {"name": ONNX, **asdict(self)}


def network_input(
    window: NDArray[np.uint8], convention: Convention, card: ModelCard, dtype: str
) -> NDArray[Any]:
    """Make a network's input of one window.

    Parameters
    ----------
    window : (H, W, 3) uint8 array
    convention : Convention
    card : ModelCard
        Its mean and standard deviation apply, unless windows are standardised.
    dtype : str
        Type that the network takes; networks that take uint8 normalise by themselves.

    Returns
    -------
    (1, C, H, W) or (1, H, W, C) array
    """
    pixels: NDArray[Any] = window
    mean: NDArray[Any] = np.array(card.mean, np.float32)
    std: NDArray[Any] = np.array(card.std, np.float32)
    if convention.channels == "bgr":
        pixels = window[..., ::-1]
    elif convention.channels == "grey":
        pixels = (window @ np.array(LUMINANCE, np.float32))[..., None]
        mean, std = mean[:1], std[:1]
    if dtype == "uint8":
        pixels = np.rint(pixels).astype(np.uint8)
    elif convention.standardise == "no":
        pixels = (pixels.astype(np.float32) / 255 - mean) / std
    else:
        axes = (0, 1) if convention.standardise == "channels" else None
        pixels = _standardised(pixels.astype(np.float32), axes)
    if convention.input_layout == "NCHW":
        pixels = np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(pixels[None], dtype)


def _standardised(pixels: NDArray[np.float32], axes: tuple[int, int] | None) -> NDArray[Any]:
    deviation: NDArray[Any] = pixels.std(axes, keepdims=True) + LEAST_DEVIATION
    return np.asarray((pixels - pixels.mean(axes, keepdims=True)) / deviation)


def channels_first(output: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Channels of the only window in a network's output: (C, h, w)."""
    return output[0] if layout == "NCHW" else np.moveaxis(output[0], -1, 0)


def logits_of(output: NDArray[Any], convention: Convention, halo_px: int) -> NDArray[np.float32]:
    """Logits of a network's output for one window.

    Parameters
    ----------
    output : (1, C, h, w) or (1, h, w, C) array
    convention : Convention
    halo_px : int
        Pixels at each side of the window that are left out.

    Returns
    -------
    (K, H - 2 halo, W - 2 halo) float32 array
        K as in the card: 1 for a single class, else one for each and the background first.

    Raises
    ------
    ModelError
        If the output has other axes or channels than the convention says.
    """
    channels = channels_first(output, convention.output_layout) if output.ndim == 4 else output
    if channels.ndim != 3 or convention.background >= len(channels):
        raise ModelError(
            f"output {shown(convention.output)} of an ONNX network has the shape {output.shape}, "
            "which does not fit its card; import the network again"
        )
    cut = halo_px - convention.margin_px
    height, width = channels.shape[1:]
    values = channels[:, cut : height - cut, cut : width - cut].astype(np.float32)
    if convention.meaning != "logits":
        np.clip(values, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY, out=values)
        values = logit(values) if convention.meaning == "sigmoid" else np.log(values)
    if len(values) == 1:
        return np.ascontiguousarray(values)
    if convention.background < 0:
        return np.concatenate([_absent_background(values, convention), values])
    background = values[convention.background, None]
    classes = np.delete(values, convention.background, axis=0)
    if len(classes) == 1:
        return np.asarray(classes - background)
    return np.concatenate([background, classes])


def _absent_background(values: NDArray[np.float32], convention: Convention) -> NDArray[np.float32]:
    """Logits of a background that is no channel of its own: (1, H, W).

    It wins where all classes are unlikely; after a softmax one of them is always likely.
    """
    if convention.meaning == "softmax":
        return np.asarray(values.min(axis=0, keepdims=True) - np.float32(NO_BACKGROUND))
    return np.zeros_like(values[:1])
