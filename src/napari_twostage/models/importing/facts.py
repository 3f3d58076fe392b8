"""Facts about a network that its file need not hold: stated by a user, or beside the file."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.models.onnx_models.convention import Layout, Meaning, Standardise

Rgb = tuple[float, float, float]

BACKGROUND = "background"
"""Name among the classes of the channel that is none."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Numbers that a network takes for pixels."""

    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (1.0, 1.0, 1.0)
    """As in a card: of pixel values divided by 255."""
    standardise: Standardise = "no"


NORMALISATIONS = {
    "0-1": Normalisation(),
    "0-255": Normalisation(std=(1 / 255, 1 / 255, 1 / 255)),
    "signed": Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "imagenet": Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "window": Normalisation(standardise="window"),
}
"""Normalisations by the word that asks for them; signed numbers go from -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about a network; None for what is not stated."""

    name: str | None = None
    version: str | None = None
    description: str | None = None
    licence: str | None = None
    trained_on: str | None = None
    mpp: float | None = None
    """Micrometres per pixel that it was trained at."""
    classes: tuple[str, ...] | None = None
    """Name of each channel of its output; `BACKGROUND` for the one that is no class."""
    normalisation: Normalisation | None = None
    meaning: Meaning | None = None
    """Whether it gives logits or probabilities."""
    layout: Layout | None = None
    """Axes of its input."""
    output: str | None = None
    """Output that holds the classes, of a network with several."""
    bgr: bool | None = None
    """Whether it takes blue first."""
    ratio: int | None = None
    """Fine pixels per coarse pixel."""
    tile_px: int | None = None
    halo_px: int | None = None
    least_px: int | None = None
    """Smallest side of a window that it takes."""
    step_px: int | None = None
    """Pixels between one side that it takes and the next."""

    def over(self, others: Facts) -> Facts:
        """These facts, and the others' where these state none."""
        stated = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return replace(others, **{name: fact for name, fact in stated.items() if fact is not None})


QUESTIONS = {
    "mpp": "--mpp UM: micrometres per pixel that the network was trained at",
    "classes": "--classes NAME,...: a name for each channel of its output, 'background' for the "
    "one that is no class",
    "normalisation": f"--pixels {'|'.join(NORMALISATIONS)}: the numbers that it takes for pixels",
    "meaning": "--output logits|sigmoid|softmax: what its last layer gives",
    "layout": "--layout NCHW|NHWC: the order of its input's axes",
    "output": "--output-name NAME: the output that holds the classes",
}
"""What to ask for a fact that is missing, by the field of `Facts`."""


class MissingFactsError(ModelError):
    """Facts that neither a file nor its user has stated.

    Parameters
    ----------
    source : str
        The file.
    missing : sequence of str
        Fields of `Facts`.
    """

    def __init__(self, source: str, missing: Sequence[str]) -> None:
        self.source, self.missing = source, tuple(missing)
        asked = "; ".join(QUESTIONS[name] for name in missing)
        super().__init__(f"{source} does not say all that is needed; add {asked}")

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...]]]:
        return type(self), (self.source, self.missing)
