"""napari plugin: the only package that opens windows."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import napari

from napari_twostage.utils.system import may_have_gpu

if TYPE_CHECKING:
    from napari_twostage.viewer.widget import TwoStageWidget

__all__ = ["TwoStageWidget"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import the widget, and Qt with it, on first use: reading a slide needs neither."""
    if name != "TwoStageWidget":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from napari_twostage.viewer.widget import TwoStageWidget

    return TwoStageWidget


def _preload_or_block_triton() -> None:
    """Import triton before a window opens, or block its import for good.

    torchvision imports triton. If that happens after Mesa's OpenGL has loaded, the process
    crashes, because each of them brings its own LLVM. Only code compiled for a GPU needs triton,
    which takes 90 MB; our models run without it.
    """
    if "triton" in sys.modules:
        return
    if napari.current_viewer() is None and may_have_gpu():
        with suppress(ImportError):
            import triton  # noqa: F401
    else:
        # makes a later `import triton` raise ImportError, which torchvision handles
        sys.modules["triton"] = None  # type: ignore[assignment]


_preload_or_block_triton()
