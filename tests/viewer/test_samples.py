"""The sample slide opens from napari's menu, offline."""

from __future__ import annotations

import pytest
from napari.components import ViewerModel


@pytest.mark.usefixtures("plugin")
def test_the_sample_slide_opens() -> None:
    viewer = ViewerModel()
    (layer,) = viewer.open_sample("napari-twostage", "skin")
    assert layer.name == "CMU-1-Small-Region"
    assert layer.data[0].shape[:2] == (2967, 2220)
    assert layer.scale == pytest.approx((0.499, 0.499))
