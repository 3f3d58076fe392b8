"""The pixel size can be typed, taken from the layer or the file, and is checked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from qtpy.QtCore import QLocale
from qtpy.QtTest import QTest
from tests.fakes import FakeModel, make_card, noise
from tests.method.domains import make_domain

from napari_twostage.method.domain import DomainCheck
from napari_twostage.session.pixel_check import size_check
from napari_twostage.viewer.panel.number_field import NumberField


@pytest.mark.parametrize("locale", ["en_US", "de_DE"])
@pytest.mark.parametrize("typed", ["0,25", "0.25"])
def test_a_decimal_comma_is_understood(qtbot, locale, typed) -> None:
    QLocale.setDefault(QLocale(locale))
    try:
        field = NumberField()
        field.setDecimals(4)
        field.setSuffix(" µm/px")
        qtbot.addWidget(field)
        field.selectAll()
        QTest.keyClicks(field, typed)
        field.interpretText()
    finally:
        QLocale.setDefault(QLocale.system())
    assert field.value() == 0.25
    assert field.text() == "0.2500 µm/px"


def test_a_pixel_size_far_from_the_models_is_told_in_red(open_window) -> None:
    window = open_window()
    window.viewer.add_image(noise(90, 90), name="bare")
    warning = window.part("mpp_warning")
    for mpp, said in ((1.5, "3× smaller"), (0.1, "5× larger"), (0.6, None), (0.2, None)):
        window.part("mpp").setValue(mpp)
        window.use(FakeModel())
        window.panel.accordion.show_only([window.panel.slide_section])
        assert warning.isVisibleTo(window.panel.slide_section) == (said is not None)
        assert said is None or said in warning.text()
    window.part("mpp").setValue(2.0)
    assert warning.text() == (
        "At 2 µm/px nuclei would appear 4× smaller than the model expects. Check the pixel size."
    )
    assert warning.kind == "error"


def test_the_scale_of_a_layer_without_units_is_offered(open_window) -> None:
    window = open_window()
    window.viewer.add_image(noise(90, 90), name="bare", scale=(0.25, 0.25))
    assert window.panel.session.slide is None
    question = window.part("scale_question")
    assert question.text() == "The layer's scale is 0.25: take it as µm/px?"
    window.part("take_scale").click()
    assert window.panel.session.slide.mpp == (0.25, 0.25)
    assert not question.isVisibleTo(window.panel.slide_section)
    window.viewer.layers.clear()
    window.viewer.add_image(noise(90, 90), name="pixels")  # 1 is napari's default
    assert not question.isVisibleTo(window.panel.slide_section)


def test_a_dropped_result_keeps_the_source_of_its_pixel_size(open_window, result) -> None:
    window = open_window()
    window.viewer.open(str(result.path), plugin="napari-twostage")
    slide = window.panel.session.slide
    assert slide.mpp_source == result.record.slide.mpp_source == "TIFF resolution"
    assert not window.part("file_mpp").isVisibleTo(window.panel.slide_section)


def test_the_files_pixel_size_can_be_taken_for_a_result_made_with_another(
    open_window, write_pyramid
) -> None:
    window = open_window()
    path = write_pyramid(noise(150, 130), levels=1, name="cells.tif")
    window.viewer.open(str(path), plugin="napari-twostage")
    window.part("mpp").setValue(0.45)
    window.use(FakeModel())
    window.run_coarse()
    out = window.panel.session.out
    window.viewer.layers.clear()
    window.viewer.open(str(out), plugin="napari-twostage")
    assert window.panel.session.slide.mpp == (0.45, 0.45)
    assert window.panel.session.slide.mpp_source == "given by the user"
    window.part("file_mpp").click()
    assert window.panel.session.slide.mpp == pytest.approx((0.5, 0.5))
    assert window.panel.session.slide.mpp_source == "TIFF resolution"
    assert not window.part("file_mpp").isVisibleTo(window.panel.slide_section)


@pytest.mark.parametrize(("diameter", "unlike"), [(1.5, False), (2.5, True)])
def test_the_size_of_objects_is_compared_with_that_in_training(diameter, unlike) -> None:
    check = DomainCheck(
        bright_field=True, windows=3, features=(0.0,) * 11 + (diameter,), distance=0.0, unlike=()
    )
    card = replace(make_card(), domain=make_domain())
    found = size_check(SimpleNamespace(card=card, record=SimpleNamespace(domain=check)))
    assert found.unlike == unlike
    assert found.text.startswith("Nuclei found measure ")
    assert "in training images 0.14 to 7.4 µm." in found.text
    assert ("Check the pixel size" in found.text) == unlike
