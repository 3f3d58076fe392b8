"""The choice of a picture in a file: its values, and scenes of which one is the default."""

from __future__ import annotations

import numpy as np
import pytest

import napari_twostage as ts
from napari_twostage.errors import SlideError
from napari_twostage.slides.picture import Picture
from napari_twostage.slides.scenes import Scene, choose_scene, scene_notice

LABEL = Scene("label", (900, 900), scan=False)
OVERVIEW = Scene("overview", (3000, 3000), (4.0, 4.0))
SMALL = Scene("left", (1000, 1000), (0.25, 0.25))
LARGE = Scene("right", (2000, 1000), (0.25, 0.25))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"scene": True}, "scene must be a number or a name; found True"),
        ({"channel": 1.5}, "channel must be a number or a name; found 1.5"),
        ({"z": -1}, "z must be a number from 0 on or 'max'; found -1"),
        ({"z": "min"}, "z must be a number from 0 on or 'max'; found 'min'"),
        ({"t": "max"}, "t must be a number from 0 on; found 'max'"),
        ({"intensity": (5, 5)}, "intensity must be two pixel values"),
        ({"intensity": (0, float("nan"))}, "intensity must be two pixel values"),
        ({"intensity": 7}, "intensity must be two pixel values"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(choice: dict, message: str) -> None:
    with pytest.raises(SlideError, match=message):
        Picture(**choice)
    with pytest.raises(SlideError, match=message):
        ts.open_slide(np.zeros((8, 8), np.uint16), mpp=0.5, **choice)


def test_choices_come_back_from_a_record() -> None:
    picture = Picture(scene="A/1/0", channel="DAPI", z="max", t=3, intensity=(10, 4000))
    assert Picture.from_dict(picture.as_dict()) == picture
    assert Picture().as_dict() == {}


@pytest.mark.parametrize("choice", [{"scene": 1}, {"z": 2}, {"t": 1}, {"channel": 1}])
def test_an_array_has_one_of_each(choice: dict) -> None:
    with pytest.raises(SlideError, match=r"has one .* was asked for; leave"):
        ts.open_slide(np.zeros((8, 8), np.uint8), mpp=0.5, **choice)
    ts.open_slide(np.zeros((8, 8), np.uint8), mpp=0.5, scene=0, z="max", t=0, channel=0)


def test_the_given_intensity_is_what_becomes_black_and_white() -> None:
    pixels = np.array([[0, 100, 350, 600, 900]] * 2, np.uint16)
    slide = ts.open_slide(pixels, mpp=0.5, intensity=(100, 600))
    assert slide.intensity_range == (100, 600)


def test_the_largest_scan_is_the_default() -> None:
    assert choose_scene(None, [LABEL, OVERVIEW, SMALL, LARGE]) == 3
    assert choose_scene(None, [LABEL, OVERVIEW]) == 1  # the overview is all there is
    assert choose_scene(None, [LABEL]) == 0
    # in µm: fewer pixels may be more glass
    coarser = Scene("coarser", (900, 900), (0.5, 0.5))
    assert choose_scene(None, [SMALL, coarser]) == 1
    # without pixel sizes, pixels count; of two alike the first
    assert choose_scene(None, [Scene("a", (5, 5)), Scene("b", (6, 6)), Scene("c", (6, 6))]) == 1


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), ("2", 2), ("left", 2), ("label", 0)])
def test_scenes_are_chosen_by_number_or_name(wanted: int | str, found: int) -> None:
    assert choose_scene(wanted, [LABEL, OVERVIEW, SMALL, LARGE]) == found


def test_a_name_counts_before_a_number() -> None:
    scenes = [Scene("1", (5, 5)), Scene("0", (5, 5))]
    assert choose_scene("1", scenes) == 0
    assert choose_scene(1, scenes) == 1


def test_a_missing_scene_is_refused_with_those_there_are() -> None:
    with pytest.raises(SlideError, match=r"has 2 scenes and none is 'x'; choose one of 0 \(left\)"):
        choose_scene("x", [SMALL, LARGE])
    with pytest.raises(SlideError, match="has one scene and none is 4"):
        choose_scene(4, [SMALL])


def test_several_scans_are_said_and_one_is_not() -> None:
    notice = scene_notice(2, [LABEL, SMALL, LARGE])
    assert notice is not None
    assert notice.startswith("scene 2 (right) of 2 is read; choose another of 1 (left), 2 (right)")
    assert scene_notice(1, [LABEL, SMALL]) is None
    assert scene_notice(0, [LABEL, SMALL]) is not None  # a label was asked for
