"""The settings of a run: one value, whose fields the public functions take as keywords."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_type_hints

import pytest
from tests.fakes import make_card, noise_slide

from napari_twostage import Box
from napari_twostage.engine.options import RunKeywords, RunOptions
from napari_twostage.errors import SelectionError
from napari_twostage.method.selection import EVERYTHING, NOTHING, Selection


def test_keywords_and_options_are_the_same() -> None:
    names = {"Box": Box}
    assert get_type_hints(RunKeywords, localns=names) == get_type_hints(RunOptions, localns=names)
    assert RunOptions.from_keywords({}) == RunOptions()
    every = {field.name: field.default for field in fields(RunOptions)}
    assert RunOptions.from_keywords(every) == RunOptions()
    with pytest.raises(TypeError, match="unknown argument foo; known: threshold"):
        RunOptions.from_keywords({"foo": 1})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Selection(threshold=0.5)),
        ({"fraction": 0.2}, Selection(fraction=0.2)),
        ({"refine": "none"}, NOTHING),
        ({"refine": "all"}, EVERYTHING),
    ],
)
def test_the_selection_follows_from_the_options(options: RunKeywords, expected: Selection) -> None:
    assert RunOptions(**options).selection(make_card(default_threshold=0.5)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refine": "some"}, "refine must be 'selected', 'none' or 'all'; found 'some'"),
        ({"refine": "all", "fraction": 0.1}, "refine='all' leaves no room for a criterion"),
        ({"fraction": 0.1, "threshold": 0.1}, "give one of"),
        ({"uncertainty": "doubt"}, "uncertainty 'doubt' is unknown; known: tent"),
    ],
)
def test_options_that_cannot_be_are_refused(options: RunKeywords, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        RunOptions(**options)


def test_parameters_are_what_a_folder_is_bound_to() -> None:
    slide, card = noise_slide(70, 90), make_card()
    region = Box(-5, 10, 30, 400)
    found = RunOptions(region=region, fraction=0.5).parameters(slide, card)
    assert found.region == Box(0, 10, 30, 90)  # clipped to the slide
    assert found.uncertainty == card.uncertainty
    assert replace(found, region=None) == RunOptions(fraction=0.1).parameters(slide, card)
    with pytest.raises(SelectionError, match="lies outside the slide"):
        RunOptions(region=Box(100, 0, 120, 10)).parameters(slide, card)
