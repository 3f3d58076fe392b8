"""What napari knows us by, and what the user chose in its preferences."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-twostage"
KEY = "napari_twostage"
"""Of a layer's metadata: what it shows and of which result."""
_DEFAULTS: dict[str, Any] = {"device": "auto", "precision": "f32", "display_cache_mb": 64}


def device() -> str:
    """Where models run, as `load_model` takes it."""
    return str(_value("device"))


def precision() -> str:
    """What models compute in, as `load_model` takes it."""
    return str(_value("precision"))


def display_cache_bytes() -> int:
    """Memory for decoded tiles of each slide that is shown."""
    return int(_value("display_cache_mb")) << 20


def _value(name: str) -> Any:  # noqa: ANN401 - of whatever type the setting is
    """The user's value, or the default where napari does not know the plugin: in a script, say."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings(PLUGIN).general, name)
    except KeyError:
        return _DEFAULTS[name]
