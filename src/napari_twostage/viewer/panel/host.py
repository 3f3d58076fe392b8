"""Interface of the panel that its sections and actions use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_twostage.geometry import Scale
    from napari_twostage.session import Session
    from napari_twostage.viewer.channel_layers import ChannelGroup
    from napari_twostage.viewer.layers import ResultLayers
    from napari_twostage.viewer.slide_context import SlideContext


class PanelHost(Protocol):
    """Panel as seen by its sections."""

    @property
    def session(self) -> Session:
        """Session of the chosen slide; an empty session without a slide."""

    @property
    def context(self) -> SlideContext | None:
        """Session, layers and pixel size of the chosen slide; None without a slide."""

    @property
    def layers(self) -> ResultLayers | None:
        """Layers of the session; None without a slide."""

    @property
    def slide_layer(self) -> Image | None:
        """Layer of the chosen slide; None without a slide."""

    def describe_other_runs(self) -> str:
        """Slides beside the chosen one on which something runs, and how far it is; else empty."""

    @property
    def group(self) -> ChannelGroup | None:
        """Layers of the chosen slide's channels; None without a slide."""

    def do(self, action: Callable[[], object]) -> None:
        """Call an action and update the panel; an error is shown as a message."""

    def choose_layer(self, layer: Image | None) -> None:
        """Choose the slide of this layer."""

    def set_mpp(self, mpp: float | Scale | None) -> None:
        """Set the pixel size of the chosen slide, in micrometres; None takes the file's."""

    def choose_group(self, group: ChannelGroup) -> None:
        """Choose a slide: of its channels the one that was last, else the nuclear one."""

    def choose_channel(self, layer: Image) -> None:
        """Segment another channel of the chosen slide."""

    def choose_focus(self, focus: int | Literal["max"]) -> None:
        """Show and segment another focal plane of the chosen slide, or the maximum over all."""

    def choose_scene(self, number: int) -> None:
        """Show another scene of the chosen slide's file, and choose it."""
