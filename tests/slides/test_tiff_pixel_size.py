"""Pixel sizes in the words of every maker, and what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openslide
import pytest
import tifffile
from tests.slide_files import write_philips, write_svs

from napari_twostage.errors import MissingPixelSizeError
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., np.ndarray]

GLASS = np.full((64, 64, 3), 200, np.uint8)


def rgb(path: Path, **options: Any) -> Path:
    tifffile.imwrite(path, GLASS, photometric="rgb", **{"metadata": None, **options})
    return path


@pytest.mark.parametrize(
    ("text", "size"),
    [("0.2520", 0.252), ("0,4990", 0.499), ("1,0080", 1.008), ("1,500", 1.5), ("5e-1", 0.5)],
)
def test_aperio_with_a_decimal_point_or_comma(
    tmp_path: Path, picture: Make, text: str, size: float
) -> None:
    path = write_svs(tmp_path / "a.svs", picture(300, 260), mpp=text)
    slide = open_slide(path)
    assert (slide.mpp, slide.mpp_source) == ((size, size), "Aperio MPP")
    with openslide.OpenSlide(path) as other:
        assert slide.mpp[1] == pytest.approx(float(other.properties["openslide.mpp-x"]))


@pytest.mark.parametrize(
    ("text", "y", "x"),
    [
        ('"0.000226891" "0.000226907"', 0.226891, 0.226907),
        ('"0,00025" "0,0005"', 0.25, 0.5),
    ],
)
def test_philips(tmp_path: Path, picture: Make, text: str, y: float, x: float) -> None:
    path = write_philips(tmp_path / "a.tiff", picture(300, 260), spacing=text)
    slide = open_slide(path)
    assert slide.format == "Philips TIFF"
    assert slide.mpp == pytest.approx((y, x))
    assert slide.mpp_source == "Philips DICOM_PIXEL_SPACING"


UNITS = {
    "mm": 1e-3, "cm": 1e-4, "dm": 1e-5, "m": 1e-6, "nm": 1e3, "pm": 1e6, "fm": 1e9, "Å": 1e4,
    "µm": 1, "in": 1 / 25400, "thou": 1 / 25.4, "li": 12 / 25400, "ft": 1 / 304800,
    "yd": 1 / 914400, "pt": 72 / 25400, "km": 1e-9,
}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_of_ome(tmp_path: Path, unit: str) -> None:
    sizes = {"PhysicalSizeX": 0.25 * UNITS[unit], "PhysicalSizeY": 0.5 * UNITS[unit]}
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = rgb(tmp_path / "a.ome.tif", ome=True, metadata={"axes": "YXS", **sizes, **units})
    assert open_slide(path).mpp == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_units_of_ome_that_are_no_length(tmp_path: Path, unit: str) -> None:
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    facts = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, **units}
    path = rgb(tmp_path / "a.ome.tif", ome=True, metadata=facts)
    with pytest.raises(MissingPixelSizeError, match=f"a.ome.tif states .* '{unit}', a unit of"):
        open_slide(path)
    assert open_slide(path, mpp=0.5).mpp == (0.5, 0.5)


def test_one_side_of_ome_stands_for_both(tmp_path: Path) -> None:
    facts = {"axes": "YXS", "PhysicalSizeX": 0.5}
    assert open_slide(rgb(tmp_path / "a.ome.tif", ome=True, metadata=facts)).mpp == (0.5, 0.5)


@pytest.mark.parametrize(
    ("facts", "y", "x"),
    [
        ({"unit": "um"}, 0.25, 0.5),
        ({"unit": "micron"}, 0.25, 0.5),
        ({"unit": "\\u00B5m"}, 0.25, 0.5),
        ({"unit": "um", "yunit": "nm"}, 0.00025, 0.5),
    ],
)
def test_imagej_units_of_both_axes(tmp_path: Path, facts: dict, y: float, x: float) -> None:
    path = rgb(tmp_path / "a.tif", imagej=True, resolution=(2, 4), metadata=facts)
    if y < 0.02:  # no microscope has such pixels
        with pytest.raises(MissingPixelSizeError, match=r"states a pixel size of 0.00025 × 0.5 µm"):
            open_slide(path)
        return
    assert open_slide(path).mpp == pytest.approx((y, x))


def test_imagej_pixels_per_millimetre_may_be_a_round_number(tmp_path: Path) -> None:
    path = rgb(tmp_path / "a.tif", imagej=True, resolution=(100, 100), metadata={"unit": "mm"})
    assert open_slide(path).mpp == pytest.approx((10, 10))


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600, 1200])
@pytest.mark.parametrize("unit", ["inch", "cm", "mm by ImageJ", "inch by ImageJ", "cm by ImageJ"])
def test_print_resolutions_in_any_unit(tmp_path: Path, dpi: int, unit: str) -> None:
    per_inch = {"inch": 1, "cm": 1 / 2.54, "mm": 1 / 25.4}[unit.split(maxsplit=1)[0]]
    resolution = (round(dpi * per_inch, 3),) * 2
    path = tmp_path / "a.tif"
    if unit.endswith("ImageJ"):
        rgb(path, imagej=True, resolution=resolution, metadata={"unit": unit.split(maxsplit=1)[0]})
    else:
        rgb(path, resolution=resolution, resolutionunit={"inch": 2, "cm": 3}[unit])
    with pytest.raises(MissingPixelSizeError, match=r"a.tif states no pixel size; pass mpp"):
        open_slide(path)


@pytest.mark.parametrize("mpp", [0.001, 25.0, 352.8])
def test_a_resolution_that_no_microscope_has(tmp_path: Path, mpp: float) -> None:
    path = rgb(tmp_path / "a.tif", resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit=3)
    with pytest.raises(MissingPixelSizeError, match=r"a.tif states no pixel size"):
        open_slide(path)


def test_two_sources_that_differ_are_told(tmp_path: Path) -> None:
    text = "Aperio Image Library v1 \r\n64x64|AppMag = 20|MPP = 0.5000"
    for per_cm, differs in ((20000, False), (19700, False), (40000, True)):
        path = rgb(
            tmp_path / "a.svs", tile=(64, 64), description=text, resolution=(per_cm, per_cm),
            resolutionunit=3,
        )  # fmt: skip
        slide = open_slide(path)
        assert slide.mpp == (0.5, 0.5)
        assert [note for note in slide.notices if "two pixel sizes" in note] == (
            [
                "the file states two pixel sizes: 0.5 × 0.5 µm (Aperio MPP) is used, 0.25 × 0.25 "
                "µm (TIFF resolution) is not; correct it with mpp=, or --mpp"
            ]
            if differs
            else []
        )


def test_a_print_resolution_contradicts_nothing(tmp_path: Path) -> None:
    text = "Aperio Image Library v1 \r\n64x64|AppMag = 20|MPP = 0.5000"
    path = rgb(tmp_path / "a.svs", tile=(64, 64), description=text, resolution=(72, 72))
    assert not open_slide(path).notices
