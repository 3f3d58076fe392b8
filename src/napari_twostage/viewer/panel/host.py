"""What the sections of the panel may ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_twostage.session import Session
    from napari_twostage.viewer.layers import ResultLayers


class Desk(Protocol):
    """The panel, as its sections see it."""

    @property
    def session(self) -> Session:
        """Of the slide that is chosen."""

    @property
    def layers(self) -> ResultLayers | None:
        """What shows the session; None without a slide."""

    def do(self, action: Callable[[], object]) -> None:
        """Call a method of the session; what it refuses is shown in one line."""

    def choose_layer(self, layer: Image | None) -> None:
        """Work on the slide of this layer."""

    def set_mpp(self, mpp: float) -> None:
        """Say how large a pixel of the slide is, in micrometres."""
