"""The panel offers the scenes of a file, and shows the one that is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QWidget
from tests.fakes import FakeModel, noise

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def two_scenes(tmp_path: Path) -> Path:
    """An OME-TIFF of two sections, the second of which is larger."""
    path = tmp_path / "glass.ome.tif"
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as tif:
        for name, shape in (("left", (80, 90)), ("right", (130, 150))):
            pixels = (noise(*shape) * 255).astype(np.uint8)
            tif.write(pixels, photometric="rgb", metadata={"axes": "YXS", "Name": name, **size})
    return path


def test_scenes_are_offered_and_another_is_shown_and_segmented(open_window, two_scenes) -> None:
    window = open_window()
    (first,) = window.viewer.open(two_scenes, plugin="napari-twostage")
    scene = window.part("scene")
    assert [scene.itemText(n) for n in range(scene.count())] == [
        "0 left: 90 × 80 px", "1 right: 150 × 130 px",
    ]  # fmt: skip
    assert scene.currentIndex() == 1  # the largest is the default
    assert first.name == "glass right"
    scene.setCurrentIndex(0)
    scene.activated.emit(0)
    panel = window.panel
    assert panel.session.slide.level_shapes[0] == (80, 90)
    assert panel.slide_layer.name == "glass left"
    assert (panel.slide_layer.visible, first.visible) == (True, False)
    window.use(FakeModel())
    window.run_coarse()
    assert panel.session.seg.record.parameters.picture.scene == 0
    labels = panel.layers.labels
    assert labels.visible
    scene.activated.emit(1)  # back: its layer is there already
    assert panel.slide_layer is first
    assert (first.visible, labels.visible) == (True, False)
    assert [one.name for one in window.viewer.layers].count("glass right") == 1
    scene.activated.emit(0)
    assert (first.visible, labels.visible) == (False, True)


def test_a_file_of_one_scene_offers_no_choice(window) -> None:
    assert not window.panel.findChild(QWidget, "scene").isVisible()
