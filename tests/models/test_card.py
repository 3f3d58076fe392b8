"""Model cards: what goes out comes back, what breaks a rule is refused."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from tests.fakes import CLASSES, make_card

from napari_twostage.errors import ModelError
from napari_twostage.models.card import LabelClass, ModelCard

BROKEN = {
    "no class": {"classes": ()},
    "values that do not count from 1": {"classes": (LabelClass("a", "#000000", 2),)},
    "a colour by name": {"classes": (LabelClass("a", "red", 1),)},
    "a colour of seven digits": {"classes": (LabelClass("a", "#1234567", 1),)},
    "a ratio of 0": {"ratio": 0},
    "a ratio of 3": {"ratio": 3, "tile_px": 18, "halo_px": 3, "coarse_window_px": 10},
    "tiles of 0": {"tile_px": 0},
    "tiles smaller than the ratio": {"tile_px": 2},
    "tiles that the ratio does not divide": {"tile_px": 18},
    "a halo that the ratio does not divide": {"halo_px": 6},
    "a negative halo": {"halo_px": -4},
    "windows that tiles do not fill": {"coarse_window_px": 11},
    "windows that are all halo": {"coarse_window_px": 4},
    "a range without the pixel size": {"mpp_range": (0.6, 0.8)},
    "a range from 0": {"mpp_range": (0.0, 0.8)},
    "a temperature of 0": {"temperature": 0.0},
    "a gain above 1": {"refinement_gain": 1.5},
    "a negative gain": {"refinement_gain": -0.1},
}


def test_a_card_survives_json() -> None:
    card = make_card(classes=CLASSES, temperature=1.25, metrics={"dice": {"coarse": 0.8}})
    again = ModelCard.from_json(card.to_json(), "here")
    assert again == card
    assert asdict(again) == asdict(card)


def test_sizes_in_coarse_pixels_and_channels_follow() -> None:
    card = make_card()
    assert (card.coarse_tile_px, card.coarse_core_px, card.outputs) == (4, 8, 1)
    assert make_card(classes=CLASSES).outputs == 3


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_is_refused_in_one_line(fault: str) -> None:
    with pytest.raises(ModelError, match="card of model 'fake': ") as caught:
        make_card(**BROKEN[fault])
    assert "\n" not in str(caught.value)


def text(**changes: object) -> str:
    values = json.loads(make_card().to_json())
    return json.dumps({**values, **changes})


UNREADABLE = {
    "no JSON": "{",
    "a list": "[]",
    "no format": "{}",
    "another format": text(format=99),
    "a field too many": text(colour="blue"),
    "a class without colour": text(classes=[{"name": "a", "value": 1}]),
    "text for a number": text(ratio="two"),
    "one number for three": text(mean=0.5),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_unreadable_text_is_refused_in_one_line_that_names_its_source(fault: str) -> None:
    with pytest.raises(ModelError, match="there/card") as caught:
        ModelCard.from_json(UNREADABLE[fault], "there/card")
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named() -> None:
    values = json.loads(make_card().to_json())
    del values["ratio"]
    with pytest.raises(ModelError, match="ratio"):
        ModelCard.from_json(json.dumps(values), "there")
