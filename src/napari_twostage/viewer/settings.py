"""Names of the plugin, and the user's choices in napari's preferences."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-twostage"
METADATA_KEY = "napari_twostage"
"""Key of our entry in a layer's metadata: a dict with the layer's role and result."""
_DEFAULTS: dict[str, Any] = {"device": "auto", "precision": "auto", "display_cache_mb": 64}


def device() -> str:
    """Device that models run on, as `load_model` accepts it."""
    return str(_value("device"))


def precision() -> str:
    """Precision that models compute in, as `load_model` accepts it."""
    return str(_value("precision"))


def display_cache_bytes() -> int:
    """Memory, in bytes, for decoded tiles of each displayed slide."""
    return int(_value("display_cache_mb")) << 20


def _value(name: str) -> Any:  # noqa: ANN401 - the type depends on the setting
    """User's value, or the default if napari does not know the plugin, as in a script."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings(PLUGIN).general, name)
    except KeyError:
        return _DEFAULTS[name]
