"""The manifest resolves to functions and settings; commands press the panel's buttons."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget
from tests.viewer.conftest import MANIFEST

from napari_twostage.slides import formats
from napari_twostage.viewer import menu_commands, settings

manifest = PluginManifest.from_file(MANIFEST)


@pytest.mark.parametrize("command", manifest.contributions.commands, ids=lambda c: c.id)
def test_every_command_leads_to_a_function(command) -> None:
    module, name = command.python_name.split(":")
    assert callable(getattr(import_module(module), name))


def test_the_manifest_is_installed_under_its_name() -> None:
    assert (
        PluginManifest.from_distribution("napari-twostage").name == manifest.name == settings.PLUGIN
    )


def test_every_function_of_the_palette_is_listed() -> None:
    listed = {c.python_name.split(":")[1] for c in manifest.contributions.commands}
    ours = {
        name
        for name, function in inspect.getmembers(menu_commands, inspect.isfunction)
        if list(inspect.signature(function).parameters) == ["viewer"]
    }
    assert ours
    assert ours <= listed


def test_the_manifest_lists_the_formats_that_the_reader_takes() -> None:
    (reader,) = manifest.contributions.readers
    assert reader.filename_patterns == formats.viewer_patterns()


def test_the_panel_is_called_alike_everywhere() -> None:
    (widget,) = manifest.contributions.widgets
    assert widget.display_name == menu_commands.PANEL


def test_defaults_are_those_of_the_manifest() -> None:
    stated = manifest.contributions.configurations["general"].properties
    assert settings.device() == stated["device"].default
    assert settings.precision() == stated["precision"].default
    assert settings.display_cache_bytes() == stated["display_cache_mb"].default << 20


@pytest.mark.usefixtures("plugin", "plugin_settings")
def test_preferences_are_heeded() -> None:
    chosen = get_plugin_settings(settings.PLUGIN).general
    chosen.device = "cpu"
    chosen.display_cache_mb = 32
    assert settings.device() == "cpu"
    assert settings.display_cache_bytes() == 32 << 20


class Panel(QWidget):
    """Fake panel with two buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.setLayout(QVBoxLayout())
        self.pressed: list[str] = []
        for name in ("run_coarse", "cancel"):
            button = QPushButton(name, objectName=name)
            button.clicked.connect(lambda _=False, name=name: self.pressed.append(name))
            self.layout().addWidget(button)


def test_a_command_opens_the_panel_and_presses_its_button(make_napari_viewer, npe2pm) -> None:
    with npe2pm.tmp_plugin(name=settings.PLUGIN) as fake:
        fake.contribute.widget(Panel, display_name=menu_commands.PANEL)
        viewer = make_napari_viewer()
        menu_commands.run_coarse(viewer)
        panel = menu_commands.open_panel(viewer)
        assert panel.pressed == ["run_coarse"]
        menu_commands.run_coarse(viewer)
        assert panel.pressed == ["run_coarse"] * 2
        assert len(viewer.window.dock_widgets) == 1


def test_a_button_that_is_off_is_explained(make_napari_viewer, npe2pm, monkeypatch) -> None:
    messages = []
    monkeypatch.setattr("napari.utils.notifications.show_info", messages.append)
    with npe2pm.tmp_plugin(name=settings.PLUGIN) as fake:
        fake.contribute.widget(Panel, display_name=menu_commands.PANEL)
        viewer = make_napari_viewer()
        panel = menu_commands.open_panel(viewer)
        panel.findChild(QPushButton, "cancel").setEnabled(False)
        menu_commands.cancel(viewer)
    assert panel.pressed == []
    assert "cancel is not possible now" in messages[0]
