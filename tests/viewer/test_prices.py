"""Buttons state their price, and say why there is nothing to refine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tests.fakes import FakeModel

from napari_twostage.method.selection import Selection

if TYPE_CHECKING:
    from tests.viewer.conftest import Window

PRICED = ("refine_uncertain", "refine_visible", "refine_next", "refine_region")


def test_buttons_state_what_they_refine(window: Window) -> None:
    window.use(FakeModel())
    assert all(not window.part(name).price for name in PRICED)
    window.run_coarse()
    session, slider = window.panel.session, window.part("threshold")
    slider.setValue(0.25)
    window.settle()
    count = session.price(Selection(threshold=session.threshold)).tiles
    assert window.part("refine_uncertain").text() == f"Refine {count} tiles"
    assert "Dice" in window.part("refine_uncertain").price
    assert window.part("refine_visible").price.startswith(f"{session.seg.scores.size} tiles · ")
    assert window.part("refine_next").price.startswith("20 tiles · ")
    assert not window.enabled("refine_region")

    window.press("draw_region")
    layer = window.viewer.layers["regions"]
    corners = [(10.0, 10.0), (10.0, 40.0), (40.0, 40.0)]
    places = [window.panel.slide_layer.data_to_world(corner) for corner in corners]
    layer.add_polygons(np.array([layer.world_to_data(place) for place in places]))
    window.until(lambda: window.enabled("refine_region"))
    drawn = session.price(session.regions.all[0].rings)
    assert window.part("refine_region").price == drawn.describe_briefly()
    assert drawn.describe() in window.part("refine_region").toolTip()

    slider.setValue(slider.maximum())
    window.settle()
    assert not window.enabled("refine_uncertain")
    assert "No tile is above the threshold" in window.part("refine_uncertain").toolTip()
    assert window.part("plan_summary").text() == "No tile is above the threshold."

    window.press("refine_visible")
    window.settle()
    for name in ("refine_visible", "refine_next"):
        assert not window.enabled(name)
        assert "Every tile" in window.part(name).toolTip()


def test_slider_histogram_and_title_state_one_threshold(window: Window) -> None:
    window.use(FakeModel())
    window.run_coarse()
    session, slider = window.panel.session, window.part("threshold")
    for threshold in (0.1354, 0.97):  # the second is above all scores
        session.threshold = threshold
        window.settle()
        text = window.panel.uncertainty_section._histogram.threshold_text
        assert f"{slider.value():.{slider.decimals()}f}" == text == f"{threshold:.3f}"
        assert window.panel.uncertainty_section.status == f"threshold {text}"
