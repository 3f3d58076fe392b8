"""The layer of tiles, which says in napari's status bar and tooltips why a place is uncertain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image

from napari_twostage.session.explain import explain
from napari_twostage.viewer.drawn_levels import FINER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Labels

    from napari_twostage.session import Session

REACH_PX = 3
"""Distance, in coarse pixels, within which a border of labels counts as close."""


class TilesLayer(Image):  # type: ignore[misc]  # napari has no types
    """An Image layer whose status and tooltip are words instead of a pixel's value."""

    explain: Callable[[Sequence[float]], str] | None = None
    """Function from world coordinates to a line, which is empty beside the slide."""

    @property
    def _type_string(self) -> str:
        return "image"

    def get_status(
        self, position: Sequence[float] | None = None, *, world: bool = False, **options: object
    ) -> dict[str, str]:
        """Status of a position; napari's own, but for the value."""
        status: dict[str, str] = super().get_status(position, world=world, **options)
        if position is not None:
            status["value"] = self._get_tooltip_text(position, world=world)
            status["coordinates"] = ": ".join((status["coords"], status["value"]))
        return status

    def _get_tooltip_text(
        self,
        position: Sequence[float],
        *,
        world: bool = False,
        **_options: object,
    ) -> str:
        if self.explain is None:
            return ""
        return self.explain(position if world else self.data_to_world(position))


def explain_at(
    session: Session, tiles: Image, labels: Labels | None, position: Sequence[float]
) -> str:
    """Say why a place, in world coordinates, is uncertain.

    Labels are those that napari shows now, so nothing is read from the disk.
    """
    seg = session.seg
    if seg is None:
        return ""
    pixel = _fine_pixel(tiles, position)
    reach = REACH_PX * seg.card.ratio
    around = []
    for row, column in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
        data = (np.add(pixel, np.multiply((row, column), reach))) * FINER - 0.5
        value = None if labels is None else labels.get_value(tiles.data_to_world(data), world=True)
        if isinstance(value, tuple):  # the level, and its value
            value = value[1]
        if value is not None:
            around.append(int(value))
    return explain(seg, session.review, (pixel[0], pixel[1]), around)


def _fine_pixel(tiles: Image, position: Sequence[float]) -> tuple[float, float]:
    """Row and column on the fine grid."""
    row, column = (np.asarray(tiles.world_to_data(position))[-2:] + 0.5) / FINER
    return float(row), float(column)
