"""Card of an imported network: its windows, classes and names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_twostage.errors import ModelError
from napari_twostage.io.file_names import safe_name
from napari_twostage.models.card import LabelClass, ModelCard
from napari_twostage.models.importing.facts import BACKGROUND, Normalisation

if TYPE_CHECKING:
    from napari_twostage.models.importing.facts import Facts
    from napari_twostage.models.onnx_models.convention import Convention

TILE_PX, HALO_PX = 256, 64
"""Tile and halo of a network that takes windows of any size."""
HALO_SHARE = 8
"""A halo takes this part of windows whose size the network decides."""
COARSE_MPP = 1.0
"""Pixel size in micrometres that stage 1 comes near to, unless a ratio is stated."""
RATIOS = (2, 4)
"""Ratios that are chosen from the pixel size."""
AS_IT_IS = (0.7, 1.4)
"""Pixel sizes of levels that are not resampled, in parts of the network's own."""
THRESHOLD = 0.15
"""Threshold that nothing was measured for: about that of the bundled model."""
COLOURS = ("#ffb000", "#2ca02c", "#1f77b4", "#d62728", "#9467bd", "#17becf", "#e377c2", "#8c564b")
NOT_STATED = "not stated"
NOT_MEASURED = "not calibrated: look at the tiles that it selects, and at the labels beside them"


class Windows(NamedTuple):
    """Sides of the windows of both stages, in the pixels that a network sees."""

    ratio: int
    tile_px: int
    halo_px: int

    @property
    def side_px(self) -> int:
        """Side of a window: the tile and its halo."""
        return self.tile_px + 2 * self.halo_px


def windows_of(facts: Facts, fixed_px: int | None) -> Windows:
    """Choose the windows.

    Parameters
    ----------
    facts : Facts
        Their pixel size is stated.
    fixed_px : int or None
        Side that the network takes, if it takes one only.

    Raises
    ------
    ModelError
        If what is stated does not fit together.
    """
    ratio = facts.ratio or _ratio_from(COARSE_MPP if facts.mpp is None else facts.mpp)
    if fixed_px is None and facts.step_px == 0:
        fixed_px = facts.least_px
    halo = facts.halo_px
    if halo is None:
        halo = HALO_PX if fixed_px is None else fixed_px // HALO_SHARE // ratio * ratio
    halo = _up(halo, ratio)
    side = fixed_px
    if side is None:
        side = (facts.tile_px or TILE_PX) + 2 * halo
        if facts.step_px is not None and facts.tile_px is None:
            least = facts.least_px or 0
            side = least + _up(max(0, side - least), facts.step_px)
    windows = Windows(ratio, side - 2 * halo, halo)
    if windows.tile_px < ratio or windows.tile_px % ratio:
        raise ModelError(
            f"windows of {side} pixels leave tiles of {windows.tile_px}, expected a multiple of "
            f"the ratio {ratio}; choose --halo, --ratio or --tile"
        )
    if fixed_px is not None and facts.tile_px not in (None, windows.tile_px):
        raise ModelError(
            f"the network takes windows of {side} pixels, which leaves tiles of "
            f"{windows.tile_px} with a halo of {halo}, found --tile {facts.tile_px}; leave it out"
        )
    return windows


def card_of(facts: Facts, windows: Windows, convention: Convention, *, stem: str) -> ModelCard:
    """Make the card; facts that it needs are stated.

    Parameters
    ----------
    facts : Facts
    windows : Windows
    convention : Convention
    stem : str
        Name of the file, from which the model is named unless it has a name.

    Raises
    ------
    ModelError
        If a fact breaks a rule of cards.
    """
    normalisation = facts.normalisation or Normalisation()
    mpp = COARSE_MPP if facts.mpp is None else facts.mpp
    channels = facts.classes or ()
    names = [name for name in channels if name != BACKGROUND]
    if not names or channels.count(BACKGROUND) > 1:
        raise ModelError(
            f"'{BACKGROUND}' may name one of several channels, found {', '.join(channels)[:100]}; "
            "name the others by --classes"
        )
    return ModelCard(
        name=_name(facts.name or stem),
        version=_name(facts.version or "1"),
        description=facts.description or f"{', '.join(names)}, by a network from elsewhere",
        architecture=convention.as_architecture(),
        classes=tuple(
            LabelClass(name, COLOURS[index % len(COLOURS)], index + 1)
            for index, name in enumerate(names)
        ),
        fine_mpp=mpp,
        mpp_range=(AS_IT_IS[0] * mpp, AS_IT_IS[1] * mpp),
        ratio=windows.ratio,
        tile_px=windows.tile_px,
        halo_px=windows.halo_px,
        coarse_window_px=windows.side_px,
        coarse_halo_px=windows.halo_px,
        mean=normalisation.mean,
        std=normalisation.std,
        default_threshold=THRESHOLD,
        refinement_gain=0.0,  # nothing was measured, so nothing is promised
        training_data=facts.trained_on or NOT_STATED,
        licence=facts.licence or NOT_STATED,
        metrics={"threshold": NOT_MEASURED},
    )


def _ratio_from(mpp: float) -> int:
    """Ratio whose coarse pixels come nearest to `COARSE_MPP`."""
    return min(RATIOS, key=lambda ratio: abs(ratio * mpp - COARSE_MPP))


def _up(number: int, step: int) -> int:
    """Multiple of a step that is not smaller than a number."""
    return -(-number // step) * step


def _name(text: str) -> str:
    """Name that files may have."""
    return safe_name(" ".join(text.split()))[:64].strip(" .") or "imported"
